"""doctor: what bends a right address. Each setting is tried with the real client as well.

The index has `probe-insiders` 1.0; a second index, which also takes requests as a proxy does and
lists links, has 99.0 of it.
"""

import http.server
import os
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from fixtures import COMMAND, need
from shells import (
    COMMANDS,
    ENTRY_POINTS,
    FULL,
    OWN,
    PROJECT,
    REMEDY,
    Shell,
    index,
    served,
    shell,
)
from wheels import wheel

__all__ = ["index", "served", "shell"]

OUR_VERSION, PUBLIC_VERSION = "1.0", "99.0"
HIGHEST = "takes the highest version from there or from the index"
LATER = "ignores releases that were uploaded later"
NONE = "disables all indexes"
BY_PROXY = "sends requests for 127.0.0.1 to a proxy, and not to this index"
MAY = "may take a version from another index"
PIP, UV, PDM = {"PIP_INDEX_URL": FULL}, {"UV_DEFAULT_INDEX": FULL}, {"PDM_PYPI_URL": FULL}
BOTH = {"UV_INDEX": OWN, "UV_DEFAULT_INDEX": "PUBLIC/simple/"}
PIP_CONF, UV_TOML, PDM_TOML = ".config/pip/pip.conf", "src/app/uv.toml", ".config/pdm/config.toml"
Files = dict[str, str]


@dataclass(frozen=True)
class Bent:
    """A person in a directory, an index, and another one."""

    shell: Shell
    public: str
    links: Path

    def filled(self, text: str) -> str:
        return text.replace("PUBLIC", self.public).replace("LINKS", str(self.links))

    def variables(self, given: dict[str, str]) -> dict[str, str]:
        return {name: self.filled(value) for name, value in given.items()}

    def told(self, client: str, variables: dict[str, str]) -> list[tuple[str, str, str | None]]:
        """Tell what `doctor` finds beside how the client uses the index."""
        found = self.shell.doctor(client, **variables)
        return [
            (verdict, self._plain(message), hint and self._plain(hint))
            for verdict, message, hint in found
            if not (verdict == "ok" and "the index" in message)
        ]

    def _plain(self, text: str) -> str:
        return text.replace(self.public, "PUBLIC").replace(str(self.links), "LINKS")

    def taken(self, client: str, variables: dict[str, str], *, before: str = "") -> str | None:
        """Run the real client; return the version that it takes, or `None` for none.

        Args:
            client: its name.
            variables: of its environment.
            before: commands of the shell before it.
        """
        words = list(map(str, COMMANDS[client])) if client in COMMANDS else [client, "lock", "-q"]
        path = f"{COMMAND.parent}:{os.environ['PATH']}"
        line = f'{before}\nexec "$@"' if before else 'exec "$@"'
        done = self.shell.run("sh", "-c", line, "sh", *words, **{"PATH": path, **variables})
        if client in COMMANDS:
            found = [it.name.split("-")[1] for it in self.shell.directory.glob("there/*.dist-info")]
            versions = [it.removesuffix(".dist") for it in found]
        else:
            lock = self.shell.directory / "pdm.lock"
            document = tomllib.loads(lock.read_text()) if lock.exists() else {}
            versions = [it["version"] for it in document.get("package", ())]
        assert (done.returncode == 0) == bool(versions), done.stderr
        return versions[0] if versions else None

    def clean(self) -> None:
        """Take away what a client has made."""
        subprocess.run(
            ["rm", "-rf", "there", "pdm.lock", ".venv"], cwd=self.shell.directory, check=True
        )


@pytest.fixture
def bent(shell: Shell, index: None, tmp_path: Path) -> Iterator[Bent]:
    """The index runs, and so does the other one."""
    links = tmp_path / "links"
    file = wheel(links, "probe-insiders", PUBLIC_VERSION, entry_points=ENTRY_POINTS)
    page = f'<a href="/files/{file.name}">{file.name}</a>'.encode()

    class Public(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            is_file = self.path.endswith(".whl")
            is_page = self.path.rstrip("/").endswith(("/probe-insiders", "/links"))
            content = file.read_bytes() if is_file else page if is_page else b""
            self.send_response(200 if content else 404)
            self.send_header("Content-Type", "application/zip" if is_file else "text/html")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

        def do_HEAD(self) -> None:
            self.do_GET()

        def log_message(self, *arguments: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Public) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield Bent(shell, f"http://127.0.0.1:{server.server_port}", links)
        server.shutdown()


def problem(message: str, hint: str) -> tuple[str, str, str]:
    return ("problem", message, hint)


def warning(message: str, hint: str) -> tuple[str, str, str]:
    return ("warning", message, hint)


PIP_ROWS = [
    (PIP | {"PIP_FIND_LINKS": "LINKS"}, {}, PUBLIC_VERSION,
     problem(f"PIP_FIND_LINKS=LINKS: {HIGHEST}", "`unset PIP_FIND_LINKS`")),
    (PIP, {PIP_CONF: "[global]\nfind-links = PUBLIC/links\n"}, PUBLIC_VERSION,
     problem(f"find-links = PUBLIC/links (~/{PIP_CONF}): {HIGHEST}",
             f"remove `find-links` from ~/{PIP_CONF}")),
    (PIP | {"PIP_EXTRA_INDEX_URL": "PUBLIC/simple/"}, {}, PUBLIC_VERSION,
     problem("uses the index, and takes a higher version from PUBLIC/simple/ "
             "(PIP_EXTRA_INDEX_URL)", "`unset PIP_EXTRA_INDEX_URL`")),
    (PIP, {PIP_CONF: "[install]\nindex-url = PUBLIC/a/\nextra-index-url = PUBLIC/simple/\n"},
     PUBLIC_VERSION,
     problem(f"uses the index, and takes a higher version from PUBLIC/simple/ (~/{PIP_CONF})",
             f"remove it from ~/{PIP_CONF}")),
    (PIP | {"PIP_NO_INDEX": "yes"}, {}, None,
     warning(f"PIP_NO_INDEX: {NONE}", "`unset PIP_NO_INDEX`")),
    (PIP, {PIP_CONF: "[install]\nno_index = true\n"}, None,
     warning(f"no-index (~/{PIP_CONF}): {NONE}", f"remove `no-index` from ~/{PIP_CONF}")),
    (PIP | {"PIP_UPLOADED_PRIOR_TO": "P3D"}, {}, None,
     warning(f"PIP_UPLOADED_PRIOR_TO=P3D: {LATER}", "`unset PIP_UPLOADED_PRIOR_TO`")),
    (PIP | {"http_proxy": "PUBLIC"}, {}, PUBLIC_VERSION,
     problem(f"http_proxy {BY_PROXY}", REMEDY)),
    (PIP | {"ALL_PROXY": "PUBLIC", "no_proxy": "localhost,127."}, {}, PUBLIC_VERSION,
     problem(f"ALL_PROXY {BY_PROXY}", REMEDY)),
    (PIP | {"all_proxy": "PUBLIC", "no_proxy": "x", "NO_PROXY": "127.0.0.1"}, {}, PUBLIC_VERSION,
     problem(f"all_proxy {BY_PROXY}", REMEDY)),
    (PIP | {"PIP_PROXY": "PUBLIC", "no_proxy": "127.0.0.1"}, {}, PUBLIC_VERSION,
     problem(f"PIP_PROXY {BY_PROXY}",
             '`export http_proxy="$PIP_PROXY"; export https_proxy="$PIP_PROXY"; unset PIP_PROXY; '
             'eval "$(pypi-insiders env)"`')),
    (PIP, {PIP_CONF: "[global]\nproxy = PUBLIC\n"}, PUBLIC_VERSION,
     problem(f"~/{PIP_CONF} {BY_PROXY}", f"remove `proxy` from ~/{PIP_CONF}")),
    # These do not bend it.
    (PIP, {PIP_CONF: "[install]\nindex-url = PUBLIC/simple/\n"}, OUR_VERSION, None),
    (PIP | {"PIP_FIND_LINKS": "/nowhere"}, {PIP_CONF: "[global]\nfind-links = LINKS\n"},
     OUR_VERSION, problem(f"PIP_FIND_LINKS=/nowhere: {HIGHEST}", "`unset PIP_FIND_LINKS`")),
    (PIP | {"PIP_NO_INDEX": "0", "PIP_UPLOADED_PRIOR_TO": "2999-01-01"},
     {PIP_CONF: "[global]\nno-index = 1\n"}, OUR_VERSION, None),
    (PIP | {"http_proxy": "PUBLIC", "no_proxy": "*"}, {}, OUR_VERSION, None),
    (PIP | {"http_proxy": "PUBLIC", "no_proxy": "x, 127.0.0.0/8"}, {}, OUR_VERSION, None),
    (PIP | {"http_proxy": "PUBLIC", "NO_PROXY": ".0.0.1"}, {}, OUR_VERSION, None),
    (PIP | {"http_proxy": "", "HTTP_PROXY": "PUBLIC", "https_proxy": "PUBLIC"}, {}, OUR_VERSION,
     None),
    (PIP | {"http_proxy": "PUBLIC", "PIP_NO_PROXY_ENV": "1"}, {}, OUR_VERSION, None),
]  # fmt: skip

UV_ROWS = [
    (BOTH | {"UV_INDEX_STRATEGY": "unsafe-best-match"}, {}, PUBLIC_VERSION,
     problem(f"UV_INDEX_STRATEGY=unsafe-best-match: {MAY}", "`unset UV_INDEX_STRATEGY`")),
    (BOTH, {UV_TOML: 'index-strategy = "unsafe-best-match"\n'}, PUBLIC_VERSION,
     problem(f"index-strategy = unsafe-best-match (./uv.toml): {MAY}",
             "remove `index-strategy` from ./uv.toml")),
    (BOTH, {"src/app/pyproject.toml": '[tool.uv.pip]\nindex-strategy = "unsafe-best-match"\n'},
     PUBLIC_VERSION,
     problem(f"index-strategy = unsafe-best-match ([pip] of ./pyproject.toml): {MAY}",
             "remove `index-strategy` from [pip] of ./pyproject.toml")),
    (UV | {"UV_FIND_LINKS": "LINKS"}, {}, PUBLIC_VERSION,
     problem(f"UV_FIND_LINKS=LINKS: {HIGHEST}", "`unset UV_FIND_LINKS`")),
    (UV, {UV_TOML: 'find-links = ["PUBLIC/links"]\n'}, PUBLIC_VERSION,
     problem(f"find-links = PUBLIC/links (./uv.toml): {HIGHEST}",
             "remove `find-links` from ./uv.toml")),
    (UV, {".config/uv/uv.toml": '[pip]\nfind-links = ["LINKS"]\n'}, PUBLIC_VERSION,
     problem(f"find-links = LINKS ([pip] of ~/.config/uv/uv.toml): {HIGHEST}",
             "remove `find-links` from [pip] of ~/.config/uv/uv.toml")),
    (UV, {UV_TOML: "no-index = true\n"}, None,
     warning(f"no-index (./uv.toml): {NONE}", "remove `no-index` from ./uv.toml")),
    (UV | {"UV_OFFLINE": "1"}, {}, None,
     warning(f"UV_OFFLINE: {NONE}", "`unset UV_OFFLINE`")),
    (UV | {"UV_EXCLUDE_NEWER": "3 days"}, {}, None,
     warning(f"UV_EXCLUDE_NEWER=3 days: {LATER}", "`unset UV_EXCLUDE_NEWER`")),
    (UV, {UV_TOML: 'exclude-newer = "2020-01-01"\n'}, None,
     warning(f"exclude-newer = 2020-01-01 (./uv.toml): {LATER}",
             "remove `exclude-newer` from ./uv.toml")),
    (UV, {UV_TOML: 'exclude-newer-package = {probe-insiders = "2020-01-01", x = false}\n'}, None,
     warning(f"exclude-newer-package = probe-insiders=2020-01-01 (./uv.toml): {LATER}",
             "remove `exclude-newer-package` from ./uv.toml")),
    (UV | {"HTTP_PROXY": "PUBLIC"}, {}, PUBLIC_VERSION,
     problem(f"HTTP_PROXY {BY_PROXY}", REMEDY)),
    (UV | {"all_proxy": "PUBLIC", "no_proxy": "*"}, {}, PUBLIC_VERSION,
     problem(f"all_proxy {BY_PROXY}", REMEDY)),
    (UV | {"http_proxy": "PUBLIC", "NO_PROXY": "x", "no_proxy": "127.0.0.1"}, {}, PUBLIC_VERSION,
     problem(f"http_proxy {BY_PROXY}", REMEDY)),
    (UV | {"NO_PROXY": "127.0.0.1"}, {UV_TOML: 'http-proxy = "PUBLIC"\n'}, PUBLIC_VERSION,
     problem(f"./uv.toml {BY_PROXY}", 'write `no-proxy = ["127.0.0.1"]` into ./uv.toml')),
    (UV, {UV_TOML: '[pip]\nextra-index-url = ["PUBLIC/simple/"]\n'}, PUBLIC_VERSION,
     problem("asks PUBLIC/simple/ ([pip] of ./uv.toml) before the index, and takes packages from "
             "there first", "remove it from [pip] of ./uv.toml")),
    ({}, {UV_TOML: f'index-url = "{FULL}"\n[pip]\nindex-url = "PUBLIC/simple/"\n'}, PUBLIC_VERSION,
     problem("index-url = PUBLIC/simple/ ([pip] of ./uv.toml): `uv pip` uses that index",
             "remove `index-url` from [pip] of ./uv.toml")),
    ({"UV_INDEX": "mine=PUBLIC/simple/ OURS/simple/"}, {}, PUBLIC_VERSION,
     problem("asks PUBLIC/simple/ (UV_INDEX) before the index, and takes packages from there "
             "first", "`unset UV_INDEX; eval \"$(pypi-insiders env)\"`")),
    # These do not bend it.
    (UV | {"UV_INDEX_STRATEGY": "unsafe-best-match"}, {}, OUR_VERSION, None),
    (BOTH | {"UV_INDEX_STRATEGY": "first-index"},
     {UV_TOML: '[pip]\nindex-strategy = "unsafe-best-match"\n'}, OUR_VERSION, None),
    ({"UV_DEFAULT_INDEX": "mine=OURS/simple/"},
     {UV_TOML: '[[index]]\nname = "mine"\nurl = "PUBLIC/simple/"\n'}, OUR_VERSION, None),
    (UV | {"UV_NO_INDEX": "1"}, {}, OUR_VERSION, None),
    (UV | {"UV_OFFLINE": "0"}, {UV_TOML: "offline = true\n"}, OUR_VERSION, None),
    (UV, {UV_TOML: "no-index = false\n", ".config/uv/uv.toml": "no-index = true\n"},
     OUR_VERSION, None),
    (UV | {"UV_EXCLUDE_NEWER": "2999-01-01"}, {UV_TOML: 'exclude-newer = "2020-01-01"\n'},
     OUR_VERSION, None),
    (UV | {"http_proxy": "PUBLIC", "no_proxy": "x, 127.0.0.0/8"}, {}, OUR_VERSION, None),
    (UV | {"http_proxy": "PUBLIC"}, {UV_TOML: 'http-proxy = "PUBLIC"\nno-proxy = ["127.0.0.1"]\n'},
     OUR_VERSION, None),
    (UV | {"HTTP_PROXY": "PUBLIC", "REQUEST_METHOD": "GET"}, {}, OUR_VERSION, None),
]  # fmt: skip

PROJECT_AT = "src/app/pyproject.toml"
SOURCE = '[[tool.pdm.source]]\nname = "x"\nurl = "PUBLIC/simple/"\n'
PDM_ROWS = [
    (PDM, {PDM_TOML: '[pypi.corp]\nurl = "PUBLIC/simple/"\n'}, PUBLIC_VERSION,
     problem(f"uses the index, and takes a higher version from PUBLIC/simple/ (~/{PDM_TOML})",
             f"remove it from ~/{PDM_TOML}")),
    (PDM, {PROJECT_AT: SOURCE}, PUBLIC_VERSION,
     problem("uses the index, and takes a higher version from PUBLIC/simple/ (./pyproject.toml)",
             "remove it from ./pyproject.toml")),
    (PDM | {"PDM_IGNORE_STORED_INDEX": "1"}, {}, None,
     warning(f"PDM_IGNORE_STORED_INDEX: {NONE}", "`unset PDM_IGNORE_STORED_INDEX`")),
    (PDM, {PROJECT_AT: '[tool.pdm.resolution]\nexclude-newer = "2020-01-01"\n'}, None,
     warning(f"exclude-newer = 2020-01-01 (./pyproject.toml): {LATER}",
             "remove `exclude-newer` from ./pyproject.toml")),
    (PDM | {"http_proxy": "PUBLIC", "no_proxy": "127.0.0.0/8"}, {}, PUBLIC_VERSION,
     problem(f"http_proxy {BY_PROXY}", REMEDY)),
    (PDM | {"ALL_PROXY": "PUBLIC"}, {}, PUBLIC_VERSION, problem(f"ALL_PROXY {BY_PROXY}", REMEDY)),
    # These do not bend it.
    (PDM, {PROJECT_AT: f"{SOURCE}[tool.pdm.resolution]\nrespect-source-order = true\n"},
     OUR_VERSION, None),
    (PDM | {"PIP_FIND_LINKS": "LINKS", "UV_EXCLUDE_NEWER": "2020-01-01"}, {}, OUR_VERSION, None),
    (PDM | {"http_proxy": "PUBLIC", "no_proxy": "*,x"}, {}, OUR_VERSION, None),
    (PDM | {"http_proxy": "PUBLIC", "NO_PROXY": "127.0.0.1:PORT"}, {}, OUR_VERSION, None),
]  # fmt: skip


def examine(
    bent: Bent,
    client: tuple[str, str],
    row: tuple[dict[str, str], Files, str | None, tuple[str, str, str] | None],
) -> None:
    """Compare what `doctor` finds with what the client does, and try the hint."""
    name, program = client
    given, files, version, expected = row
    variables = bent.variables(given)
    for path, text in files.items():
        bent.shell.write(path, bent.filled(text))
    told = bent.told(name, variables)
    assert told == ([expected] if expected else [])
    assert bent.taken(program, variables) == version
    hint = expected[2] if expected else ""
    # What `unset` does is known, and only uv is quick.
    is_one = "eval" in hint and bool({"http_proxy", "PIP_PROXY"} & variables.keys())
    is_tried = program == "uv" or is_one
    if hint.startswith("`") and version != OUR_VERSION and is_tried:
        bent.clean()
        words = bent.shell.filled(hint.strip("`"))
        assert bent.taken(program, variables, before=words) == OUR_VERSION


@pytest.mark.parametrize("row", PIP_ROWS)
def test_what_bends_pip(bent: Bent, row: tuple[dict[str, str], Files, str | None, None]) -> None:
    """It takes the public version or none; a hint with `env`, as it stands, brings ours back."""
    examine(bent, ("pip", "pip"), row)


@pytest.mark.parametrize("row", UV_ROWS)
def test_what_bends_uv(bent: Bent, row: tuple[dict[str, str], Files, str | None, None]) -> None:
    """The same of uv."""
    examine(bent, ("uv", "uv"), row)


@pytest.mark.parametrize("row", PDM_ROWS)
def test_what_bends_pdm(
    bent: Bent, pdm: Path, row: tuple[dict[str, str], Files, str | None, None]
) -> None:
    """The same of PDM."""
    given, files, version, expected = row
    project = PROJECT + files.get(PROJECT_AT, "")
    examine(bent, ("PDM", str(pdm)), (given, {**files, PROJECT_AT: project}, version, expected))


ONE = "uses the index and {} does not: what runs {} gets public packages"


@pytest.mark.parametrize(
    ("variables", "programs", "told"),
    [
        (PIP, ("uv",), ("warning", f"pip {ONE.format('uv', 'uv')}", REMEDY)),
        (
            PIP,
            ("uv", "pipx"),
            ("problem", f"pip {ONE.format('uv', 'uv')}, as pipx does here", REMEDY),
        ),
        (UV, ("uv", "pipx"), ("warning", f"uv {ONE.format('pip', 'pip')}", REMEDY)),
        (PIP | UV, ("uv", "pipx"), None),
        ({}, ("uv", "pipx"), None),
    ],
)
def test_one_of_pip_and_uv_alone_is_told(
    shell: Shell,
    tmp_path: Path,
    variables: dict[str, str],
    programs: tuple[str, ...],
    told: tuple[str, str, str] | None,
) -> None:
    """For pipx runs uv, whatever pip's variables are."""
    path = tmp_path / "bin"
    path.mkdir()
    for name in (*programs, "git"):
        here = Path(sys.executable).with_name(name)
        (path / name).symlink_to(here if here.exists() else need(name))
    found = shell.doctor("pip and uv", PATH=str(path), **variables)
    assert found == ([told] if told else [])


@pytest.mark.parametrize(("led", "is_ours"), [(PIP, False), (PIP | UV, True)])
def test_pipx_follows_the_variables_of_uv(bent: Bent, led: dict[str, str], is_ours: bool) -> None:
    """All three variables are needed, as `env` sets them: pipx with pip's alone asks elsewhere."""
    variables = {"UV_DEFAULT_INDEX": "PUBLIC/simple/", **led}
    home = str(bent.shell.person.home / "pipx")
    done = bent.shell.run(
        Path(sys.executable).with_name("pipx"), "install", "probe-insiders",
        **bent.variables(variables),
        PIPX_HOME=home, PIPX_BIN_DIR=home, PATH=f"{COMMAND.parent}:{os.environ['PATH']}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    taken = [it.name for it in Path(home).rglob("probe_insiders-*.dist-info")]
    assert taken == [f"probe_insiders-{OUR_VERSION if is_ours else PUBLIC_VERSION}.dist-info"]
