"""Break one line at a time, and see whether the tests notice. Run by `make mutations`.

In a copy of the tree, with a copy of its environment. First the tests that the rule names, then
those of the module, of its package, and the journeys of what the line promises, each once and up to
the first that fails. `mutations.py box publication` tries only these; `sandbox.py` only the rules
of that file, and `fast` only the fast tests.
"""

import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
RULES = Path(__file__).with_suffix(".toml")
# What is about a module, the quickest first: these are tried before the rest.
ABOUT = {
    "repositories/held_names.py": (
        "unit/repositories/test_held_names", "journeys/test_held_names", "journeys/test_losses",
    ),
    "repositories/held_name_files.py": (
        "unit/repositories/test_held_names", "journeys/test_held_names", "journeys/test_losses",
    ),
    "server/current_names.py": ("unit/server/test_current_names", "journeys/test_held_names"),
    "server/web/application.py": (
        "unit/server/web/test_application", "journeys/test_held_names", "journeys/test_uploads",
        "journeys/test_losses",
    ),
    "server/web/held.py": ("journeys/test_held_names", "journeys/test_losses"),
    "server/web/guard.py": ("unit/server/web/test_guard", "journeys/test_uploads"),
    "server/web/downloads.py": ("unit/server/web/test_application", "journeys/test_held_names"),
    "server/web/hook_signatures.py": ("unit/server/web/test_hooks",),
    "index/directory_scan.py": ("unit/index/test_directory_scan", "unit/index/test_catalog"),
    "index/scanner.py": ("unit/index/test_catalog", "journeys/test_comparison"),
    "server/exporting/changes.py": ("unit/server/exporting/test_directory",),
    "server/exporting/contents.py": ("unit/server/exporting/test_directory",),
    "server/exporting/packages.py": ("unit/server/exporting/test_directory",),
    "server/exporting/record.py": ("unit/server/exporting/test_directory",),
    "builder/sandbox.py": ("unit/builder/test_sandbox", "journeys/test_sandbox"),
    "builder/sandbox_probe.py": ("unit/builder/test_sandbox_probe", "journeys/test_sandbox"),
    "builder/environments.py": ("unit/builder/test_environments", "journeys/test_environments"),
    "update/publication.py": (
        "journeys/test_publishing", "journeys/test_update", "journeys/test_comparison",
        "journeys/test_released",
    ),
    "index/store.py": ("unit/index/test_store", "journeys/test_update"),
}  # fmt: skip
# What else may notice.
JOURNEYS = {
    "promise": ("comparison", "names_told", "hostile", "sources", "public", "promise"),
    "box": ("confinement", "secrets", "fairness"),
    "publication": ("publishing", "update", "comparison", "bounds", "retention", "losses"),
    "growth": ("export", "nginx", "cost"),
}
_COPIED = ("pypi_insiders", "systemd", "tests", ".ci", "Makefile", "pyproject.toml", "README.md",
           "LICENSE", ".venv")  # fmt: skip
_TIMEOUT_S = 3600
FAST, BY_JOURNEYS, UNNOTICED = "fast tests", "journeys", "not noticed"
_NO_TESTS = 5


class Rule(NamedTuple):
    """One line that is broken."""

    file: str
    """Below the package."""
    old: str
    """Occurs exactly once."""
    new: str
    tests: tuple[str, ...] = ()
    """Below the tests, tried first."""


def main() -> None:
    """Print how each mutation was noticed; exit with 1 if fewer than 95 % were."""
    words = sys.argv[1:]
    is_fast = "fast" in words
    chosen = list(rules_of([word for word in words if word != "fast"]))
    if wrong := [rule for _, rule in chosen if occurrences(rule) != 1]:
        sys.exit(
            "\n".join(f"{rule.file}: {occurrences(rule)} times: {rule.old!r}" for rule in wrong)
        )
    found = Counter[tuple[str, str]]()
    with _copy() as tree:
        for area, rule in chosen:
            how, by = _try(tree, rule, [it for it in _tests(area, rule) if is_fast <= _is_fast(it)])
            found[area, how] += 1
            before, _, _ = (ROOT / "pypi_insiders" / rule.file).read_text().partition(rule.old)
            at = f"{rule.file}:{before.count(chr(10)) + 1}"
            print(f"{how:<12} {at} {rule.old.strip()[:60]!r} {by}", flush=True)
    print(f"{'':<14}" + "".join(f"{how:>14}" for how in (FAST, BY_JOURNEYS, UNNOTICED)))
    for area in JOURNEYS:
        print(f"{area:<14}" + "".join(f"{found[area, how]:>14}" for how in _WAYS))
    noticed = sum(count for (_, how), count in found.items() if how != UNNOTICED)
    print(f"{noticed} of {len(chosen)} noticed")
    sys.exit(noticed < 0.95 * len(chosen))


_WAYS = (FAST, BY_JOURNEYS, UNNOTICED)


def rules_of(words: Sequence[str]) -> Iterator[tuple[str, Rule]]:
    """Yield the rules of areas or files, each with its area; all without words."""
    for area, rules in tomllib.loads(RULES.read_text()).items():
        for rule in (Rule(**item) for item in rules):
            if not words or area in words or Path(rule.file).name in words:
                yield area, rule


def occurrences(rule: Rule) -> int:
    """Return how often the code has the text of a rule."""
    return (ROOT / "pypi_insiders" / rule.file).read_text().count(rule.old)


@contextmanager
def _copy() -> Iterator[Path]:
    """Copy the tree and its environment, whose programs run the copy."""
    with tempfile.TemporaryDirectory(prefix="mutations-") as directory:
        tree = Path(directory)
        tree.chmod(0o755)  # the user of a machine of the journeys reads it
        for name in _COPIED:
            source = ROOT / name
            if source.is_dir() and not source.is_symlink():
                shutil.copytree(source, tree / name, symlinks=True)
            else:
                shutil.copy2(source, tree / name, follow_symlinks=False)
        environment = tree / ".venv"
        places = (*(environment / "bin").iterdir(), *environment.glob("lib/*/site-packages/*.pth"))
        for path in places:
            if path.is_file() and not path.is_symlink():
                content = path.read_bytes()
                moved = content.replace(bytes(ROOT), bytes(tree))
                if moved != content:
                    path.write_bytes(moved)
        yield tree


def _tests(area: str, rule: Rule) -> Iterator[str]:
    """Yield the tests that may notice, file by file; each once."""
    unit = Path("tests/unit", rule.file)
    own = unit.with_name(f"test_{unit.name}")
    first, about = (
        [f"tests/{name}.py" for name in names] for names in (rule.tests, ABOUT.get(rule.file, ()))
    )
    journeys = [f"tests/journeys/test_{name}.py" for name in JOURNEYS[area]]
    for test in dict.fromkeys([*first, str(own), *about, str(unit.parent), *journeys]):
        if (ROOT / test).exists():
            yield test


def _is_fast(test: str) -> bool:
    return test.startswith("tests/unit/")


def _try(tree: Path, rule: Rule, tests: Sequence[str]) -> tuple[str, str]:
    """Break a line; return how that was noticed, and by which test."""
    path = tree / "pypi_insiders" / rule.file
    sound = path.read_text()
    passed = list[str]()
    try:
        for test in tests:
            while True:
                path.write_text(sound.replace(rule.old, rule.new))
                by = _failing(tree, test, passed)
                is_sure = bool(by and _failing(tree, by))
                path.write_text(sound)
                # On a busy machine a test may fail by itself, and some cannot run in a copy.
                if not by or by in _unfit or (is_sure and not _failing(tree, by)):
                    break
                _unfit.add(by)
            if by and by not in _unfit:
                return FAST if _is_fast(test) else BY_JOURNEYS, by
            passed.append(test)
        return UNNOTICED, ""
    finally:
        path.write_text(sound)


_unfit = set[str]()


def _failing(tree: Path, test: str, passed: Sequence[str] = ()) -> str:
    """Return the first test that fails in a file or directory without some files; empty: none."""
    words = [test, *(f"--deselect={it}" for it in sorted(_unfit) if it != test)]
    words += [f"--ignore={it}" for it in passed]
    if _is_fast(test):
        # A broken line may wait for ever.
        words += ["-m", "not journey", "--timeout=100"]
    command = [f"{tree}/.venv/bin/python", "-m", "pytest", "-q", "-x", "-n", "0", "-p",
               "no:cacheprovider", f"--basetemp={tree}/tmp", *words]  # fmt: skip
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True, timeout=_TIMEOUT_S)
    if done.returncode in (0, _NO_TESTS):
        return ""
    failed = re.findall(r"^(?:FAILED|ERROR) (\S.*?)(?: - .*)?$", done.stdout, re.MULTILINE)
    return failed[0] if failed else test


if __name__ == "__main__":
    main()
