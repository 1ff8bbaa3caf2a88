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
    "forges",
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
    "obstore": "server.exporting.object_store",
    "pypiserver": "server.web",
    "readme_renderer": "server.readme",
    "rich": "cli.progress",
    "sdnotify": "systemd.sd_notify",
    "tomli_w": "repositories.layout",
    "tomlkit": "repositories.layout",
    "uv": "util.uv",
    "waitress": "server.http",
}
# Functions that import, each with what that saves where it is felt; `make bench` shows it. What
# completes words is imported at each press of TAB.
TAB = "TAB completes its arguments without it"
INNER_IMPORTS = {
    "builder.build:build": "build: an update without new tags, which most are, builds nothing",
    "builder.build:_translated": "as `build`",
    "builder.build:wheels": "as `build`",
    "cli.common:_say": "logging: --help, --version and TAB log nothing",
    "cli.common:invoke": "as `_say`",
    "cli.completers:keys": "TAB for other words completes without it",
    "cli.config:edit": "TAB and `config show` need no editor",
    "cli.config:show": TAB,
    "cli.exec:_provide": "with --no-update nothing is updated; and the password is taken before",
    "cli.export:export": TAB,
    "cli.let_go:report_let_go": TAB,
    "cli.released:released": TAB,
    "cli.releases:prune": TAB,
    "cli.releases:unpublish": TAB,
    "cli.repos_change:_report_changes": "only for a URL of http",
    "cli.repos_change:remove": f"{TAB}, in half of the time",
    "cli.service:wait": "rich: only on a terminal",
    "cli.show:show": TAB,
    "cli.status:status": TAB,
    "cli.suggestions:near": "difflib: only for wrong words",
    "cli.update:update": f"{TAB}; and the password is taken before a program is started",
    "cli.run_update:run": "where nothing is watched nothing is built",
    "cli.run_update:_display": "rich: only on a terminal",
    "config.toml_fields:did_you_mean": "difflib: only for wrong keys",
    "config.passwords:_find_out": "hmac, as `derive`",
    "config.passwords:derive": "hashlib loads OpenSSL: `status` and units check no password",
    "config.passwords:is_right": "hmac, as `derive`",
    "config.addresses:_address": "socket: only for hosts that are no plain address",
    "reporting.index_check:_credentials": "netrc: only where an index requires a password",
    "reporting.index_check:_page": "gzip, 1 ms of `status`: only behind a proxy that compresses",
    "util.foreground:find_command": "shutil, which loads three compressions: 1.4 ms of `status`",
    "reporting.index_check:_compare": "hashlib, as `util.files:sha256`",
    "reporting.index_check:_connected": "http.client, a tenth of `status`: only if one listens",
    "reporting.index_check:_get": "as `_connected`",
    "index.archives:_check_wheel": "installer: the index starts without it",
    "index.metadata_cache:__init__": "sqlite3, 3 ms of `repos list`: only once there are files",
    "index.file_contents:_understand": "packaging.metadata: most files are known already",
    "repositories.data_directories:create": (
        "the index, a fifth of `server status` and `watcher status`: only what starts them needs it"
    ),
    "repositories.nearest:closest": "difflib: only for wrong names",
    "repositories.registry:save": "tomlkit: only what changes repos.toml needs it",
    "server.exporting.bucket:export": "obstore: an extra, which may be missing",
    "server.readme.__main__:_render": "only once the limits hold",
    "server.run:_hooks": "most have no use for hooks",
    "server.run:serve": "most have no use for uploads",
    "server.web.application:make_legacy": "pypiserver: a third of the start",
    "server.web.application:make_site": "most indexes are asked by installers only",
    "server.web.pages:_templates": "jinja2: as `make_site`",
    "util.files:sha256": "hashlib loads OpenSSL: only files that have changed are hashed",
    "systemd.unit_templates:_hash": "hashlib: only where units are installed",
    "util.files:make_temporary": "as `write_atomic`",
    "util.files:write_atomic": "tempfile and what it imports: most commands only read",
    "util.log:_journal": "the journal: only in a unit",
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


def inner_imports(path: Path) -> set[str]:
    """Name the functions of a module that import, wherever in them."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    found = set()
    waiting: list[tuple[ast.AST, str | None]] = [(ast.parse(path.read_text()), None)]
    while waiting:
        node, inside = waiting.pop()
        if isinstance(node, ast.Import | ast.ImportFrom) and inside:
            found.add(f"{dotted(path)}:{inside}")
        inside = node.name if isinstance(node, kinds) else inside
        waiting += ((child, inside) for child in ast.iter_child_nodes(node))
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


def test_functions_import_only_what_start_up_measurably_needs() -> None:
    """Whoever imports in a function says what that saves; what saves nothing is at the top."""
    found = set[str]().union(*map(inner_imports, MODULES))
    assert found == INNER_IMPORTS.keys()
