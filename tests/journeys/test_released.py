"""What runs on a new release: in a unit of its own, or after the update where there is none."""

import json
import signal
import subprocess
import sys
from pathlib import Path

from fixtures import Person, Watch, names
from machine import Machine
from projects import create
from units import MAIL, UNIT_DIRECTORY, port, settled, show, start_anew

__all__ = ["port"]

_CONFIG = ".config/pypi-insiders/config.toml"


def _killed(person: Person, event: str, name: str) -> None:
    """Run an update that is killed when it is about to give a file its name."""
    code = f"""
import os, signal, sys
def watch(event, arguments):
    if event == "{event}" and str(arguments[1]).endswith("/{name}"):
        os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(watch)
from pypi_insiders.__main__ import main
sys.argv = ["pypi-insiders", "update"]
main()
"""
    done = subprocess.run(
        [sys.executable, "-c", code], env=person.environment, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr


def test_a_command_runs_once_for_what_an_update_publishes(person: Person, watch: Watch) -> None:
    """Without a user manager after the update, which neither fails with it nor loses a release."""
    project = watch("probe")
    project.release("1.0")
    person.run("update")
    ran = person.home / "ran"
    ran.touch()
    script = 'echo said; echo "$PYPI_INSIDERS_VERSION" >>~/ran; [ "$PYPI_INSIDERS_TAG" != v1.2 ]'
    person.paths.settings.write_text(
        f"[watcher]\nrelease-command = {json.dumps(['sh', '-c', script])}\n"
    )
    # Neither what was there before, nor what is restored or recovered.
    person.run("update")
    for file in person.paths.distributions.glob("probe-1.0*"):
        file.unlink()
    person.run("update")
    (person.paths.state / "repositories/me/probe.json").unlink()
    person.run("update")
    assert ran.read_text() == ""
    person.run("repos", "set", "me/probe", "sdist=false")
    for version in ("1.1", "1.2"):
        project.release(version)
    done = person.run("update", "--json")
    assert len(json.loads(done.stdout)["repositories"][0]["published"]) == 2
    assert ran.read_text().split() == ["1.1", "1.2"]
    assert (
        "error: probe 1.2: release-command failed: exit status 1; the next update runs it once more"
    ) in done.stderr.splitlines()
    person.run("update")
    # Built again, as nothing is known of these files any more; but they are no new ones.
    (person.paths.state / "repositories/me/probe.json").unlink()
    person.paths.record.unlink()
    assert "building tag v1.2" in person.run("update").stderr
    # A further file of a release is no new release.
    person.run("repos", "set", "me/probe", "sdist=")
    person.run("update", "--tag", "v1.2", "--force", "me/probe")
    assert names("probe-1.2")[1] in person.distributions()
    assert ran.read_text().split() == ["1.1", "1.2", "1.2"]
    warning = "me/probe: release-command failed for probe 1.2: exit status 1; it is not run again"
    assert warning in person.run("status", status=3).stdout
    # Killed when the release is recorded, and the command not started; or while it is published.
    kills = (("os.rename", "2.0.json"), ("os.link", names("probe-3.0")[0]))
    for number, (event, name) in enumerate(kills, 2):
        project.release(f"{number}.0")
        _killed(person, event, name)
        assert ran.read_text().split()[3:] == ["2.0", "3.0"][: number - 2]
        person.run("update")
        assert ran.read_text().split()[3:] == ["2.0", "3.0"][: number - 1]
    person.run("update")
    assert ran.read_text().split()[3:] == ["2.0", "3.0"]
    assert "release-command" not in person.run("status", status=3).stdout


# It writes down what it finds, and then waits until somebody opens a pipe.
_RECORD = """#!/usr/bin/env python3
import json, os
with open("/proc/self/status") as status, open("/proc/self/cgroup") as cgroup:
    confined = "NoNewPrivs:\\t1" in status.read()
    unit = cgroup.read().strip().rpartition("/")[2]
found = {name[14:]: value for name, value in os.environ.items() if name[:14] == "PYPI_INSIDERS_"}
with open(os.path.expanduser("~/record"), "a") as file:
    print(json.dumps([unit, confined, found]), file=file)
open(os.path.expanduser("~/gate")).read()
"""


def test_the_command_runs_in_a_unit_of_its_own(machine: Machine, port: int, tmp_path: Path) -> None:
    """With the person's permissions; the update goes on. A drop-in replaces it for one project."""
    machine.write_text("mail.py", MAIL, mode=0o755)
    machine.write_text("record.py", _RECORD, mode=0o755)
    machine.run("mkfifo", "gate")
    machine.write_text(
        _CONFIG,
        f'[build]\nsandbox = "off"\n[server]\nport = {port}\n'
        "[watcher]\npublic-versions = false\nnotify-releases = true\n"
        f'release-command = ["{machine.home}/record.py"]\n'
        f'notify-command = ["{machine.home}/mail.py", "{{subject}}"]\n',
    )
    machine.write_text(".gitconfig", "[safe]\n  directory = *\n")
    program = machine.run("sh", "-c", "command -v pypi-insiders").stdout.strip()
    machine.write_text(
        f"{UNIT_DIRECTORY}/pypi-insiders-released@other.service.d/override.conf",
        "[Service]\nExecStart=\n"
        f"ExecStart={program} released %I -- sh -c 'echo $$PYPI_INSIDERS_TAG >>%h/own; exit 3'\n",
    )
    mine, other = create(tmp_path, "my-probe"), create(tmp_path, "other")
    machine.run("pypi-insiders", "repos", "add", "me/my-probe:my-probe", "--url", mine.url)
    commit = mine.release("1.0")
    machine.run("pypi-insiders", "watcher", "start")
    unit = "pypi-insiders-released@my\\x2dprobe.service"
    # It waits for the pipe, and the update does not wait for it.
    machine.wait_for(("cat", "record"), lambda done: bool(done.stdout))
    machine.wait_for_journal("Checked 1 repository", "-t", "pypi-insiders-watcher")
    assert show(machine, unit, "ActiveState") == "activating"
    ((name, is_confined, found),) = map(json.loads, machine.read_text("record").splitlines())
    files = found.pop("FILES").splitlines()
    assert (name, is_confined, found) == (unit, False, {
        "PROJECT": "my-probe", "VERSION": "1.0", "TAG": "v1.0", "COMMIT": commit,
        "REPOSITORY": "me/my-probe",
    })  # fmt: skip
    assert [Path(file).parent for file in files] == [
        machine.home / ".local/share/pypi-insiders/dists"
    ] * 2
    machine.run("ls", *files)
    machine.run("sh", "-c", ": >gate")
    (mail,) = map(json.loads, machine.read_text("mail").splitlines())
    assert mail == [
        ["pypi-insiders: new release: my-probe 1.0"],
        "my-probe 1.0 was published (me/my-probe, tag v1.0).\n",
    ]
    other.release("1.0")
    machine.run("pypi-insiders", "repos", "add", "me/other:other", "--url", other.url)
    for number in (1, 2, 3):
        start_anew(machine, "pypi-insiders-watcher.service")
        settled(machine)
        assert machine.read_text("own") == "v1.0\n" * min(number, 2)
    status = machine.run("pypi-insiders", "status", "--json", check=False)
    (warning,) = (
        item for item in json.loads(status.stdout)["warnings"] if item["subject"] == "me/other"
    )
    assert warning["text"] == (
        "release-command failed for other 1.0: exit status 3; it is not run again"
    )
    machine.run("pypi-insiders", "released", "--retry", "other", "true")
    assert "release-command" not in machine.run("pypi-insiders", "status", check=False).stdout
    # Not in the watcher, which is confined, where an upgrade has not installed the unit yet.
    machine.run("rm", f"{UNIT_DIRECTORY}/pypi-insiders-released@.service")
    machine.run("systemctl", "--user", "daemon-reload")
    other.release("1.1")
    machine.run("systemctl", "--user", "start", "pypi-insiders-watcher.service")
    machine.wait_for_journal(
        "release-command was not started: pypi-insiders-released@.service is not installed"
    )
    assert machine.read_text("own") == "v1.0\n" * 2
    # A quick machine is here with the sixth start within ten seconds.
    machine.run("systemctl", "--user", "reset-failed", "pypi-insiders-watcher.service")
    machine.run("pypi-insiders", "watcher", "restart")
    machine.wait_for(("cat", "own"), lambda done: done.stdout.endswith("v1.1\n"))
    assert len(machine.read_text("record").splitlines()) == 1
