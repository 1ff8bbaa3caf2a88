"""What an update tells while it runs, and of its end: on a terminal, to systemd, to scripts."""

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import termios
from pathlib import Path
from typing import Any

import pytest
from fixtures import COMMAND, Person, Watch, need, untimed
from machine import Machine
from projects import Project, block, create
from units import port, show

__all__ = ["port"]

SERVICE = "pypi-insiders-watcher.service"
TIME = r"\d+\.\d s"


def test_a_summary_with_times(person: Person, watch: Watch) -> None:
    """One line for each repository of which something was published, and then the total."""
    watch("quiet").release("1.0")
    person.run("update")
    project = watch("probe")
    project.release("1.0")
    project.release("1.1")
    broken = watch("broken")
    broken.write("1.0")
    broken.hook("exit('broken')")
    broken.push("v1.0")
    person.run("repos", "add", "me/probe", "--backfill", "2")
    done = person.run("update", status=1)
    assert (
        untimed(done.stdout) == "Checked 3 repositories, published 4 files; 1 failed: me/broken\n"
    )
    steps = ", ".join(f"{verb} {TIME}" for verb in ("check", "fetch", "build", "publish"))
    timed = [line for line in done.stderr.splitlines() if re.search(TIME, line)]
    assert [
        bool(re.fullmatch(rf"me/probe: probe 1.1, probe 1.0 in {TIME} \({steps}\)", line))
        for line in timed
    ] == [True]


def test_without_a_terminal_each_step_is_told_once(person: Person, watch: Watch) -> None:
    """Building and publishing are lines of the log; nothing moves a cursor."""
    watch("probe").release("1.0")
    told = person.run("update", TERM="xterm").stderr
    plain = re.sub(TIME, "S", re.sub(r"\([0-9a-f]{9}\)", "(COMMIT)", told)).splitlines()
    assert [line for line in plain if "sandboxed" not in line and "hint" not in line] == [
        "me/probe: building tag v1.0 (COMMIT)",
        "me/probe: published probe-1.0.tar.gz, probe-1.0-py3-none-any.whl",
        "me/probe: probe 1.0 in S (check S, fetch S, build S, publish S)",
    ]


def test_scripts_read_what_came_of_each_repository(
    person: Person, watch: Watch, tmp_path: Path
) -> None:
    """Also of what fails, and of nothing at all; the exit status is the same."""
    nothing = person.run("update", "--json")
    assert json.loads(nothing.stdout)["repositories"] == []
    watch("probe").release("1.0")
    broken = watch("broken")
    broken.write("1.0")
    broken.hook("exit('broken')")
    broken.push("v1.0")
    told = json.loads(person.run("update", "--json", status=1).stdout)
    why = "Backend subprocess exited when trying to invoke build_wheel: broken"
    spent = [item.pop("seconds") for item in told["repositories"]]
    assert [list(steps) for steps in spent] == [
        ["check", "fetch", "build", "publish", "clean"],
        ["check", "fetch", "build"],
    ]
    assert 0 < sum(spent[0].values()) < told.pop("seconds")
    assert told == {
        "version": 1,
        "problems": [],
        "errors": [],
        "repositories": [
            {
                "name": "me/probe",
                "published": ["probe-1.0.tar.gz", "probe-1.0-py3-none-any.whl"],
                "problems": [],
                "errors": [],
                "warnings": [],
                "unreachable": False,
            },
            {
                "name": "me/broken",
                "published": [],
                "problems": [
                    {"subject": "me/broken", "text": why, "hint": None, "tag": "v1.0"},
                ],
                "errors": [why],
                "warnings": [],
                "unreachable": False,
            },
        ],
    }


class Terminal:
    """A terminal on which the command runs, as from a shell."""

    def __init__(self, person: Person, *typed: str, **variables: str) -> None:
        """Start the command."""
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 200, 0, 0))
        self._modes = termios.tcgetattr(self._ours)
        environment = {**person.environment, "TERM": "xterm", **variables}
        for name in {"NO_COLOR", "COLUMNS", "FORCE_COLOR"} - set(variables):
            environment.pop(name, None)
        self._process = subprocess.Popen(
            [need("setsid"), "--ctty", COMMAND, *typed],
            env=environment, stdin=theirs, stdout=theirs, stderr=theirs,
        )  # fmt: skip
        os.close(theirs)
        self._output = b""

    def read_until(self, text: str) -> None:
        """Wait until the command has written something."""
        while text.encode() not in self._output:
            self._output += os.read(self._ours, 4096)

    def type(self, text: str) -> None:
        """Type something."""
        os.write(self._ours, text.encode())

    def end(self) -> tuple[int, str]:
        """Wait for the end; return the status and all that was written."""
        try:
            while block := os.read(self._ours, 4096):
                self._output += block
        except OSError:  # the other side is closed. Source: pty(7)
            pass
        status = self._process.wait(60)
        assert termios.tcgetattr(self._ours) == self._modes
        os.close(self._ours)
        return status, self._output.decode()


def test_a_terminal_shows_live_what_is_done(person: Person, watch: Watch, tmp_path: Path) -> None:
    """Each step of each repository; lines of the log stay whole; the cursor comes back."""
    block(watch("probe"), "1.0", tmp_path / "pipe")
    # Narrower than the lines: the terminal wraps them, and who copies one gets all of it.
    terminal = Terminal(person, "update", COLUMNS="60")
    terminal.read_until("building v1.0")
    (tmp_path / "pipe").open("w").close()
    status, told = terminal.end()
    assert status == 0
    for step in (
        *("checking", "fetching", "building v1.0", "publishing 1.0"),
        "looking up public versions",
    ):
        assert step in told
    assert told.rindex(SHOW_CURSOR) > told.rindex(HIDE_CURSOR)
    lines = [line.rpartition("\r")[2] for line in plain(told).split("\r\n")]
    assert "me/probe: published probe-1.0.tar.gz, probe-1.0-py3-none-any.whl" in lines
    assert untimed(lines[-2]) == "Checked 1 repository, published 2 files"


def test_ctrl_c_leaves_the_terminal_as_it_was(person: Person, watch: Watch, tmp_path: Path) -> None:
    """The cursor is there again, before what is said of it."""
    block(watch("probe"), "1.0", tmp_path / "pipe")
    terminal = Terminal(person, "update")
    with (tmp_path / "pipe").open("w"):  # opens when the build is there, and keeps it waiting
        terminal.read_until("building v1.0")
        terminal.type("\x03")
        status, told = terminal.end()
    assert status == 130
    after = told.rpartition(SHOW_CURSOR)[2]
    assert HIDE_CURSOR not in after
    assert plain(after).lstrip("\r").split("\r\n")[-4:] == [
        "note: what was published until now stays",
        "",
        "error: interrupted",
        "",
    ]


def test_nothing_is_live_where_nobody_wants_it(person: Person, watch: Watch) -> None:
    """A dumb terminal gets lines, `-q` silence, and NO_COLOR no colours."""
    project = watch("probe")
    project.release("1.0")
    status, told = Terminal(person, "update", TERM="dumb", COLUMNS="40").end()
    assert (status, "\x1b" in told) == (0, False)
    whole = "me/probe: published probe-1.0.tar.gz, probe-1.0-py3-none-any.whl"
    assert whole in told.splitlines()
    project.release("1.1")
    status, told = Terminal(person, "update", "-q").end()
    assert (status, "\x1b" in told) == (0, False)
    assert [line for line in told.splitlines() if not line.startswith("warning: ")] == []
    status, told = Terminal(person, "update", NO_COLOR="1").end()
    assert (status, HIDE_CURSOR in told, COLOUR.search(told)) == (0, True, None)
    status, told = Terminal(person, "update").end()
    assert (status, bool(COLOUR.search(told))) == (0, True)


HIDE_CURSOR, SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"
COLOUR = re.compile(r"\x1b\[[0-9;]*3[1-7][0-9;]*m")


def plain(text: str) -> str:
    """Take out what moves the cursor or colours."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


@pytest.fixture
def project(machine: Machine, port: int, tmp_path: Path) -> Project:
    """A watched project with a release whose build waits for `tmp_path / "pipe"`."""
    project = create(tmp_path, "probe")
    machine.write_text(".gitconfig", "[safe]\n  directory = *\n")
    machine.write_text(
        ".config/pypi-insiders/config.toml",
        f'[server]\nport = {port}\n[watcher]\npublic-versions = false\n[build]\nsandbox = "off"\n',
    )
    block(project, "1.0", tmp_path / "pipe")
    (tmp_path / "pipe").chmod(0o666)
    machine.run("pypi-insiders", "repos", "add", "me/probe", "--url", project.url)
    return project


def test_systemd_knows_what_an_update_does(
    machine: Machine, project: Project, tmp_path: Path
) -> None:
    """While a build is under way, and at the end; `status` and `watcher status` tell it."""
    machine.run("pypi-insiders", "watcher", "start", "--no-block")
    now = "building me/probe v1.0 (1 of 1)"
    with (tmp_path / "pipe").open("w"):  # opens when the build is there, and keeps it waiting
        machine.wait_for(
            ("systemctl", "--user", "show", "-p", "StatusText", SERVICE),
            lambda done: done.stdout == f"StatusText={now}\n",
        )
        said = f"running, an update is running: {now}, next update in "
        first = machine.run("pypi-insiders", "watcher", "status").stdout
        assert re.match(rf"watcher: running\n  since  .*\n  update       {re.escape(now)}\n", first)
        verbose = machine.run("pypi-insiders", "-v", "watcher", "status").stdout
        assert f'Status: "{now}"' in verbose
        told = machine.run("pypi-insiders", "status", check=False).stdout
        assert f"\nwatcher  {said}" in told
        told = machine.run("pypi-insiders", "status", "--json", check=False).stdout
        watcher: dict[str, Any] = json.loads(told)["watcher"]
        assert (watcher["updating"], watcher["progress"]) == (True, now)
    machine.wait_for_journal(f"Finished {SERVICE}")
    assert (
        untimed(show(machine, SERVICE, "StatusText")) == "Checked 1 repository, published 2 files"
    )
    watcher = json.loads(machine.run("pypi-insiders", "status", "--json", check=False).stdout)[
        "watcher"
    ]
    assert (watcher["updating"], watcher["progress"]) == (False, None)


def test_systemd_knows_that_an_update_was_interrupted(
    machine: Machine, project: Project, tmp_path: Path
) -> None:
    """What it did at last is not told as if it went on."""
    machine.run("pypi-insiders", "watcher", "start", "--no-block")
    with (tmp_path / "pipe").open("w"):
        machine.run("systemctl", "--user", "stop", SERVICE)
    assert show(machine, SERVICE, "StatusText") == "interrupted"
