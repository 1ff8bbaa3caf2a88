"""The house: imports go one way, and one library is known to one place."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "pypi_insiders"

# A package imports only from those after it.
LAYERS = [
    "cli",
    "update",
    "server",
    "doctor",
    "remote_index",
    "reporting",
    "repositories",
    "builder",
    "index",
    "systemd",
    "git",
    "config",
    "util",
]
# Where a library is known: a package, or one module of it.
OWNERS = {
    "build": "builder.build",
    "click": "cli",
    "git": "git.command",
    "installer": "index.archives",
    "jinja2": "server.web",
    "logging_journald": "util.journal",
    "multipart": "server.web.uploads",
    "nh3": "server.readme",
    "platformdirs": "config.paths",
    "pypiserver": "server.web",
    "readme_renderer": "server.readme",
    "rich": "cli.progress",
    "sdnotify": "systemd.sd_notify",
    "tomli_w": "repositories.layout",
    "tomlkit": "repositories.layout",
    "uv": "util.uv",
    "waitress": "server.http",
}


def dotted(path: Path) -> str:
    """Name a module by its place in the package."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


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


MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE)


def test_the_packages_are_the_layers() -> None:
    """Whoever adds a package gives it its place."""
    found = {path.relative_to(PACKAGE).parts[0] for path in MODULES}
    assert found == set(LAYERS)


@pytest.mark.parametrize("module", MODULES, ids=dotted)
def test_imports_go_down(module: Path) -> None:
    """Each package is below everything that imports it."""
    own = dotted(module).partition(".")[0]
    ours = {name.split(".")[1] for name in imports(module) if name.startswith("pypi_insiders.")}
    allowed = {*LAYERS[LAYERS.index(own) :], "__version__"}
    assert ours - allowed == set()


@pytest.mark.parametrize("module", MODULES, ids=dotted)
def test_a_library_is_known_to_one_place(module: Path) -> None:
    """Whoever wants to replace a library finds it in one place."""
    libraries = {name.partition(".")[0] for name in imports(module)} & set(OWNERS)
    places = {OWNERS[library] for library in libraries}
    assert {place for place in places if not f"{dotted(module)}.".startswith(f"{place}.")} == set()
