"""`watcher start`, `enable` and `restart` wait for the update, and report how it ended."""

import os
import re
from pathlib import Path

import pytest
from fixtures import need
from machine import Machine
from projects import Project, create
from units import port, statuses

__all__ = ["port"]

RUNNING = r"watcher: running, last update {} \d+ s ago, next update in .*\n"


@pytest.fixture
def project(machine: Machine, port: int, tmp_path: Path) -> Project:
    """A watched project without a release."""
    project = create(tmp_path, "probe")
    machine.write_text(".gitconfig", "[safe]\n  directory = *\n")
    machine.run(
        "pypi-insiders", "repos", "add", "--no-check", "me/probe:probe", "--url", project.url
    )
    return project


def block(machine: Machine, project: Project, version: str) -> Path:
    """Release a version at which an update waits until somebody opens a pipe."""
    pipe = project.tree.parent / f"pipe-{version}"
    os.mkfifo(pipe)
    pipe.chmod(0o666)
    machine.write_text(
        ".config/pypi-insiders/config.toml",
        machine.read_text(".config/pypi-insiders/config.toml") + '[build]\nsandbox = "off"\n',
    )
    project.write(version)
    project.hook(f"open({str(pipe)!r}).read()")
    project.push(f"v{version}")
    return pipe


def published(machine: Machine) -> list[str]:
    """Name the files of the index."""
    return machine.run("ls", ".local/share/pypi-insiders/dists").stdout.split()


@pytest.mark.parametrize("verb", ["start", "restart"])
def test_it_waits_and_hands_on_the_log(machine: Machine, project: Project, verb: str) -> None:
    """When it returns, the release is published."""
    project.release("1.0")
    done = machine.run("pypi-insiders", "watcher", verb)
    assert published(machine) == ["probe-1.0-py3-none-any.whl", "probe-1.0.tar.gz"]
    assert re.fullmatch(RUNNING.format("succeeded"), done.stdout)
    lines = done.stderr.splitlines()
    assert re.fullmatch(r"me/probe: building tag v1\.0 \([0-9a-f]{9}\)", lines[-4])
    assert lines[-3] == "me/probe: published probe-1.0.tar.gz, probe-1.0-py3-none-any.whl"
    assert lines[-2].startswith("me/probe: probe 1.0 in ")
    assert lines[-1].startswith("Checked 1 repository, published 2 files in ")


def test_a_failed_update_is_reported_and_the_units_stay(machine: Machine, project: Project) -> None:
    """One line, one hint, exit status 1; the timer runs and is enabled."""
    project.write("1.0")
    project.hook("raise SystemExit('flux capacitor is missing')")
    project.push("v1.0")
    failed = machine.run("pypi-insiders", "watcher", "enable", check=False)
    assert failed.returncode == 1
    assert re.fullmatch(RUNNING.format("failed"), failed.stdout)
    assert failed.stderr.endswith(
        "error: the update failed: Checked 1 repository, published 0 files; 1 failed: me/probe\n"
        "hint: run `pypi-insiders status`\n"
    )
    assert "error: me/probe: tag v1.0: Backend subprocess exited" in failed.stderr
    assert statuses(machine, "watcher") == [0]
    machine.run("systemctl", "--user", "is-enabled", "pypi-insiders-watcher.timer")
    again = machine.run("pypi-insiders", "-q", "watcher", "start", check=False)
    assert again.returncode == 1  # though it is not tried again so soon
    assert " (failed before; next try after " in again.stderr


def test_without_blocking_it_returns_at_once(machine: Machine, project: Project) -> None:
    """`--no-block` is what `systemctl` calls it."""
    pipe = block(machine, project, "1.0")
    for verb in ("start", "enable", "restart"):
        started = machine.run("pypi-insiders", "watcher", verb, "--no-block").stdout
        assert started.startswith("watcher: running, an update is running")
    assert not machine.run("ls", ".local/share/pypi-insiders/dists", check=False).stdout
    machine.run("pypi-insiders", "watcher", "stop")
    assert pipe.exists()


def test_a_second_one_joins_and_takes_what_was_added_meanwhile(
    machine: Machine, project: Project, tmp_path: Path
) -> None:
    """An update that runs is not disturbed; when it ends, what it did not know is built too."""
    pipe = block(machine, project, "1.0")
    machine.run("pypi-insiders", "watcher", "start", "--no-block")
    machine.wait_for_journal("building tag v1.0")
    other = create(tmp_path, "other")
    other.release("2.0")
    added = machine.run("pypi-insiders", "repos", "add", "me/other:other", "--url", other.url)
    assert re.search(
        r"\nnext: the watcher builds it in \d+ (s|min), or now: `pypi-insiders update me/other`\n$",
        added.stderr,
    ), added.stderr
    joined = machine.start("pypi-insiders", "watcher", "start")
    machine.run("sh", "-c", f": >{pipe}")
    assert joined.wait() == 0
    assert published(machine) == [
        "other-2.0-py3-none-any.whl", "other-2.0.tar.gz",
        "probe-1.0-py3-none-any.whl", "probe-1.0.tar.gz",
    ]  # fmt: skip


def test_ctrl_c_ends_the_waiting_and_not_the_update(machine: Machine, project: Project) -> None:
    """Which is said; the exit status is that of the signal."""
    pipe = block(machine, project, "1.0")
    waiting = machine.start("sh", "-c", "echo $$ >pid; exec pypi-insiders watcher start")
    machine.wait_for_journal("building tag v1.0")
    machine.run("sh", "-c", 'kill -INT "$(cat pid)"')
    assert waiting.wait() == 130
    assert waiting.stderr_text().endswith(
        "note: the update continues; `pypi-insiders watcher stop` stops it\n\nerror: interrupted\n"
    )
    machine.run("sh", "-c", f": >{pipe}")
    machine.wait_for_journal("Finished pypi-insiders-watcher.service")
    assert published(machine) == ["probe-1.0-py3-none-any.whl", "probe-1.0.tar.gz"]


def test_an_update_that_is_stopped_is_no_success(machine: Machine, project: Project) -> None:
    """The unit counts as successful, and nothing was published."""
    block(machine, project, "1.0")
    waiting = machine.start("pypi-insiders", "watcher", "start")
    machine.wait_for_journal("building tag v1.0")
    machine.run("pypi-insiders", "watcher", "stop")
    assert waiting.wait() == 1
    assert waiting.stderr_text().endswith(
        "error: the update was stopped before it finished\n"
        "hint: run another one: `pypi-insiders watcher start`\n"
    )


def test_on_a_terminal_the_status_line_is_shown_live(machine: Machine, project: Project) -> None:
    """The steps are those of the service's status line, and the log comes in a container too."""
    project.release("1.0")
    # The kernel has another boot ID there than journald, without whose entries the command would
    # wait some seconds for the last one.
    boot_id = machine.write_text("boot_id", "01234567-89ab-cdef-0123-456789abcdef\n")
    contained = f'mount --bind {boot_id} /proc/sys/kernel/random/boot_id && exec "$@"'
    shown = machine.run(
        *("unshare", "--user", "--map-current-user", "--keep-caps", "--mount"),
        *("sh", "-c", contained, "sh"),
        *(need("script"), "-qec", "pypi-insiders watcher start", "/dev/null"),
        env={"TERM": "xterm", "COLUMNS": "120"},
    ).stdout
    assert "building me/probe v1.0" in shown
    assert "me/probe: published probe-1.0.tar.gz" in shown
    assert "Checked 1 repository, published 2 files in " in shown
