"""The journal: which entries are about which repository, and how grave they are."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fixtures import free_port, started, untimed
from machine import Machine
from projects import create

FAILURE = (
    "me/bad: tag v1.0: Backend subprocess exited when trying to invoke build_wheel: "
    "flux capacitor is missing"
)


@pytest.fixture(scope="module")
def machine(
    installed: Path, shared: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Machine]:
    """Two projects, one of which does not build, and what an update by the watcher logged."""
    directory = tmp_path_factory.mktemp("logs")
    good, bad = create(directory, "good"), create(directory, "bad")
    good.release("1.0")
    bad.write("1.0")
    bad.hook("print('one\\n\\n  ' + 300_000 * 'x', flush=True)\nexit('flux capacitor is missing')")
    bad.push("v1.0")
    with started(installed, shared, directory) as machine:
        machine.write_text(".gitconfig", "[safe]\n  directory = *\n")
        machine.write_text(
            ".config/pypi-insiders/config.toml",
            f"[server]\nport = {free_port()}\n[watcher]\npublic-versions = false\n",
        )
        for project in (good, bad):
            name = f"me/{project.name}"
            machine.run("pypi-insiders", "repos", "add", name, "--url", project.url)
        machine.run("pypi-insiders", "watcher", "start", "--no-block")
        machine.wait_for_journal("Failed to start pypi-insiders-watcher.service")
        yield machine


def logs(machine: Machine, *options: str, status: int = 0) -> str:
    """Read what `watcher logs` prints."""
    done = machine.run("pypi-insiders", "watcher", "logs", *options, check=False)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout if status == 0 else done.stderr


def entries(machine: Machine, *matches: str) -> list[dict[str, str]]:
    """Read entries of the journal with all their fields."""
    listed = machine.run("journalctl", "--user", "--output=json", "--all", *matches).stdout
    return [json.loads(line) for line in listed.splitlines()]


def test_the_journal_knows_of_which_repository_an_entry_is(machine: Machine) -> None:
    """Unit, name and priority are as those of its lines were; a build's output is one entry."""
    found = entries(machine, "PYPI_INSIDERS_REPOSITORY=me/bad")
    wanted = ("MESSAGE", "PRIORITY", "SYSLOG_IDENTIFIER", "_SYSTEMD_USER_UNIT", "_TRANSPORT")
    told = [tuple(entry[name] for name in wanted) for entry in found]
    where = ("pypi-insiders-watcher", "pypi-insiders-watcher.service", "journal")
    assert told[0][0].startswith("me/bad: building tag v1.0 (")
    output = told[1][0]
    assert output.startswith("me/bad: tag v1.0: output of the build:\n")
    assert f"\none\n\n  {300_000 * 'x'}\n" in output
    assert [entry[1:] for entry in told[:2]] == [("6", *where)] * 2
    assert told[2:] == [(FAILURE, "3", *where)]


def test_the_last_entry_is_the_result(machine: Machine) -> None:
    """What is printed comes after what is logged, as on a terminal."""
    last = entries(machine, "-t", "pypi-insiders-watcher")[-1]
    assert untimed(last["MESSAGE"]) == "Checked 2 repositories, published 2 files; 1 failed: me/bad"
    assert last["_TRANSPORT"] == "journal"  # the same way as the others, so none overtakes


def test_logs_of_one_repository(machine: Machine) -> None:
    """In any case of letters; options are for them as well; several lines stay readable."""
    for name in ("me/good", "ME/Good"):
        told = logs(machine, name, "--lines=all").splitlines()
        assert "me/good: building tag v1.0" in told[0]
        assert "pypi-insiders-watcher[" in told[0]
        assert [line for line in told if "me/bad" in line or "systemd" in line] == []
        assert "me/good: published good-1.0.tar.gz, good-1.0-py3-none-any.whl" in told[1]
    told = logs(machine, "me/bad").splitlines()
    begin = next(number for number, line in enumerate(told) if "output of the build:" in line)
    one = next(number for number, line in enumerate(told) if line.strip() == "one")
    assert begin < one
    assert told[one + 2].strip() == 300_000 * "x"
    last = logs(machine, "me/bad", "-n", "1").splitlines()
    assert [line.partition("]: ")[2] for line in last] == [FAILURE]


def test_only_failures(machine: Machine) -> None:
    """`-p err`, with and without a repository; names and ranges are journalctl's."""
    told = [line.partition("]: ")[2] for line in logs(machine, "-p", "err").splitlines()]
    unit = "pypi-insiders-watcher.service - Build and publish new Insiders releases"
    assert told == [FAILURE, f"Failed to start {unit}."]
    assert logs(machine, "me/bad", "-p", "err").endswith(f"]: {FAILURE}\n")
    assert logs(machine, "me/bad", "-p", "emerg..err").count("\n") == 1
    assert logs(machine, "me/good", "-p", "err") == "-- No entries --\n"
    assert logs(machine, "me/bad", "-p", "bad", status=1).count("\n") == 1


def test_logs_of_what_is_watched_no_more(machine: Machine) -> None:
    """They stay; what never was in the log is not watched, or has nothing yet."""
    before = logs(machine, "me/bad")
    machine.run("pypi-insiders", "repos", "remove", "me/bad")
    assert logs(machine, "ME/bad") == before
    assert logs(machine, "me/new", status=1) == (
        "error: me/new is not a watched repository\nhint: see `pypi-insiders repos list`\n"
    )
    assert logs(machine, "new", status=2).startswith(
        "error: 'new' is not a repository of the form NS/PROJ\n"
    )
    far = f"https://127.0.0.1:{free_port()}/me/new.git"
    machine.run("pypi-insiders", "repos", "add", "me/new", "--url", far)
    # As after an update by hand, which logs on its terminal.
    done = machine.run("pypi-insiders", "watcher", "logs", "ME/new")
    assert (done.stdout, done.stderr) == (
        "",
        "note: the watcher has logged nothing about me/new; of an update by hand see "
        "`pypi-insiders show me/new`\n",
    )


def test_logs_of_what_is_not_installed(machine: Machine) -> None:
    """An empty log is not taken for a quiet index."""
    done = machine.run("pypi-insiders", "server", "logs")
    note = "note: server: not installed; see `pypi-insiders server start`\n"
    assert (done.stdout, done.stderr) == ("-- No entries --\n", note)
    assert machine.run("pypi-insiders", "watcher", "logs").stderr == ""


def test_on_a_terminal_the_lines_are_whole(machine: Machine) -> None:
    """The pager folds them; one that cuts is what the user asks for."""
    pager = machine.write_text("pager", "#!/bin/sh\necho LESS=$LESS\ncat\n", mode=0o755)
    spawn = "import pty, sys; sys.exit(pty.spawn(sys.argv[1:]))"
    words = (sys.executable, "-c", spawn, "pypi-insiders", "watcher", "logs", "me/bad", "-n", "1")
    terminal = {
        "SYSTEMD_PAGER": str(pager),
        "SYSTEMD_PAGERSECURE": "0",
        "TERM": "xterm",
        "SYSTEMD_COLORS": "0",
    }
    for own, options in {"": "FRXMK", "S": "S"}.items():
        given = {**terminal, "SYSTEMD_LESS": own} if own else terminal
        shown = machine.run(*words, env=given).stdout.replace("\r", "").splitlines()
        assert shown[0] == f"LESS={options}"
        assert shown[1].endswith(f"]: {FAILURE}")
        assert len(shown[1].split(" pypi-insiders")[0].split()) == 3  # no name of the machine
