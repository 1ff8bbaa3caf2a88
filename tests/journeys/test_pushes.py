"""Requests of updates under a real user manager: none is lost."""

from pathlib import Path

import pytest
from machine import Machine
from projects import create
from units import port, show

__all__ = ["port"]

pytestmark = pytest.mark.journey

# systemd calls files of such names backups, and overlooks them in a directory.
NAME = r"me-my\x2dprobe.old"
ONE = f"pypi-insiders-watcher@{NAME}"
CONFIG = ".config/pypi-insiders/config.toml"


def test_no_push_is_lost(machine: Machine, tmp_path: Path, port: int) -> None:
    """Whatever the repository is called, and whichever unit was stopped meanwhile."""
    machine.write_text(CONFIG, f"[server]\nport = {port}\nhooks = true\n")
    machine.write_text(".gitconfig", "[safe]\n  directory = *\n")
    many = [f"me/many{number}" for number in range(5)]
    # All of the same repository, which has no tags.
    url = create(tmp_path, "empty").url
    watched = (f'["{name}"]\nurl = "{url}"\n' for name in ("me/my-probe.old", *many))
    machine.write_text(".config/pypi-insiders/repos.toml", "".join(watched))
    machine.run("pypi-insiders", "server", "hook")
    machine.run("pypi-insiders", "server", "start")
    runtime = f"/run/user/{machine.run('id', '-u').stdout.strip()}/pypi-insiders"

    def push(name: str = NAME, directory: str = "hooks") -> None:
        # As the server does, whose part has tests of its own.
        machine.run("mkdir", "-p", f"{runtime}/{directory}")
        machine.run("touch", f"{runtime}/{directory}/{name}")

    def wait_for_updates(number: int) -> None:
        log = ("journalctl", "--user", "--quiet", "--output=cat", f"--unit={ONE}.service")
        machine.wait_for(log, lambda done: done.stdout.count("Finished ") == number)

    push()
    wait_for_updates(1)
    # While an update of it waits, the server stops.
    other = machine.start("flock", ".local/state/pypi-insiders/update.lock", "sleep", "31461")
    machine.wait_for_process("sleep 31461")
    push()
    machine.wait_for_journal("an update is running; waiting for its end")
    push()
    machine.wait_for(["ls", f"{runtime}/pushed"], lambda done: done.stdout == f"{NAME}\n")
    # Of many, few wait as processes.
    for name in many:
        push(name.replace("/", "-"))
    begun = ("systemctl", "--user", "list-units", "--plain", "--no-legend", "--state=activating")
    waiting = (*begun, "pypi-insiders-watcher@*.service")
    machine.wait_for(waiting, lambda done: len(done.stdout.splitlines()) == 4)
    left = machine.run("ls", f"{runtime}/hooks").stdout.split()
    assert left == ["me-many3", "me-many4"]
    machine.run("pypi-insiders", "server", "stop")
    other.stop()
    wait_for_updates(3)
    machine.run("pypi-insiders", "server", "start")
    for directory in ("hooks", "pushed"):
        machine.wait_for(["ls", f"{runtime}/{directory}"], lambda done: done.stdout == "")
    # What moves the requests was killed before it has started a path unit, and is stopped in its
    # pause.
    machine.run("systemctl", "--user", "stop", f"{ONE}.path")
    longer = "[Service]\nExecStartPost=\nExecStartPost=sleep 31462\nTimeoutStartSec=infinity\n"
    machine.write_text(".config/systemd/user/pypi-insiders-hooks.service.d/longer.conf", longer)
    machine.run("systemctl", "--user", "daemon-reload")
    push(directory="pushed")
    push("me-other")
    machine.wait_for(
        ["systemctl", "--user", "show", "-P", "SubState", "pypi-insiders-hooks.service"],
        lambda done: done.stdout == "start-post\n",
    )
    machine.run("systemctl", "--user", "stop", "pypi-insiders-hooks.service")
    assert show(machine, "pypi-insiders-hooks.service", "Result") == "success"
    wait_for_updates(4)
