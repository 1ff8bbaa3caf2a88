"""confinement: what each service can see and do, under a real user manager."""

import json
import os
import re
import sys
import textwrap
from pathlib import Path

import pytest
from fixtures import HEALTHY, REFUSED, free_port
from machine import Machine
from units import UNIT_DIRECTORY, UNITS, port, show
from wheels import wheel

from pypi_insiders.systemd import confinement

__all__ = ["port"]

SERVER, WATCHER = "pypi-insiders-server.service", "pypi-insiders-watcher.service"
NOTIFIER = "pypi-insiders-notify@server.service"
CONFIG = ".config/pypi-insiders/config.toml"
DISTS = ".local/share/pypi-insiders/dists"
STATE = ".local/state/pypi-insiders"

# Runs in the place of a service; what it can do is told in its state.
BURGLAR = """
import json, os, socket, subprocess, sys
from pathlib import Path
home, runtime = Path(HOME), Path(f"/run/user/{os.getuid()}")
done = {}

def attempt(name, call):
    try:
        call()
        done[name] = True
    except BaseException as error:
        done[name] = False

def connect(family, address, kind=socket.SOCK_STREAM):
    with socket.socket(family, kind) as client:
        client.settimeout(5)
        client.connect(address)

def write(path):
    with open(path, "a") as file:
        file.write("was here")

for name, path in FILES.items():
    attempt(f"read {name}", lambda: Path(path).read_bytes())
for name, path in DIRECTORIES.items():
    attempt(f"write {name}", lambda: write(f"{path}/burglar"))
for name, path in {"bus": runtime / "bus", "manager": runtime / "systemd/private"}.items():
    attempt(name, lambda: connect(socket.AF_UNIX, str(path)))
attempt("abstract socket", lambda: connect(socket.AF_UNIX, "\\0burglary"))
attempt("network", lambda: connect(socket.AF_INET, ("127.0.0.1", PORT)))
attempt("start a unit", lambda: subprocess.run(["systemd-run", "--user", "true"], check=True))
attempt("journal", lambda: connect(
    socket.AF_UNIX, "/run/systemd/journal/socket", socket.SOCK_DGRAM))
attempt("namespace", lambda: subprocess.run(["unshare", "--user", "true"], check=True))
Path(home, STATE, "seen").write_text(json.dumps(done))
"""

# A neighbour, as a desktop has some, on an abstract socket and on a port.
NEIGHBOUR = """
import socket, sys
one = socket.socket(socket.AF_UNIX); one.bind("\\0burglary"); one.listen()
two = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print("ready", flush=True)
while True: two.accept()
"""


def drop_in(machine: Machine, service: str, *lines: str) -> None:
    """Put what a person would write by `systemctl edit`; only what is added counts."""
    text = "\n".join(("[Service]", *lines, ""))
    machine.write_text(f"{UNIT_DIRECTORY}/{service}.d/override.conf", text)
    machine.run("systemctl", "--user", "daemon-reload")


def test_a_look_that_fails_under_load_is_taken_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else services would lose what confines them, as systemd at times cannot set it up at once."""
    program = tmp_path / "systemd-run"
    program.write_text(
        f"#!/bin/sh\ncd {tmp_path}\n"
        "test -e first || { touch first; echo 'Failed to set up user namespacing' >&2; exit 217; }"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert confinement.trouble((0,)) is None
    (tmp_path / "first").unlink()
    assert confinement.trouble(()) == "Failed to set up user namespacing"


def burgle(machine: Machine, service: str, port: int, installed: Path) -> dict[str, bool]:
    """Tell what a program can do in the place of a service."""
    machine.write_text("secret", "of the person")
    machine.write_text(".config/pypi-insiders/passwords", "", mode=0o600)
    machine.run("sh", "-c", f"echo wheel >{DISTS}/visible")
    journal = machine.run("sh", "-c", "ls /var/log/journal/*/system.journal").stdout.strip()
    neighbour = machine.start(sys.executable, "-c", NEIGHBOUR, str(port))
    assert next(neighbour.lines()) == "ready"
    home = machine.home
    given = {
        "HOME": str(home),
        "STATE": STATE,
        "PORT": port,
        "FILES": {
            "home": f"{home}/secret",
            "config": f"{home}/{CONFIG}",
            "passwords": f"{home}/.config/pypi-insiders/passwords",
            "dists": f"{home}/{DISTS}/visible",
            "journal": journal,
        },
        "DIRECTORIES": {
            "home": str(home),
            "config": f"{home}/.config/pypi-insiders",
            "dists": f"{home}/{DISTS}",
            "state": f"{home}/{STATE}",
            "cache": f"{home}/.cache/pypi-insiders",
            "system": "/run",
        },
    }
    words = "".join(f"{name} = {value!r}\n" for name, value in given.items())
    place = f"{home}/{STATE}/burglar.py"
    machine.write_text(place, words + textwrap.dedent(BURGLAR))
    drop_in(
        machine, service, "Type=oneshot", "Restart=no", "ExecStart=", "ExecReload=",
        f"ExecStart={installed.with_name('python')} -I {place}",
    )  # fmt: skip
    machine.run("systemctl", "--user", "start", service)
    neighbour.stop()
    seen: dict[str, bool] = json.loads(machine.read_text(f"{STATE}/seen"))
    return seen


@pytest.mark.parametrize("uploads", [False, True], ids=["reads", "uploads"])
def test_what_the_server_can_do(
    machine: Machine, port: int, installed: Path, uploads: bool
) -> None:
    """Read distributions and settings, write its state; and publish, if it takes uploads."""
    if uploads:
        machine.write_text(CONFIG, f"[server]\nport = {port}\nuploads = true\n")
        machine.run("pypi-insiders", "server", "token")
    machine.run("pypi-insiders", "server", "start")
    machine.run("systemctl", "--user", "stop", "pypi-insiders-server.socket", SERVER)
    can = {name for name, did in burgle(machine, SERVER, free_port(), installed).items() if did}
    own = {"read config", "read passwords", "read dists", "write state", "journal"}
    assert can == own | ({"write dists"} if uploads else set())


def test_what_the_watcher_can_do(machine: Machine, port: int, installed: Path) -> None:
    """Read everything, speak to everybody, and write in its own directories only."""
    machine.run("pypi-insiders", "server", "start")
    machine.run("pypi-insiders", "watcher", "start")
    seen = burgle(machine, WATCHER, free_port(), installed)
    assert {name for name, did in seen.items() if not did} == {
        "write home",
        "write config",
        "write system",
        "namespace",
    }


GOALS = {"server": 2.0, "watcher": 4.0, "notify@server": 6.0}


def test_what_systemd_finds_of_the_units(machine: Machine, port: int, installed: Path) -> None:
    """How exposed services are, by its own measure; `systemctl help` opens an installed page."""
    for part in ("server", "watcher"):
        machine.run("pypi-insiders", part, "start")
    for name, most in GOALS.items():
        unit = f"pypi-insiders-{name}.service"
        told = machine.run("systemd-analyze", "--user", "--no-pager", "security", unit).stdout
        match = re.search(r"Overall exposure level for \S+: (\d+\.\d)", told)
        assert match, told
        assert float(match[1]) <= most, told
    for part in ("server", "watcher"):
        assert " units" not in machine.run("pypi-insiders", "status", check=False).stderr, part
    machine.write_text("bin/man", '#!/bin/sh\necho "$*"\n', mode=0o755)
    pages = installed.parent.parent / "share/man/man1"
    for unit in sorted(UNITS):
        name = unit.replace("@", "@x")
        told = machine.run(
            "systemctl", "--user", "help", name, env={"PATH": f"{machine.home}/bin:{machine.path}"}
        ).stdout
        page, section = told.split()[::-1][:2]
        assert (pages / f"{page}.{section}").exists(), told


def test_a_program_that_lies_in_the_home_can_be_run(
    machine: Machine, port: int, installed: Path
) -> None:
    """A virtual environment, called through a link, then one whose package lies elsewhere.

    The files that a person keeps under version control are links there.
    """
    home = machine.home
    machine.run("cp", "-a", installed.parent.parent, "venv")
    machine.run("sed", "-i", f"1s|.*|#!{home}/venv/bin/python|", "venv/bin/pypi-insiders")
    machine.run("mkdir", "-p", "bin", "dotfiles")
    machine.run("ln", "-s", "../venv/bin/pypi-insiders", "bin/pypi-insiders")
    fallback = "https://example.org/simple/"
    settings = f'[server]\nport = {port}\nfallback-url = "{fallback}"\n'
    machine.write_text("dotfiles/insiders.toml", settings)
    machine.run("rm", CONFIG)
    machine.run("ln", "-s", f"{home}/dotfiles/insiders.toml", CONFIG)
    machine.run("bin/pypi-insiders", "server", "start")
    assert machine.get(f"http://127.0.0.1:{port}/health") == HEALTHY
    (package,) = machine.run("sh", "-c", "echo venv/lib/python*/site-packages").stdout.split()
    machine.run("mkdir", "source")
    machine.run("mv", f"{package}/pypi_insiders", "source/pypi_insiders")
    machine.write_text(f"{package}/editable.pth", f"{home}/source\n")
    machine.run("bin/pypi-insiders", "server", "restart")
    found = machine.get(f"http://127.0.0.1:{port}/simple/nothing/").location
    assert found == f"{fallback}nothing/"
    assert machine.run("bin/pypi-insiders", "server", "status").returncode == 0
    pid = show(machine, SERVER, "MainPID")
    machine.run("test", "!", "-e", f"/proc/{pid}/root{home}/.cache")


def test_distributions_may_lie_anywhere_and_be_missing(
    machine: Machine, port: int, tmp_path: Path
) -> None:
    """The index serves what a link leads to, outlives the loss of all, and finds what comes."""
    big = tmp_path / "big"
    big.mkdir(mode=0o777)
    big.chmod(0o777)
    wheel(big, "probe", "1.0")
    machine.run("mkdir", "-p", Path(DISTS).parent)
    machine.run("ln", "-s", big, DISTS)
    machine.run("pypi-insiders", "server", "start")
    url = f"http://127.0.0.1:{port}"
    assert "probe-1.0" in machine.get(f"{url}/simple/probe/").body
    machine.run("systemctl", "--user", "stop", SERVER)
    machine.run("rm", "-r", Path(DISTS).parent, STATE)
    assert machine.get(f"{url}/health").status in (200, 503)
    assert show(machine, SERVER, "ActiveState") == "active"
    machine.run("pypi-insiders", "watcher", "start")
    machine.run("cp", big / "probe-1.0-py3-none-any.whl", DISTS)
    machine.wait_for_answer(f"{url}/simple/probe/", lambda answer: "probe-1.0" in answer.body)


def test_an_index_whose_program_is_gone_is_stopped_until_it_is_back(
    machine: Machine, port: int, installed: Path
) -> None:
    """Nobody waits for it, the user is told once, without Python, and so is `status`."""
    machine.run("cp", "-a", installed.parent.parent, "venv")
    machine.run("sed", "-i", f"1s|.*|#!{machine.home}/venv/bin/python|", "venv/bin/pypi-insiders")
    command = f'["sh", "-c", "(echo \\"$1\\"; cat) >>{machine.home}/mail", "100%", "{{subject}}"]'
    machine.write_text(CONFIG, f"[server]\nport = {port}\n[watcher]\nnotify-command = {command}\n")
    machine.run("venv/bin/pypi-insiders", "server", "start")
    machine.run("mv", "venv", "away")
    machine.run("systemctl", "--user", "restart", SERVER, check=False)
    machine.wait_for(("cat", "mail"), lambda done: done.stdout.count("\n") == 2)
    program = f"{machine.home}/venv/bin/pypi-insiders"
    text = f"{program} cannot be run any more, so the index is stopped. Install it again, and run "
    told = f"pypi-insiders: the program cannot be run\n{text}pypi-insiders server start.\n"
    assert machine.read_text("mail") == told
    assert machine.get(f"http://127.0.0.1:{port}/health") == REFUSED
    status = machine.run("pypi-insiders", "server", "status", check=False)
    assert status.returncode == 3
    assert status.stdout.startswith("server: stopped: its program could not be run\n")
    assert machine.run("pypi-insiders", "status", check=False).returncode == 1
    found = machine.run("pypi-insiders", "doctor", check=False).stdout
    assert f"{SERVER} cannot run: {program} was not found" in found
    machine.run("systemctl", "--user", "start", NOTIFIER, check=False)
    assert machine.read_text("mail") == told

    # Where the notifier stops it in the moment in which it fails once more, it stays so.
    drop_in(machine, SERVER, "Restart=no")
    alone = ("systemctl", "--user", "start", "--job-mode=ignore-dependencies", SERVER)
    machine.run(*alone, check=False)
    assert show(machine, SERVER, "ActiveState") == "failed"
    machine.run("mv", "away", "venv")
    machine.run("systemctl", "--user", "reset-failed", NOTIFIER)
    machine.run("systemctl", "--user", "start", NOTIFIER)
    assert machine.get(f"http://127.0.0.1:{port}/health") == HEALTHY
    assert machine.read_text("mail") == told


def test_where_no_namespace_can_be_had_the_services_run_unconfined(
    machine: Machine, port: int
) -> None:
    """It is said at the start and in what follows; with the next start it is tried again."""
    wrapper = "#!/bin/sh\necho 'no user namespaces here' >&2\nexit 217\n"
    machine.write_text("bin/systemd-run", wrapper, mode=0o755)
    path = machine.run("sh", "-c", "echo $PATH").stdout.strip()
    lacking = {"PATH": f"{machine.home}/bin:{path}"}
    done = machine.run("pypi-insiders", "server", "start", env=lacking)
    assert done.stderr == (
        "warning: the services are not confined, they run with your permissions: "
        "no user namespaces here\n"
    )
    assert machine.get(f"http://127.0.0.1:{port}/health") == HEALTHY
    machine.run("test", "-e", f"/proc/{show(machine, SERVER, 'MainPID')}/root{machine.home}/bin")
    names = ", ".join(
        f"{unit}.d/20-confinement.conf"
        for unit in (SERVER, "pypi-insiders-notify@.service", "pypi-insiders-watcher@.service")
    )
    said = f"not confined, run with your permissions: {names} is missing"
    done = machine.run("pypi-insiders", "doctor", "--json", check=False)
    found = json.loads(done.stdout)["findings"]
    about = {item["text"]: item for item in found if item["check"] == "server units"}
    assert about[said]["severity"] == "warning"
    assert said in machine.run("pypi-insiders", "status", check=False).stdout
    machine.run("pypi-insiders", "server", "start")
    machine.run(
        "test", "!", "-e", f"/proc/{show(machine, SERVER, 'MainPID')}/root{machine.home}/bin"
    )
    assert "not confined" not in machine.run("pypi-insiders", "status", check=False).stdout


def test_the_slice_of_older_versions_goes(machine: Machine, port: int) -> None:
    """Builds and the watcher are in the desktop's own; nothing is left of ours."""
    slice_unit = f"{UNIT_DIRECTORY}/pypi-insiders.slice"
    machine.write_text(slice_unit, "# Installed by pypi-insiders, which\n[Slice]\nCPUWeight=50\n")
    machine.run("systemctl", "--user", "daemon-reload")
    machine.run("systemctl", "--user", "start", "pypi-insiders.slice")
    machine.run("pypi-insiders", "watcher", "start")
    machine.run("test", "!", "-e", slice_unit)
    cgroup = show(machine, WATCHER, "ControlGroup") or show(machine, WATCHER, "Slice")
    assert cgroup == "background.slice"
    machine.run("pypi-insiders", "uninstall")
    left = machine.run("systemctl", "--user", "list-units", "--all", "--plain", "pypi*").stdout
    assert ".slice" not in left


# Asks twice on one connection; between the answers something is done.
CLIENT = """
import http.client, sys
connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=60)
for _ in range(2):
    connection.request("GET", "/simple/nothing/", headers={"Host": "packages.example"})
    answer = connection.getresponse()
    answer.read()
    print(answer.status, answer.headers["Location"], flush=True)
    input()
"""


def test_a_reload_reads_the_settings_and_drops_no_connection(machine: Machine, port: int) -> None:
    """What cannot be changed so is said; wrong settings change nothing, and are told."""
    settings = f'[server]\nport = {port}\nnames = ["packages.example"]\n'
    first, second = (f"https://{name}.example/simple/" for name in ("one", "two"))
    machine.write_text(CONFIG, f'{settings}fallback-url = "{first}"\n')
    machine.run("pypi-insiders", "server", "start")
    pid = show(machine, SERVER, "MainPID")
    machine.run("mkfifo", "go")
    client = machine.start(
        "sh", "-c", 'exec "$@" <>go', "sh", sys.executable, "-c", CLIENT, str(port)
    )
    lines = client.lines()
    assert next(lines) == f"303 {first}nothing/"

    changed = settings.replace(str(port), str(port + 1))
    machine.write_text(CONFIG, f'{changed}fallback-url = "{second}"\n')
    machine.run("systemctl", "--user", "reload", SERVER)
    machine.wait_for_journal(
        "^host, port, uploads and hooks change only with `pypi-insiders server restart`$"
    )
    machine.wait_for_journal("^reloaded the settings$")
    machine.run("sh", "-c", "echo >go")
    assert next(lines) == f"303 {second}nothing/"

    machine.write_text(CONFIG, "[server\n")
    machine.run("systemctl", "--user", "reload", SERVER)
    why = machine.wait_for_journal("^keeping the old settings: ")
    status = ("systemctl", "--user", "show", "-P", "StatusText", SERVER)
    machine.wait_for(status, lambda done: done.stdout.strip().endswith(f"; {why}"))
    url = f"http://127.0.0.1:{port}"
    assert machine.get(f"{url}/simple/nothing/").location == f"{second}nothing/"
    machine.write_text(CONFIG, f"{settings}auth = true\n")
    machine.run("systemctl", "--user", "reload", SERVER)
    machine.wait_for_journal("^keeping the old settings: `auth` is set, but .* has no user$")
    machine.run("sh", "-c", "echo secret | pypi-insiders server password me")
    machine.run("systemctl", "--user", "reload", SERVER)
    machine.wait_for(status, lambda done: "keeping" not in done.stdout)
    assert machine.get(f"{url}/simple/").status == 401
    assert (show(machine, SERVER, "MainPID"), show(machine, SERVER, "NRestarts")) == (pid, "0")


def test_the_page_tells_of_services_that_the_server_does_not_see(
    machine: Machine, port: int
) -> None:
    """What the notifier has found; and no more than that."""
    machine.run("pypi-insiders", "server", "start")
    machine.run("pypi-insiders", "watcher", "start")
    url = f"http://127.0.0.1:{port}/"
    before = machine.get(url).body
    assert "updates cannot write" not in before
    assert "unknown:" not in before
    drop_in(machine, WATCHER, "ExecStart=", "ExecStart=/bin/false")
    machine.run("systemctl", "--user", "start", WATCHER, check=False)
    known = f"{STATE}/troubles/watcher.json"
    machine.wait_for(("cat", known), lambda done: "the last update failed" in done.stdout)
    machine.run("systemctl", "--user", "restart", SERVER)
    page = machine.get(url).body
    assert "the last update failed (exit-code)" in page
