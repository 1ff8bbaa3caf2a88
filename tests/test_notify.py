"""Failures find the person: under a real user manager, by a command and by a real desktop."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import MakeMachine, Person, need
from machine import Machine
from projects import Project, create
from test_journeys import port

from pypi_insiders.errors import InsidersError
from pypi_insiders.messenger import OFF, Message, send
from pypi_insiders.troubles import Look, Trouble, compose, news
from pypi_insiders.units import SERVER, WATCHER

__all__ = ["port"]

SETTINGS = ".config/pypi-insiders/config.toml"
NEXT = "see `pypi-insiders status`\n"
DAY_S = 86400
WHY = "no such repository, or no access to it"


def told(machine: Machine) -> str:
    """Read what the person was told, once nothing is under way, and forget it."""
    jobs = ("systemctl", "--user", "list-jobs", "--no-legend", "pypi-insiders*")
    machine.wait_for(jobs, lambda done: done.stdout == "", timeout_s=60)
    return machine.run("sh", "-c", "cat told 2>/dev/null; rm -f told").stdout


def update(machine: Machine, *, status: int) -> None:
    """Run the watcher's service to its end, however often it has run within seconds."""
    machine.run("systemctl", "--user", "reset-failed", "pypi-insiders-watcher.service")
    start = ("systemctl", "--user", "start", "pypi-insiders-watcher.service")
    assert machine.run(*start, check=False).returncode == status


def runs(machine: Machine, instance: str) -> int:
    """Count how often an instance of the unit has run a process."""
    return machine.journal().count(f"Finished pypi-insiders-notify@{instance}.service")


@pytest.fixture
def told_by_command(machine: Machine, port: int) -> Machine:
    """A machine where messages are appended to the file `told`."""
    machine.write_text("tell", '#!/bin/sh\n{ echo "# $1"; cat; } >>"$HOME/told"\n', mode=0o755)
    command = f'notify-command = ["{machine.home}/tell", "{{subject}}"]\n'
    machine.write_text(SETTINGS, f"[server]\nport = {port}\n[watcher]\n{command}")
    machine.write_text(".gitconfig", "[safe]\n  directory = *\n")
    return machine


@pytest.fixture
def watcher(told_by_command: Machine) -> Machine:
    """Such a machine, whose watcher has run well once."""
    machine = told_by_command
    machine.run("pypi-insiders", "watcher", "start")
    machine.wait_for_journal("Finished pypi-insiders-watcher.service", timeout_s=60)
    assert told(machine) == ""
    return machine


def watch_gone(machine: Machine, directory: Path, name: str) -> tuple[Project, str]:
    """Watch a repository that is gone; return it, and the line that says so."""
    project = create(directory, name)
    away(project).parent.mkdir(exist_ok=True)
    project.remote.rename(away(project))
    add = ("repos", "add", "--no-check", f"me/{name}:{name}", "--url", project.url)
    machine.run("pypi-insiders", *add)
    return project, f"me/{name}: {WHY} ('{project.remote}' does not appear to be a git repository)"


def away(project: Project) -> Path:
    """Where a repository lies that is gone."""
    return project.remote.parent.parent / "away" / project.remote.name


def test_each_new_failure_is_told_once_and_so_is_its_end(watcher: Machine, tmp_path: Path) -> None:
    """However often updates fail meanwhile; what is new at once is one message."""
    one, first = watch_gone(watcher, tmp_path, "one")
    two, second = watch_gone(watcher, tmp_path, "two")
    update(watcher, status=1)
    assert told(watcher) == f"# pypi-insiders: 2 failures\n{first}\n{second}\n{NEXT}"
    update(watcher, status=1)
    assert told(watcher) == ""
    assert runs(watcher, "watcher") == 2

    three, third = watch_gone(watcher, tmp_path, "three")
    update(watcher, status=1)
    subject, *body = told(watcher).splitlines(keepends=True)
    assert body == [f"{third}\n", NEXT]
    assert subject.startswith(f"# pypi-insiders: me/three: {WHY}")

    for project in (one, two, three):
        away(project).rename(project.remote)
    update(watcher, status=0)
    assert told(watcher) == (
        f"# pypi-insiders: 3 are over\nover: {first}\nover: {second}\nover: {third}\n{NEXT}"
    )
    quiet = runs(watcher, "watcher-ok")
    for _ in range(2):
        update(watcher, status=0)
        assert told(watcher) == ""
    assert runs(watcher, "watcher-ok") == quiet  # a success costs no process


def test_a_failure_is_told_though_later_updates_succeed(watcher: Machine, tmp_path: Path) -> None:
    """A tag that does not build is not tried each time: it is not over by that."""
    project = create(tmp_path, "probe")
    (project.tree / "pyproject.toml").write_text("[project\n")
    project.push("v1.0")
    watcher.run("pypi-insiders", "repos", "add", "me/probe:probe", "--url", project.url)
    update(watcher, status=1)
    assert told(watcher).splitlines()[1].startswith("me/probe: tag v1.0: ")
    update(watcher, status=0)
    assert told(watcher) == ""
    project.release("1.1")
    (project.tree / "pyproject.toml").write_text("[project\n")
    project.push("v1.2")
    update(watcher, status=1)
    assert told(watcher).splitlines()[1].startswith("me/probe: tag v1.2: ")


def test_an_update_that_is_killed_is_told(watcher: Machine) -> None:
    """Then there is no repository to blame."""
    override = ".config/systemd/user/pypi-insiders-watcher.service.d/override.conf"
    watcher.write_text(override, "[Service]\nExecStart=\nExecStart=/bin/sh -c 'kill -KILL $$$$'\n")
    watcher.run("systemctl", "--user", "daemon-reload")
    update(watcher, status=1)
    line = "an update failed (signal); see `pypi-insiders watcher logs`"
    assert told(watcher) == f"# pypi-insiders: {line}\n{line}\n{NEXT}"
    watcher.run("rm", override)
    watcher.run("systemctl", "--user", "daemon-reload")
    update(watcher, status=0)
    assert told(watcher) == f"# pypi-insiders: over: {line}\nover: {line}\n{NEXT}"


def test_an_index_that_cannot_start_is_told_once_and_so_is_that_it_runs(
    told_by_command: Machine,
) -> None:
    """It is started again and again; the command is known though config.toml is broken."""
    machine, service = told_by_command, "pypi-insiders-server.service"
    machine.run("pypi-insiders", "server", "start")
    assert told(machine) == ""
    settings = machine.read_text(SETTINGS)
    machine.write_text(SETTINGS, settings + "[server\n")
    machine.run("systemctl", "--user", "kill", "--signal=KILL", service)
    shown = ("systemctl", "--user", "show", "--property=NRestarts", "--value", service)
    machine.wait_for(shown, lambda done: int(done.stdout) > 3, timeout_s=60)
    text = machine.run("cat", "told").stdout
    line = text.splitlines()[1]
    assert text.splitlines(keepends=True)[1:] == [f"{line}\n", NEXT]  # of the subject the begin
    assert text.startswith(f"# pypi-insiders: {line[:80]}")
    assert line.startswith(f"the index does not run: {machine.home}/{SETTINGS} is not valid TOML: ")
    assert runs(machine, "server") == 1

    machine.run("rm", "told")
    machine.write_text(SETTINGS, settings)
    machine.wait_for(("cat", "told"), lambda done: NEXT in done.stdout, timeout_s=60)
    assert told(machine).splitlines(keepends=True)[1:] == [f"over: {line}\n", NEXT]
    machine.run("systemctl", "--user", "restart", service)
    assert told(machine) == ""
    assert runs(machine, "server-ok") == 2  # the first start of all, and this one


def test_a_failed_command_is_tried_again_after_the_next_update(
    watcher: Machine, tmp_path: Path
) -> None:
    """And its unit fails with what it said."""
    tell = watcher.read_text("tell")
    watcher.write_text("tell", "#!/bin/sh\necho no route to host >&2\nexit 75\n")
    _, line = watch_gone(watcher, tmp_path, "one")
    update(watcher, status=1)
    assert told(watcher) == ""
    assert watcher.wait_for_journal("^error: ", "-t", "pypi-insiders-notify", "-p", "err") == (
        f"error: {watcher.home}/tell '{{subject}}' ended with 75: no route to host"
    )
    watcher.write_text("tell", tell)
    update(watcher, status=1)
    assert told(watcher).splitlines()[1] == line


@pytest.fixture
def desktop(make_machine: MakeMachine) -> None:
    """What a desktop is made of."""
    for program in ("Xvfb", "dunst", "notify-send"):
        need(program)
    del make_machine


def test_a_desktop_shows_it_and_without_one_the_log_says_it(
    machine: Machine, desktop: None, tmp_path: Path
) -> None:
    """By `notify-send`; what nobody could be told before is told as soon as somebody can."""
    del desktop
    machine.write_text(".gitconfig", "[safe]\n  directory = *\n")
    machine.run("pypi-insiders", "watcher", "start")
    machine.wait_for_journal("Finished pypi-insiders-watcher.service", timeout_s=60)
    _, line = watch_gone(machine, tmp_path / "a<b>&", "one")
    update(machine, status=1)
    machine.wait_for_journal("^nobody could be told: there is no desktop now")
    assert machine.wait_for_journal("^me/", "-t", "pypi-insiders-notify") == line

    display = next(machine.start("Xvfb", "-displayfd", "1", "-nolisten", "tcp").lines(lambda: 20))
    dunst = machine.start("dunst", "-print", env={"DISPLAY": f":{display}"})
    owner = ("busctl", "--user", "status", "org.freedesktop.Notifications")
    machine.wait_for(owner, lambda done: done.returncode == 0)
    update(machine, status=1)
    machine.wait_for_journal("^told by notify-send: ", "-t", "pypi-insiders-notify")
    machine.wait_for(("true",), lambda done: "}" in dunst.stdout_text())
    shown = dunst.stdout_text()
    assert "appname: 'pypi-insiders'" in shown
    assert "/a&lt;b&gt;&amp;/" in shown
