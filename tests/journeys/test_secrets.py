"""Secrets: each goes where it belongs, and is seen nowhere else, in whatever way it is given."""

import base64
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from fixtures import free_port
from githost import GitHost, make_certificate
from machine import Machine
from projects import create

# By how it is given, and the user with whom it is sent.
SECRETS = {
    "token file": ("tok-filed-271828", "x-access-token"),
    "netrc": ("tok-netrc-314159", "me"),
    "credential": ("tok-unit-141421", "x-access-token"),
    "credential of the index": ("pass-unit-161803", "me"),
    "variable of the index": ("pass-variable-577215", "me"),
    "password": ("pass-reader-662607", "reader"),
    "url": ("pass-url-299792", "me"),
}
# Who looks for programs on the PATH finds these first: each notes how it was started.
_RECORDED = (
    "cat env git journalctl notify-send printf python3 sh ssh systemctl systemd-run tr unshare uv"
)
_RECORDER = """\
#!/bin/sh
name=${0##*/}
{ printf '%s ' "$name" "$@"; /usr/bin/env; } >>"{record}/$$"
PATH=${PATH#*:} exec "$name" "$@"
"""
# Prints which files have which of the words that it reads. $1: a directory.
_SEARCH = """
import json, os, sys
words = json.load(sys.stdin)
found = {}
for at, _, names in os.walk(sys.argv[1]):
    for name in names:
        path = os.path.join(at, name)
        if os.path.isfile(path):
            with open(path, "rb") as file:
                content = file.read()
            for word in words:
                if word.encode() in content:
                    found.setdefault(os.path.relpath(path, sys.argv[1]), []).append(word)
print(json.dumps(found))
"""


class Watcher:
    """Looks at all processes whenever a host is asked; each is looked at with its environment."""

    def __init__(self) -> None:
        self.seen: set[tuple[bytes, bytes]] = set()

    def look(self) -> None:
        for process in Path("/proc").glob("[0-9]*"):
            try:
                argv = (process / "cmdline").read_bytes()
                self.seen.add((argv, (process / "environ").read_bytes()))
            except OSError:  # it has ended, or is another user's
                continue


@pytest.fixture
def watcher() -> Watcher:
    return Watcher()


@pytest.fixture
def packages(watcher: Watcher) -> Iterator[tuple[str, set[str]]]:
    """An index that takes nothing: its URL, and what it was sent to let somebody in."""
    sent: set[str] = set()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._say(404)

        def do_POST(self) -> None:
            watcher.look()
            sent.add(self.headers["Authorization"])
            self._say(403)

        def _say(self, status: int) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/", sent
        server.shutdown()


def words(*ways: str) -> list[str]:
    """Write secrets in each form in which they could be seen."""
    pairs = [SECRETS[way] for way in ways or SECRETS]
    sent = [base64.b64encode(f"{user}:{secret}".encode()).decode() for secret, user in pairs]
    return [secret for secret, _ in pairs] + sent


def record_programs(machine: Machine) -> tuple[Path, str]:
    """Let programs note how they are started: into which directory, and by which PATH."""
    record = machine.home / "record"
    machine.run("mkdir", record)
    for name in _RECORDED.split():
        machine.write_text(f"shims/{name}", _RECORDER.replace("{record}", str(record)), mode=0o755)
    return record, f"{machine.home}/shims:{machine.run('printenv', 'PATH').stdout.strip()}"


@pytest.fixture
def tables(machine: Machine, tmp_path: Path, watcher: Watcher) -> Iterator[list[str]]:
    """Tables of repos.toml: a repository for each way in which git gets a secret."""
    certificate = make_certificate(tmp_path)
    with ExitStack() as stack:
        found = []
        for way, key in (
            ("token file", f'token-file = "{machine.home}/secret/token"'),
            ("netrc", ""),
            ("credential", 'token-credential = "forge"'),
        ):
            name = f"by{way.split()[0]}"
            project = create(tmp_path / name, name)
            if way != "netrc":  # to be asked is enough
                project.release("1.0")
            host = GitHost(tmp_path / name / "git", certificate, SECRETS[way][0])
            stack.callback(host.close)
            host.on_request = watcher.look
            url = f"{host.url}/me/{name}.git"
            found.append(f'["me/{name}"]\nproject = "{name}"\nurl = "{url}"\n{key}\n')
        yield found


# The file below `~/secret`, which is the name of the credential as well.
_FILES = {
    "token": "token file",
    "forge": "credential",
    "pypi-insiders-index-password": "credential of the index",
}


def hand_out(machine: Machine, variables: dict[str, str]) -> None:
    """Give each secret to whom it is for."""
    netrc = f"machine localhost login me password {SECRETS['netrc'][0]}\n"
    machine.write_text(".netrc", netrc, mode=0o600)
    lines = ["[Service]", *(f"Environment={name}={value}" for name, value in variables.items())]
    for name, way in _FILES.items():
        path = machine.write_text(f"secret/{name}", f"{SECRETS[way][0]}\n", mode=0o600)
        lines.append(f"LoadCredential={name}:{path}")
    drop_in = ".config/systemd/user/pypi-insiders-watcher.service.d/override.conf"
    machine.write_text(drop_in, "\n".join(lines) + "\n")
    machine.run(
        "pypi-insiders", "server", "password", "reader", input=f"{SECRETS['password'][0]}\n"
    )


def test_secrets_are_seen_nowhere(
    machine: Machine,
    tmp_path: Path,
    watcher: Watcher,
    packages: tuple[str, set[str]],
    tables: list[str],
) -> None:
    """In no argument, variable of a child, journal, unit, state, cache, page or export."""
    home, port, (index_url, sent) = machine.home, free_port(), packages
    record, path = record_programs(machine)
    variables = {"PATH": path, "GIT_SSL_CAINFO": str(tmp_path / "certificate.pem")}
    hand_out(machine, variables)
    machine.write_text(
        ".config/pypi-insiders/config.toml",
        f'[server]\nport = {port}\nauth = true\n[publish]\nindex-url = "{index_url}"\n'
        'user = "me"\n',
    )
    repositories = ".config/pypi-insiders/repos.toml"
    machine.write_text(repositories, "\n".join(tables[1:]))
    token = machine.run("pypi-insiders", "server", "token").stdout.strip()
    machine.run("pypi-insiders", "server", "start")
    machine.run("pypi-insiders", "watcher", "start", env={"PATH": path}, check=False)
    machine.wait_for_journal(r"Checked \d+ repositor")
    machine.write_text(repositories, "\n".join(tables))
    variable = {"PYPI_INSIDERS_INDEX_PASSWORD": SECRETS["variable of the index"][0]}
    url = f"https://me:{SECRETS['url'][0]}@localhost/me/url.git"
    told = [
        machine.run("pypi-insiders", *arguments, env={**variables, **more}, check=False)
        for arguments, more in (
            (("repos", "add", "me/url", "--url", url), {}),
            (("-v", "update"), variable),
            (("status", "--json"), {}),
            (("show", "me/bytoken"), {}),
            (("export", str(home / "export")), {}),
        )
    ]
    page = read(port, "/", *reversed(SECRETS["password"]))

    # Each was used: what is nowhere to be seen was there.
    assert all(name in page for name in (b"bytoken", b"bynetrc", b"bycredential"))
    assert sent == {
        f"Basic {base64.b64encode(f'me:{SECRETS[way][0]}'.encode()).decode()}"
        for way in ("credential of the index", "variable of the index")
    }
    assert told[0].returncode == 2
    assert int(machine.run("sh", "-c", f"ls {record} | wc -l").stdout) > 20

    everything = [*words(), token]
    assert [word for word in everything if word.encode() in page] == []
    assert [word for word in everything if any(word in it.stdout + it.stderr for it in told)] == []
    assert [word for word in everything if word in machine.journal("--output=export")] == []
    search = machine.run("python3", "-c", _SEARCH, home, input=json.dumps(everything))
    own = {".netrc": "netrc", **{f"secret/{name}": way for name, way in _FILES.items()}}
    assert json.loads(search.stdout) == {file: [SECRETS[way][0]] for file, way in own.items()}
    # uv is told the password by its environment, and `update` was told it by ours.
    assert watcher.seen
    for argv, environ in watcher.seen:
        command = argv.split(b"\0")
        may_know = b"publish" in command or b"update" in command
        assert [word for word in everything if word.encode() in argv] == []
        assert may_know or [word for word in everything if word.encode() in environ] == [], command


def read(port: int, path: str, user: str, password: str) -> bytes:
    """Read a page of the index as somebody."""
    asked = urllib.request.Request(f"http://127.0.0.1:{port}{path}")
    word = base64.b64encode(f"{user}:{password}".encode()).decode()
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(asked, timeout=100)
    asked.add_header("Authorization", f"Basic {word}")
    with urllib.request.urlopen(asked, timeout=100) as answer:
        return bytes(answer.read())
