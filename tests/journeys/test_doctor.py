"""doctor: what it finds under a real user manager, and what without one."""

import http.server
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fixtures import COMMAND, Person, free_port, started
from machine import Machine
from projects import Project, create, git
from units import UNIT_DIRECTORY, fallback
from units import port as usual_port

from pypi_insiders import __version__

__all__ = ["fallback", "usual_port"]

UNIT = "a unit like pypi-insiders-watcher.service"
FROM_SHELL = (
    "the watcher sees neither the variables nor the ssh agent of your shell: `systemctl --user "
    "import-environment SSH_AUTH_SOCK`, a key that needs no agent, or ~/.config/environment.d/"
)
NOWHERE = "file:///nowhere/"


RESTART = "`pypi-insiders server restart`"
# Of a sandbox, which would be measured each time.
QUICK = '[build]\nsandbox = "off"\n'


@pytest.fixture
def port(machine: Machine, usual_port: int) -> int:
    """The port of the index, free and set in config.toml; builds have no sandbox."""
    path = ".config/pypi-insiders/config.toml"
    machine.write_text(path, machine.read_text(path) + QUICK)
    return usual_port


def examine_all(machine: Machine, *, status: int, **environment: str) -> list[dict[str, Any]]:
    """Run `doctor`, which must end so; return all that it found.

    Args:
        machine: in which it runs.
        status: how it must end.
        environment: added to the machine's, where `~/bin` comes first in PATH.
    """
    environment = {"PATH": f"{machine.home}/bin:{machine.path}", **environment}
    done = machine.run("pypi-insiders", "doctor", "--json", check=False, env=environment)
    assert done.returncode == status, done.stdout + done.stderr
    assert done.stderr == ""
    found: list[dict[str, Any]] = json.loads(done.stdout)["findings"]
    return found


def examine(machine: Machine, *, status: int, **environment: str) -> dict[str, dict[str, Any]]:
    """Run `doctor`, which must end so; tell what it found by what it looked at."""
    found = examine_all(machine, status=status, **environment)
    return {item["repository"] or item["check"]: item for item in found}


def of(check: str, found: list[dict[str, Any]]) -> list[tuple[str, str, str | None]]:
    """Pick what one check found: verdict, message and hint of each."""
    return [
        (item["severity"], item["text"], item["hint"]) for item in found if item["check"] == check
    ]


def watch(machine: Machine, directory: Path, *, at: str | None = None) -> Project:
    """Make a project with a release that is watched, at a URL of its own or at another one."""
    project = create(directory, "probe")
    project.release("1.0")
    machine.write_text(".gitconfig", "[safe]\n  directory = *\n")
    machine.run("pypi-insiders", "repos", "add", "me/probe:probe", "--url", at or project.url)
    return project


def start_and_fail(machine: Machine) -> None:
    """Start the watcher, whose first update finds nothing to build; what comes later may."""
    machine.run("pypi-insiders", "watcher", "start", "--no-block")
    machine.wait_for_journal("Failed to start pypi-insiders-watcher.service")


def found_at(project: Project) -> dict[str, Any]:
    """Make the variables by which git finds a project that is nowhere. Source: git-config(1)."""
    return {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.file://{project.remote.parent}/.insteadOf",
        "GIT_CONFIG_VALUE_0": NOWHERE,
    }


def drop_in(machine: Machine, text: str) -> None:
    """Do what `systemctl --user edit` does with the watcher's service."""
    machine.write_text(
        f"{UNIT_DIRECTORY}/pypi-insiders-watcher.service.d/override.conf", f"[Service]\n{text}"
    )
    machine.run("systemctl", "--user", "daemon-reload")


def assignments(variables: dict[str, str]) -> str:
    """Write variables as lines of a unit."""
    return "".join(f'Environment="{name}={value}"\n' for name, value in variables.items())


def test_where_all_is_well_it_says_so(
    machine: Machine, port: int, fallback: str, tmp_path: Path
) -> None:
    """One line a check, from the ground up, and exit status 0."""
    watch(machine, tmp_path)
    machine.run("pypi-insiders", "server", "enable")
    machine.run("pypi-insiders", "watcher", "enable")
    machine.wait_for_journal("Finished pypi-insiders-watcher.service")
    lines = machine.run("pypi-insiders", "doctor").stdout.splitlines()
    expected = [
        "ok       config.toml: valid",
        "ok       repos.toml: valid",
        r"ok       git: \d+\.\d+[.\d]*",
        r"ok       user manager: systemd \d+.* answers",
        "ok       user bus: answers",
        "ok       lingering: .*|warning  lingering: off.*",
        "ok       journal: readable",
        r"(ok|warning)  *disk: [.\d]+ [MG]iB free for distributions, state and cache",
        "ok       server units: up to date",
        "ok       watcher units: up to date",
        f"ok       program: pypi-insiders {re.escape(__version__)}",
        f"ok       port: {port} is used by pypi-insiders-server.socket",
        f"ok       server: running at http://127.0.0.1:{port}/simple/",
        rf"ok       index: answers at http://127.0.0.1:{port}/simple/: fetched a page and "
        r"probe-1\.0\S*",
        r"ok       watcher: running, last update succeeded \d+ s ago, next update in .*",
        "ok       releases: 1 project, all served as published",
        r"ok       sandbox: active \(home, bus, other processes, network and control groups "
        r"isolated\)",
        rf"ok       fallback: {fallback} answers \(\d\.\d s\)",
        f"ok       clock: the same as at {fallback}.*",
        "ok       pip: nothing wrong, but not configured to use the index yet",
        "ok       uv: nothing wrong, but not configured to use the index yet",
        "ok       PDM: nothing wrong, but not configured to use the index yet",
        "ok       lock files: none found",
        "ok       access: me/probe is readable by the watcher",
    ]
    told = [line for line in lines if not line.lstrip().startswith("hint:")]
    assert len(told) == len(expected), told
    for line, pattern in zip(told, expected, strict=True):
        assert re.fullmatch(pattern, line)
    hints = [line for line in lines if line not in told]
    assert hints.count('         hint: `eval "$(pypi-insiders env)"`') == 1  # for all three
    assert "pypi-insiders-doctor" not in machine.run("systemctl", "--user", "list-units").stdout


def test_a_bus_that_is_not_the_managers_is_told_apart(machine: Machine, usual_port: int) -> None:
    """systemctl answers without it; what starts units and waits for them does not work."""
    found = examine(machine, status=0, DBUS_SESSION_BUS_ADDRESS="unix:path=/nonexistent")
    assert found["user manager"]["severity"] == "ok"
    uid = machine.run("id", "-u").stdout.strip()
    assert re.fullmatch(
        "does not lead to the user manager: Failed to connect to .*bus.*: "
        "No such file or directory",
        found["user bus"]["text"],
    )
    assert (found["user bus"]["severity"], found["user bus"]["hint"]) == (
        "warning",
        "install dbus-user-session and log in again; `echo $DBUS_SESSION_BUS_ADDRESS` should print "
        f"unix:path=/run/user/{uid}/bus or an empty line",
    )
    assert found["sandbox"]["severity"] == "warning"


@pytest.fixture(scope="module")
def running(
    installed: Path, shared: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Machine]:
    """A machine in which both services run, and a copy of their files."""
    with started(installed, shared, tmp_path_factory.mktemp("doctor")) as machine:
        settings = f"{QUICK}[server]\nport = {free_port()}\n"
        machine.write_text(".config/pypi-insiders/config.toml", settings)
        for service in ("server", "watcher"):
            machine.run("pypi-insiders", service, "enable")
        machine.run("cp", "-a", ".config", "kept")
        yield machine


@pytest.fixture
def services(running: Machine) -> Iterator[Machine]:
    """That machine, and what a test does to its files is undone."""
    yield running
    running.run("rm", "-r", ".config")
    running.run("cp", "-a", "kept", ".config")
    running.run("systemctl", "--user", "daemon-reload")
    # The socket fails where its service cannot be started; systemd 257 closes one that was masked.
    index = ("pypi-insiders-server.socket", "pypi-insiders-server.service")
    running.run("systemctl", "--user", "stop", *index)
    running.run("systemctl", "--user", "reset-failed")
    running.run("systemctl", "--user", "start", *index)
    running.run("systemctl", "--user", "restart", "pypi-insiders-watcher.timer")


_STALE = "out of date (upgrade or changed settings): "


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param(
            "sed -i 's/# Installed by pypi-insiders [^,]*,/# Installed by pypi-insiders 0.0.1,/' "
            "pypi-insiders-server.service pypi-insiders-server.socket",
            (
                "warning",
                f"{_STALE}pypi-insiders-server.socket, pypi-insiders-server.service",
                RESTART,
            ),
            id="another version",
        ),
        pytest.param(
            "sed -i 's,^ExecStart=.* server,ExecStart=/usr/bin/env server,; s/ (sha256 .*)//' "
            "pypi-insiders-server.service",
            ("warning", f"{_STALE}pypi-insiders-server.service", RESTART),
            id="another command",
        ),
        pytest.param(
            'echo "[watcher]\ninterval = \\"1h\\"" >> ~/.config/pypi-insiders/config.toml; '
            "sed -i 's/^port/host = \"127.0.0.1\"\\nport/' ~/.config/pypi-insiders/config.toml",
            ("warning", f"{_STALE}pypi-insiders-server.socket.d/10-config.conf", RESTART),
            id="other settings",
        ),
        pytest.param(
            "sed -i 's/^NoDelay=yes/NoDelay=no/' pypi-insiders-server.socket && "
            "sed -i 's/^UMask=0077/UMask=0022/' pypi-insiders-server.service",
            (
                "warning",
                "changed since they were installed: "
                "pypi-insiders-server.socket, pypi-insiders-server.service",
                "the next `start` overwrites the change; keep it with `systemctl --user edit "
                "pypi-insiders-server.socket`",
            ),
            id="edited",
        ),
        pytest.param(
            "rm pypi-insiders-server.service",
            ("problem", "pypi-insiders-server.service is missing", RESTART),
            id="missing",
        ),
        pytest.param(
            "rm pypi-insiders-server.socket && systemctl --user mask pypi-insiders-server.socket",
            (
                "problem",
                "pypi-insiders-server.socket is masked",
                "`systemctl --user unmask pypi-insiders-server.socket`",
            ),
            id="masked",
        ),
        pytest.param(
            "mkdir -p pypi-insiders-server.service.d && printf '[Service]\nExecStart=\n' > "
            "pypi-insiders-server.service.d/override.conf",
            (
                "problem",
                "systemd cannot load pypi-insiders-server.service (bad-setting)",
                "see why: `systemd-analyze --user verify pypi-insiders-server.service`",
            ),
            id="a drop-in that is wrong",
        ),
    ],
)
def test_units_that_are_not_as_they_should_be(
    services: Machine, change: str, expected: tuple[str, str, str]
) -> None:
    """What is stale is told apart from what was edited; the units of the other service are well."""
    machine = services
    machine.run("sh", "-c", change, cwd=machine.home / UNIT_DIRECTORY)
    machine.run("systemctl", "--user", "daemon-reload")
    found = examine_all(machine, status=int(expected[0] == "problem"))
    assert of("server units", found) == [expected]
    if "interval" not in change:
        assert of("watcher units", found) == [("ok", "up to date", None)]
    if expected[2] == RESTART:
        machine.run("pypi-insiders", "server", "restart")
        assert of("server units", examine_all(machine, status=0)) == [("ok", "up to date", None)]


def test_a_change_that_systemd_has_not_seen_is_a_warning(services: Machine) -> None:
    """And a person's own drop-ins are named."""
    machine = services
    drop_in(machine, "Environment=A=1\n")
    name = "pypi-insiders-watcher.service.d/override.conf"
    well = [("ok", f"up to date, with your drop-ins {name}", None)]
    assert of("watcher units", examine_all(machine, status=0)) == well
    machine.write_text(f"{UNIT_DIRECTORY}/{name}", "[Service]\nEnvironment=A=2\n")
    assert of("watcher units", examine_all(machine, status=0)) == [
        (
            "warning",
            "pypi-insiders-watcher.service has changed on disk since systemd read it",
            "`systemctl --user daemon-reload`",
        )
    ]
    machine.run("systemctl", "--user", "daemon-reload")
    assert of("watcher units", examine_all(machine, status=0)) == well


def test_a_command_that_is_gone_is_a_problem(services: Machine) -> None:
    """Also if only the interpreter is that its first line names."""
    machine = services
    program = machine.write_text("bin/other", "#!/bin/sh\nexit 0\n", mode=0o755)
    unit = "pypi-insiders-watcher.service"
    drop_in(machine, f"ExecStart=\nExecStart={program} update\n")

    def told() -> list[tuple[str, str, str | None]]:
        return of("watcher units", examine_all(machine, status=1))

    def problem(trouble: str) -> list[tuple[str, str, str | None]]:
        hint = f"see its ExecStart=: `systemctl --user cat {unit}`"
        return [("problem", f"{unit} cannot run: {trouble}", hint)]

    machine.write_text("bin/other", f"#!{machine.home}/python\n", mode=0o755)
    assert told() == problem(f"the interpreter of {program}, {machine.home}/python, was not found")
    machine.write_text("bin/other", "#!/bin/sh\n", mode=0o644)
    assert told() == problem(f"{program} is not executable")
    machine.run("rm", program)
    assert told() == problem(f"{program} was not found")
    # Where no drop-in says so, the remedy is another.
    machine.run("rm", f"{UNIT_DIRECTORY}/{unit}.d/override.conf")
    command = f"s,^ExecStart=.*,ExecStart={program} update,; s/ (sha256 [0-9a-f]*)//"
    machine.run("sed", "-i", command, f"{UNIT_DIRECTORY}/{unit}")
    machine.run("systemctl", "--user", "daemon-reload")
    hint = "`pypi-insiders watcher restart`"
    assert told() == [
        ("warning", f"{_STALE}{unit}", hint),
        (
            "problem",
            f"{unit} cannot run: {program} was not found",
            f"{hint} uses the command that is installed now",
        ),
    ]
    machine.run("pypi-insiders", "watcher", "restart")
    assert of("watcher units", examine_all(machine, status=0)) == [("ok", "up to date", None)]


def test_who_holds_the_port_is_named(machine: Machine, port: int) -> None:
    """Its process, or the user of one that cannot be looked at."""
    serving = ("-u", "-m", "http.server", str(port), "--bind", "127.0.0.1")
    other = machine.start(sys.executable, *serving)
    assert next(other.lines()).startswith("Serving HTTP")
    hint = "stop that program, or set another `port` under [server]"
    (found,) = of("port", examine_all(machine, status=1))
    assert re.fullmatch(
        rf"{port} is used by python\S* \(process \d+\), so the index cannot listen there", found[1]
    )
    assert (found[0], found[2]) == ("problem", hint)
    other.stop()
    assert of("port", examine_all(machine, status=0)) == [("ok", f"{port} is free", None)]
    with http.server.HTTPServer(
        ("127.0.0.1", port), http.server.BaseHTTPRequestHandler
    ) as server:  # outside of the machine, whose processes do not see it
        threading.Thread(target=server.serve_forever, daemon=True).start()
        (found,) = of("port", examine_all(machine, status=1))
        server.shutdown()
    assert re.fullmatch(
        rf"{port} is used by a process of user \S+, so the index "
        rf"cannot listen there|127\.0\.0\.1:{port} belongs to the user \S+: clients would .*",
        found[1],
    )
    assert (found[0], found[2]) == ("problem", hint)


def test_an_index_in_the_foreground_is_well_where_it_is(machine: Machine, port: int) -> None:
    """It holds the port in place of the unit."""
    index = machine.start("pypi-insiders", "server", "run")
    assert next(index.lines()).endswith(f"http://127.0.0.1:{port}/simple/")
    found = examine_all(machine, status=0)
    ((verdict, message, _),) = of("port", found)
    assert verdict == "ok"
    assert re.fullmatch(rf"{port} is used by pypi-insiders \(process \d+\), an index", message)
    assert of("index", found) == [
        ("ok", f"answers at http://127.0.0.1:{port}/simple/, without any file yet", None)
    ]


def test_a_timer_that_will_never_elapse_again_is_a_problem(services: Machine) -> None:
    """Though systemd calls it active."""
    machine = services
    machine.write_text(
        f"{UNIT_DIRECTORY}/pypi-insiders-watcher.timer.d/override.conf",
        "[Timer]\nOnCalendar=\nOnCalendar=2001-01-01\nPersistent=no\n",
    )
    machine.run("systemctl", "--user", "daemon-reload")
    machine.run("systemctl", "--user", "restart", "pypi-insiders-watcher.timer")
    assert of("watcher", examine_all(machine, status=1)) == [
        (
            "problem",
            "no next update: pypi-insiders-watcher.timer is active, but never elapses",
            "see its OnCalendar=: `systemctl --user cat pypi-insiders-watcher.timer`",
        )
    ]


def test_an_update_that_hangs_is_a_warning(machine: Machine, port: int) -> None:
    """After three intervals."""
    settings = f'{QUICK}[server]\nport = {port}\n[watcher]\ninterval = "1s"\n'
    machine.write_text(".config/pypi-insiders/config.toml", settings)
    drop_in(machine, "ExecStart=\nExecStart=/usr/bin/env sleep infinity\n")
    machine.run("pypi-insiders", "watcher", "enable", "--no-block")
    done = machine.wait_for(
        ["pypi-insiders", "doctor", "--json"],
        lambda done: of("watcher", json.loads(done.stdout)["findings"])[0][0] == "warning",
    )
    ((_, message, hint),) = of("watcher", json.loads(done.stdout)["findings"])
    assert re.fullmatch(r"the running update began at .*, more than 3 intervals ago", message)
    assert hint == "see why: `pypi-insiders watcher logs`"


def test_a_directory_that_cannot_be_written_is_a_problem(machine: Machine, port: int) -> None:
    """It is named, with what should lie there."""
    machine.run("mkdir", "-p", ".local/share/pypi-insiders")
    machine.run("chmod", "a-w", ".local/share/pypi-insiders")
    place = f"{machine.home}/.local/share/pypi-insiders"
    assert of("disk", examine_all(machine, status=1))[0] == (
        "problem",
        f"cannot write the distributions in {place}",
        f"check its permissions: `ls -ld {place}`",
    )


def test_a_sandbox_is_as_strong_as_was_measured(machine: Machine, usual_port: int) -> None:
    """Where systemd leaves out one of its walls, without a word, that is seen."""
    machine.write_text(
        "bin/systemd-run",
        "#!/bin/bash\nfor word; do\n    shift\n"
        "    case $word in *PrivateNetwork=* | *RestrictAddressFamilies=*) ;; "
        '*) set -- "$@" "$word" ;; esac\ndone\nPATH=${PATH#*:} exec systemd-run "$@"\n',
        mode=0o755,
    )
    assert of("sandbox", examine_all(machine, status=0)) == [
        (
            "warning",
            "unavailable, builds run with your permissions: the network is visible (it would "
            "isolate home, bus, other processes and control groups)",
            "watch only repositories that you trust as much as packages that you install",
        )
    ]


def test_ctrl_c_waits_for_no_host(person: Person) -> None:
    """A terminal signals all processes, but others signal only the one that they have started."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"git://127.0.0.1:{silent.getsockname()[1]}/probe"
        person.paths.config.mkdir(parents=True, exist_ok=True)
        person.paths.repositories.write_text(f'["me/probe"]\nproject = "probe"\nurl = "{url}"\n')
        doctor = subprocess.Popen(
            [COMMAND, "doctor"], env=person.environment,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        connection, _ = silent.accept()
        with connection:
            doctor.send_signal(signal.SIGINT)
            # Half of the time limit of git.
            _, errors = doctor.communicate(timeout=30)
    assert (doctor.returncode, errors.splitlines()[-1:]) == (130, ["error: interrupted"])


_SILENT = """
import socket
server, connections = socket.create_server(("127.0.0.1", 0)), []
print(server.getsockname()[1])
while True:
    connections.append(server.accept())
    print("somebody waits")
"""


def test_an_examination_that_is_ended_leaves_nothing_behind(
    machine: Machine, usual_port: int
) -> None:
    """No unit and no file, though a repository keeps it waiting."""
    silent = machine.start(sys.executable, "-u", "-c", _SILENT)
    said = silent.lines()
    url = f"git://127.0.0.1:{next(said)}/probe"
    machine.run("pypi-insiders", "repos", "add", "me/probe", "--url", url)
    doctor = machine.start("pypi-insiders", "doctor")
    assert next(said) == "somebody waits"
    assert any(line.startswith("ok       lock files") for line in doctor.lines())

    def left() -> tuple[bool, bool]:
        units = machine.run("systemctl", "--user", "list-units", "pypi-insiders-*").stdout
        find = 'find "$XDG_RUNTIME_DIR" ~/.cache/pypi-insiders -maxdepth 1 -name "tmp*"'
        return "pypi-insiders-doctor-" in units, machine.run("sh", "-c", find).stdout != ""

    assert left() == (True, True)
    assert doctor.stop() == 143
    assert left() == (False, False)


@pytest.mark.parametrize("is_installed", [True, False], ids=["installed", "not installed"])
def test_what_only_the_shell_can_read_is_a_problem(
    machine: Machine, port: int, tmp_path: Path, is_installed: bool
) -> None:
    """It names the unit, what git said there, and the way out."""
    project = watch(machine, tmp_path, at=f"{NOWHERE}probe.git")
    shell = found_at(project)
    if is_installed:
        start_and_fail(machine)
    found = examine(machine, status=1, **shell)["me/probe"]
    assert found["severity"] == "problem"
    assert found["text"].startswith(
        "is readable from your shell, but not by the watcher: repository not found"
    )
    assert found["hint"] == FROM_SHELL
    machine.run("systemctl", "--user", "set-environment", *(f"{k}={v}" for k, v in shell.items()))
    assert examine(machine, status=1)["me/probe"]["severity"] == "ok"


def test_what_only_the_unit_can_read_is_well(machine: Machine, port: int, tmp_path: Path) -> None:
    """`Environment=` of a person's drop-in is the watcher's, with values that need quoting."""
    project = watch(machine, tmp_path, at=f"{NOWHERE}probe.git")
    start_and_fail(machine)
    assert examine(machine, status=1)["me/probe"]["severity"] == "problem"
    odd = {"ODD": r"a $HOME ${HOME} 'b' %% \\ c"}
    drop_in(machine, assignments({**found_at(project), **odd}))
    found = examine(machine, status=1)["me/probe"]  # for nothing is built yet
    assert (found["severity"], found["text"]) == ("ok", "is readable by the watcher")
    # An update of the unit says the same.
    machine.run("systemctl", "--user", "start", "pypi-insiders-watcher.service")
    assert examine(machine, status=0)["me/probe"]["severity"] == "ok"


def test_a_file_of_variables_and_credentials_are_those_of_the_unit(
    machine: Machine, port: int, tmp_path: Path
) -> None:
    """A git that asks for what only a unit has; and nobody reads it in a command line."""
    secret = f"secret-{uuid.uuid4().hex}"  # other tests run beside this one, with words of theirs
    project = watch(machine, tmp_path, at=f"{NOWHERE}probe.git")
    start_and_fail(machine)
    machine.write_text(
        "bin/git",
        "#!/bin/sh\n"
        'refuse() { echo "fatal: Authentication failed" >&2; exit 9; }\n'
        'case "$*" in *ls-remote*)\n'
        '    [ "$(cat "$CREDENTIALS_DIRECTORY/set" "$CREDENTIALS_DIRECTORY/load")" '
        f"= '{secret} as setfrom a file' ] || refuse\n"
        '    [ -z "${GONE+x}" ] || refuse\n'
        f"    ! grep -aq {secret} /proc/[0-9]*/cmdline || refuse ;;\n"
        'esac\nexec /usr/bin/env PATH="${PATH#*:}" git "$@"\n',
        mode=0o755,
    )
    machine.write_text("from-a-file", "from a file")
    variables = {**found_at(project), "PATH": f"{machine.home}/bin:/usr/bin:/bin", "GONE": "1"}
    machine.write_text("variables", "".join(f"{name}={it}\n" for name, it in variables.items()))
    drop_in(
        machine,
        f"Environment=TOKEN={secret}\n"
        "EnvironmentFile=%h/variables\nEnvironmentFile=-%h/missing\nUnsetEnvironment=GONE\n"
        f"SetCredential=set:{secret} as set\nLoadCredential=load:%h/from-a-file\n",
    )
    assert examine(machine, status=1)["me/probe"]["severity"] == "ok"  # nothing is built yet
    drop_in(machine, "EnvironmentFile=%h/variables\nUnsetEnvironment=GONE\n")
    assert examine(machine, status=1)["me/probe"]["severity"] == "problem"


def test_a_unit_that_cannot_run_or_does_not_watch_is_a_problem(
    machine: Machine, port: int, tmp_path: Path
) -> None:
    """As the watcher cannot; or has its files elsewhere, as after a change of `XDG_CONFIG_HOME`."""
    watch(machine, tmp_path)
    machine.run("pypi-insiders", "watcher", "start")
    drop_in(machine, "EnvironmentFile=%h/missing\n")
    found = examine(machine, status=1)["access"]
    assert found["severity"] == "problem"
    assert found["text"].startswith(f"cannot run {UNIT}: ")
    drop_in(machine, "Environment=XDG_CONFIG_HOME=%h/elsewhere\n")
    found = examine(machine, status=1)["me/probe"]
    assert found["text"] == "is not in the repos.toml that the watcher reads"
    assert found["hint"] == "`pypi-insiders watcher restart` passes your directories to the watcher"


def test_what_nobody_can_read_is_told_once(machine: Machine, port: int) -> None:
    """In git's words, with the hint that an update gives too; the others are looked at."""
    machine.run("pypi-insiders", "repos", "add", "me/probe", "--url", f"{NOWHERE}probe.git")
    found = examine(machine, status=1)["me/probe"]
    assert found["text"].startswith("cannot be read by the watcher: repository not found")
    assert found["hint"] == "check the name, and that your sponsorship or account gives access"


def test_services_that_do_not_run_are_told(machine: Machine, port: int) -> None:
    """As warnings with what to type, for that can be what the person wants."""
    found = examine(machine, status=0)
    assert {name: found[name]["hint"] for name in ("server", "watcher", "access")} == {
        "server": "`pypi-insiders server enable`",
        "watcher": "`pypi-insiders watcher enable`",
        "access": "`pypi-insiders repos add NS/PROJ`",
    }
    assert found["index"]["text"] == (
        f"no answer at http://127.0.0.1:{port}/simple/ (Connection refused)"
    )
    machine.run("pypi-insiders", "server", "start")
    machine.run("pypi-insiders", "server", "stop")
    found = examine(machine, status=0)
    assert (found["server"]["text"], found["server"]["hint"]) == (
        "stopped",
        "`pypi-insiders server start`",
    )


def test_an_index_that_fails_is_a_problem(machine: Machine, port: int) -> None:
    """Though its socket takes connections."""
    machine.run("pypi-insiders", "server", "start")
    machine.write_text(
        f"{UNIT_DIRECTORY}/pypi-insiders-server.service.d/override.conf",
        "[Service]\nExecStart=\nExecStart=/bin/false\n",
    )
    machine.run("systemctl", "--user", "daemon-reload")
    machine.run("systemctl", "--user", "restart", "pypi-insiders-server.service", check=False)
    found = examine(machine, status=1)
    assert found["server"]["severity"] == "problem"
    assert found["server"]["text"].startswith("failing (")
    assert found["server"]["hint"] == "see why: `pypi-insiders server logs`"


def test_a_sandbox_is_asked_for_as_the_settings_say(machine: Machine, usual_port: int) -> None:
    """One that is required and cannot be had is a problem; one that is not wanted is none."""
    settings = machine.read_text(".config/pypi-insiders/config.toml")
    machine.write_text("bin/systemd-run", "#!/bin/sh\necho no units here >&2\nexit 1\n", mode=0o755)
    told = {}
    for wanted, status in (("off", 0), ("auto", 0), ("required", 1)):
        machine.write_text(
            ".config/pypi-insiders/config.toml", f'{settings}[build]\nsandbox = "{wanted}"\n'
        )
        told[wanted] = examine(machine, status=status)["sandbox"]
    assert [item["severity"] for item in told.values()] == ["ok", "warning", "problem"]
    off = 'off (`sandbox = "off"`): builds run with your permissions'
    assert told["off"]["text"] == off
    assert told["required"]["text"].startswith("unavailable: ")


def test_without_a_user_manager_it_looks_from_where_it_is(person: Person, tmp_path: Path) -> None:
    """And says so: there is no watcher whose view would count."""
    project = create(tmp_path, "probe")
    project.release("1.0")
    person.run("repos", "add", "me/probe", "--url", f"{NOWHERE}probe.git")
    person.paths.settings.write_text(f"[server]\nport = {free_port()}\n")
    failed = person.run("doctor", status=1).stdout
    assert re.search("^warning  user manager: .+\n         hint: .+$", failed, re.MULTILINE)
    problems = [line for line in failed.splitlines() if line.startswith("problem")]
    place = "by this process (no user manager)"
    assert problems[0] == "problem  me/probe: no release yet: not built"
    assert problems[1].startswith(
        f"problem  access: me/probe cannot be read {place}: repository not found"
    )
    assert len(problems) == 2
    done = person.run("doctor", status=1, **found_at(project)).stdout
    assert f"ok       access: me/probe is readable {place}\n" in done


@pytest.mark.parametrize(
    ("file", "text"),
    [("config.toml", "[server\n"), ("repos.toml", '["me/probe"]\nurl = "ext::sh"\n')],
)
def test_a_broken_file_is_a_problem_and_the_rest_is_looked_at(
    person: Person, file: str, text: str
) -> None:
    """What the program would complain of, with the same hint."""
    path = person.paths.config / file
    path.parent.mkdir(parents=True)
    path.write_text(text)
    lines = person.run("doctor", status=1).stdout.splitlines()
    number = next(n for n, line in enumerate(lines) if line.startswith("problem"))
    assert lines[number].startswith(f"problem  {file}: {path}")
    assert lines[number + 1] == f"         hint: edit {path}"
    # On the default port somebody else may have an index here.
    problems = [line for line in lines if re.match("problem  (?!port: )", line)]
    assert len(problems) == 1
    assert any(line.startswith("ok       git: ") for line in lines)


def test_a_missing_git_and_another_server_are_problems(person: Person) -> None:
    """Each with its hint."""
    port = free_port()
    person.paths.config.mkdir(parents=True)
    (person.paths.config / "config.toml").write_text(f"[server]\nport = {port}\n")
    with http.server.HTTPServer(("127.0.0.1", port), http.server.BaseHTTPRequestHandler) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        found = person.run("doctor", "--json", status=1, PATH="/nonexistent").stdout
        other.shutdown()
    told = {item["check"]: item for item in json.loads(found)["findings"]}
    assert told["git"] == {
        "check": "git",
        "severity": "problem",
        "repository": None,
        "text": "git was not found",
        "hint": "install git",
        "verdict": "problem",
        "message": "git was not found",
    }
    assert told["index"]["severity"] == "problem"
    assert told["index"]["text"] == f"http://127.0.0.1:{port} belongs to another program (501)"
    hint = "stop that program, or set another `port` under [server]"
    assert told["index"]["hint"] == told["port"]["hint"] == hint


def test_a_repository_without_tags_is_a_warning(person: Person, tmp_path: Path) -> None:
    """It can be read; there is nothing to build, but for a branch."""
    project = create(tmp_path, "probe")
    project.write("1.0")
    git(project.tree, "add", "--all")
    git(project.tree, "commit", "--quiet", "--message", "first")
    git(project.tree, "push", "--quiet", "origin", "HEAD")
    person.run("repos", "add", "me/probe", "--url", project.url)
    person.paths.settings.write_text(f"[server]\nport = {free_port()}\n")
    lines = person.run("doctor", status=1).stdout.splitlines()
    assert lines[-2:] == [
        "warning  access: me/probe is readable by this process (no user manager), but nothing is "
        "built: no tags found",
        "         hint: build its branch: `pypi-insiders repos add me/probe --branch main`",
    ]
    person.run("repos", "add", "me/probe", "--branch", "main")
    lines = person.run("doctor", status=1).stdout.splitlines()  # nothing is built yet
    assert "ok       access: me/probe is readable by this process (no user manager)" in lines
