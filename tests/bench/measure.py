"""Measure the house: what is how large, and what imports what. Run by `make measure`."""

import ast
import io
import sys
import tokenize
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))

from unit.test_layers import LAYERS, MODULES, PACKAGE, dotted, imports, inner_imports

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def main() -> None:
    """Print a line for each measure."""
    trees = {path: ast.parse(path.read_text()) for path in MODULES}
    lines = {path: len(path.read_text().splitlines()) for path in PACKAGE.rglob("*.py")}
    classes = [
        (node, path)
        for path, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    ]
    names = Counter(node.name for node, _ in classes)
    for label, value in {
        "entries of the package": sum(not it.name.startswith("__") for it in PACKAGE.iterdir()),
        "imports between packages": _edges(),
        "imports upward": _upward(),
        "lines": sum(lines.values()),
        "modules over 400 lines": _largest((size, dotted(path)) for path, size in lines.items()),
        "classes over 200 lines": _largest(
            ((_length(node), node.name) for node, _ in classes), limit=200
        ),
        "classes over 15 methods": _largest(
            ((len(_methods(node)), node.name) for node, _ in classes), limit=15
        ),
        "constructors over 5 parameters": _largest(
            ((_parameters(node), node.name) for node, _ in classes), limit=5
        ),
        "functions that import": sum(len(inner_imports(path)) for path in trees),
        "class names of two things": sorted(name for name, times in names.items() if times > 1),
        "comment lines in 100": round(100 * _comments(lines) / sum(lines.values()), 1),
        "test files without their module": _unmirrored(),
    }.items():
        print(f"{label:<34}{value}")


def _edges() -> int:
    return len({(own, other) for own, other in _imported() if own != other})


def _upward() -> int:
    return sum(LAYERS.index(other) < LAYERS.index(own) for own, other in set(_imported()))


def _imported() -> Iterator[tuple[str, str]]:
    for path in MODULES:
        own = dotted(path).partition(".")[0]
        for name in imports(path):
            package, _, rest = name.partition(".")
            other = rest.partition(".")[0]
            if package == "pypi_insiders" and other in LAYERS:
                yield own, other


def _largest(sizes: Iterator[tuple[int, str]], limit: int = 400) -> str:
    found = sorted(((size, name) for size, name in sizes if size > limit), reverse=True)
    return f"{len(found)}: " + ", ".join(f"{name} {size}" for size, name in found)


def _length(node: ast.ClassDef) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def _methods(node: ast.ClassDef) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [item for item in node.body if isinstance(item, _FUNCTIONS)]


def _parameters(node: ast.ClassDef) -> int:
    found = [item for item in _methods(node) if item.name == "__init__"]
    return max((len(it.args.args) + len(it.args.kwonlyargs) - 1 for it in found), default=0)


def _comments(paths: dict[Path, int]) -> int:
    """Count the lines that hold a comment for people."""
    found = 0
    for path in paths:
        for token in tokenize.generate_tokens(io.StringIO(path.read_text()).readline):
            if token.type == tokenize.COMMENT:
                found += not token.string.startswith(("# noqa", "# type:", "# fmt:"))
    return found


def _unmirrored() -> int:
    """Count the unit tests that do not lie as their module does."""
    unit = PACKAGE.parent / "tests/unit"
    modules = {Path(*dotted(path).split(".")) for path in MODULES}
    tests = [path.relative_to(unit) for path in unit.rglob("test_*.py")]
    for about_all in ("test_layers.py", "test_manual.py", "test_wording.py"):
        tests.remove(Path(about_all))
    return sum(path.with_name(path.stem.removeprefix("test_")) not in modules for path in tests)


if __name__ == "__main__":
    main()
