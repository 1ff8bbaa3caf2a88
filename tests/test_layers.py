"""The house: imports go one way, and one library is known to one room."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "pypi_insiders"

LAYERS = (
    {"util"},
    {"config"},
    {"git"},
    {"systemd"},
    {"index"},
    {"builder"},
    {"repositories"},
    {"reporting"},
    {"remote_index"},
    {"doctor"},
    {"server"},
    {"update"},
    {"cli"},
)  # fmt: skip
OWNERS = {
    "build": "builder",
    "click": "cli",
    "git": "git",
    "installer": "index",
    "jinja2": "server",
    "logging_journald": "util",
    "multipart": "server",
    "nh3": "server",
    "platformdirs": "config",
    "pypiserver": "server",
    "readme_renderer": "server",
    "rich": "cli",
    "sdnotify": "systemd",
    "tomli_w": "repositories",
    "uv": "util",
    "waitress": "server",
}


def room_of(path: Path) -> str:
    """Name the room in which a module lies."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    """Name what a module imports, wherever in it, as dotted names."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


MODULES = sorted(
    path
    for path in PACKAGE.rglob("*.py")
    if path not in {PACKAGE / "__init__.py", PACKAGE / "__main__.py"}
)


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_room_imports_only_from_the_layers_above_it(module: Path) -> None:
    """Each room is in one layer, and below everything that it imports."""
    rank = {room: number for number, rooms in enumerate(LAYERS) for room in rooms}
    room = room_of(module)
    wrong = set()
    for name in imports(module):
        package, _, rest = name.partition(".")
        other = rest.partition(".")[0]
        if package != "pypi_insiders" or other in ("__version__", room):
            continue
        if rank[other] >= rank[room]:
            wrong.add(other)
    assert wrong == set()


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_library_is_known_to_one_room(module: Path) -> None:
    """Whoever wants to replace a library finds it in one place."""
    libraries = {name.partition(".")[0] for name in imports(module)} & set(OWNERS)
    assert {
        library for library in libraries if room_of(module) not in OWNERS[library].split()
    } == set()
