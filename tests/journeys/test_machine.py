"""The harness keeps its promises: its user manager is a real one and leaves nothing behind."""

import os
import re
import select
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from fixtures import ROOT
from machine import Machine, Unavailable

USER_MANAGER = ROOT / "tests/support/user-manager"
FOREVER = ("tail", "-f", "/dev/null")


@contextmanager
def started(
    expose: Sequence[Path] = (),
    *,
    private_network: bool = False,
    ipv6: bool = True,
    env: Mapping[str, str] | None = None,
) -> Iterator[Machine]:
    """Start a machine; where none can be had, skip on a person's computer and fail in CI."""
    with ExitStack() as stack:
        try:
            machine = stack.enter_context(
                Machine(expose, private_network=private_network, ipv6=ipv6, env=env)
            )
        except Unavailable as error:
            if "CI" in os.environ:
                pytest.fail(str(error))
            pytest.skip(str(error))
        yield machine


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    with started() as machine:
        yield machine


def say(machine: Machine, unit: str, word: str, *options: str) -> None:
    """Start a unit that prints a word and stays: the last words of a process may miss its unit."""
    program = f"echo {word}; exec {' '.join(FOREVER)}"
    machine.run("systemd-run", "--user", f"--unit={unit}", *options, "sh", "-c", program)


def processes_with(marker: str) -> list[str]:
    """Return the command lines of all processes that have `MARKER=marker` in their environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"MARKER={marker}".encode() in (process / "environ").read_bytes().split(b"\0"):
                found.append((process / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue  # another user's, or gone meanwhile
    return found


def cgroup_of(pid: int) -> Path:
    """Return the directory of a process's cgroup. Source: proc_pid_mountinfo(5), cgroups(7)."""
    path = re.search(r"^0::(.*)$", Path(f"/proc/{pid}/cgroup").read_text(), re.MULTILINE)
    mount = re.search(
        r"^\S+ \S+ \S+ (\S+) (\S+) .* - cgroup2 ",
        Path("/proc/self/mountinfo").read_text(),
        re.MULTILINE,
    )
    assert path
    assert mount
    root, mountpoint = mount.groups()
    return Path(mountpoint) / os.path.relpath(path.group(1), root)


def wait_until(cgroup: Path, events: int, *, removed: bool) -> None:
    """Wait until a cgroup is empty, or removed; `events` is its open cgroup.events.

    Does not complain if that takes too long: the test looks itself.
    """
    poller = select.poll()
    poller.register(events, select.POLLPRI)
    deadline = time.monotonic() + 60
    while cgroup.exists() and time.monotonic() < deadline:
        try:
            if b"populated 0" in os.pread(events, 100, 0) and not removed:
                return
        except OSError:
            return  # removed
        poller.poll(20)  # a change tells itself; a removal does not, on some kernels


def test_manager_is_a_real_one_of_the_installed_version(machine: Machine) -> None:
    assert machine.run("systemctl", "--user", "is-system-running", check=False).stdout in {
        "running\n",
        "degraded\n",
    }
    version = machine.run(
        "systemctl", "--user", "show", "--property=Version", "--value"
    ).stdout.strip()
    assert f"({version})" in machine.run("systemctl", "--version").stdout


def test_output_of_a_unit_is_found_under_the_unit(machine: Machine) -> None:
    say(machine, "speaks", "hello")
    assert machine.wait_for_journal("^hello$", "-u", "speaks.service") == "hello"
    say(machine, "other", "good-bye")
    assert machine.wait_for_journal("^good-bye$", "-u", "other.service") == "good-bye"
    assert "good-bye" not in machine.journal("-u", "speaks.service")


def test_timer_fires(machine: Machine) -> None:
    say(machine, "ticks", "fired", "--on-active=1ms", "--timer-property=AccuracySec=1ms")
    assert machine.wait_for_journal("^fired$", "-u", "ticks.service") == "fired"


def test_sandbox_of_a_unit_hides_the_home(machine: Machine) -> None:
    secret = machine.write_text("below/secret", "for me only\n", mode=0o600)
    unit = ("systemd-run", "--user", "--wait", "--collect", "--pipe", "--quiet")
    hidden = ("--property=PrivateUsers=yes", "--property=ProtectHome=tmpfs")
    look = ("sh", "-c", f"cat {secret} || echo hidden")
    assert machine.run(*unit, *look).stdout == "for me only\n"
    assert machine.run(*unit, *hidden, *look).stdout == "hidden\n"


def test_home_is_fresh_and_git_is_a_second_name_of_its_user(machine: Machine) -> None:
    uid, gid = machine.run("id", "-u").stdout.strip(), machine.run("id", "-g").stdout.strip()
    with started() as fresh:
        assert fresh.run("ls", "-A").stdout == ""
        assert fresh.run("id", "-un").stdout == "insider\n"
        assert (
            fresh.run("getent", "passwd", "git").stdout
            == f"git:x:{uid}:{gid}::{fresh.home}:/bin/sh\n"
        )


def test_streams_and_exit_status_are_kept(machine: Machine) -> None:
    script = "cat; echo to stderr >&2; exit 7"
    done = subprocess.run(
        [USER_MANAGER, "sh", "-c", script],
        input="to stdout\n",
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (7, "to stdout\n", "to stderr\n")


def test_nothing_is_left_after_the_end(machine: Machine) -> None:
    marker = uuid.uuid4().hex
    with ExitStack() as stack:
        with started(env={"MARKER": marker}) as other:
            other.run("systemd-run", "--user", "--property=Type=exec", *FOREVER)
            other.start(*FOREVER)
            cgroup = cgroup_of(other.pid)
            events = stack.enter_context((cgroup / "cgroup.events").open("rb")).fileno()
            assert sum("tail -f" in line for line in processes_with(marker)) == 2
        assert processes_with(marker) == []
        if os.geteuid() != 0:
            wait_until(cgroup, events, removed=True)  # in a session this is its manager's work
    assert not cgroup.exists()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_by_a_killed_run_once_the_next_has_started(
    machine: Machine, how: signal.Signals
) -> None:
    marker = uuid.uuid4().hex
    script = f"systemd-run --user --quiet {' '.join(FOREVER)}; echo up; exec {' '.join(FOREVER)}"
    environment = os.environ | {"MARKER": marker}
    with subprocess.Popen(
        [USER_MANAGER, "sh", "-c", script], env=environment, stdout=subprocess.PIPE
    ) as run:
        assert run.stdout
        assert run.stdout.readline() == b"up\n"
        cgroup = cgroup_of(run.pid)
        assert cgroup != cgroup_of(os.getpid())
        with (cgroup / "cgroup.events").open("rb") as events:
            run.send_signal(how)
            assert run.wait(60) == (-how if how == signal.SIGKILL else 128 + how)
            wait_until(cgroup, events.fileno(), removed=False)
            assert processes_with(marker) == []
            subprocess.run([USER_MANAGER, "true"], check=True)
            if os.geteuid() != 0:
                wait_until(cgroup, events.fileno(), removed=True)
    assert not cgroup.exists()


def test_machines_do_not_see_each_other(machine: Machine) -> None:
    with started() as other:
        for each, word in ((machine, "mine"), (other, "theirs")):
            say(each, "same", word)
            assert each.wait_for_journal("^(mine|theirs)$", "-u", "same.service") == word


def test_exposed_directories_are_readable_below_closed_ones(tmp_path: Path) -> None:
    first, second = tmp_path / "closed" / "first", tmp_path / "closed" / "second"
    nested, link = first / "closed too" / "nested", tmp_path / "link"
    for directory in (first, second, nested):
        directory.mkdir(parents=True)
        (directory / "file").write_text(directory.name)
    link.symlink_to(second)
    for closed in (tmp_path, first.parent, nested.parent):
        closed.chmod(0o700)
    with started(expose=[nested, first, link]) as machine:
        read = machine.run(
            "cat", first / "file", nested / "file", second / "file", link / "file"
        ).stdout
    assert read == "firstnestedsecondsecond"


@pytest.mark.parametrize(("ipv6", "outcome"), [(True, "bound"), (False, "refused")])
def test_private_network_has_ipv6_only_if_wanted(ipv6: bool, outcome: str) -> None:
    script = """
import socket
socket.socket(socket.AF_INET).bind(("127.0.0.1", 80 + 1000))
try:
    socket.socket(socket.AF_INET6).bind(("::1", 80 + 1000))
except OSError:
    print("refused")
else:
    print("bound")
try:
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect(("192.0.2.1", 9))
except OSError as error:
    print(error.strerror)
"""
    with started(private_network=True, ipv6=ipv6) as machine:
        assert machine.run(sys.executable, "-c", script).stdout.splitlines() == [
            outcome,
            "Network is unreachable",
        ]


def test_commands_run_at_the_same_time(machine: Machine) -> None:
    """Each of two commands waits for the other: one after the other they would never end."""
    machine.run("mkfifo", "one", "two")
    ping = ("sh", "-c", "echo ping >one; cat two")
    pong = ("sh", "-c", "cat one; echo pong >two")
    with ThreadPoolExecutor() as pool:
        results = [pool.submit(machine.run, *command) for command in (ping, pong)]
        assert [result.result().stdout for result in results] == ["pong\n", "ping\n"]


def test_failed_command_shows_everything(machine: Machine) -> None:
    with pytest.raises(AssertionError) as failure:
        machine.run(
            "sh",
            "-c",
            "cat; pwd; echo $WORD >&2; exit 3",
            env={"WORD": "why"},
            cwd="/usr",
            input="in\n",
        )
    assert str(failure.value) == (
        "sh -c 'cat; pwd; echo $WORD >&2; exit 3' ended with 3\n"
        "--- stdout\nin\n/usr\n\n--- stderr\nwhy\n"
    )


def test_slow_command_is_ended_with_its_children(machine: Machine) -> None:
    marker = uuid.uuid4().hex
    with pytest.raises(TimeoutError, match=r"not done after 1 s: .*\n--- stdout\nbegun\n"):
        machine.run(
            "sh", "-c", "echo begun; tail -f /dev/null", env={"MARKER": marker}, timeout_s=1
        )
    assert processes_with(marker) == []


def test_background_command_is_followed_and_stopped(machine: Machine) -> None:
    background = machine.start("sh", "-c", "echo up; echo down >&2; exec tail -f /dev/null")
    assert next(background.lines()) == "up"
    machine.wait_for(("true",), lambda done: background.stderr_text() != "")
    assert (background.stdout_text(), background.stderr_text()) == ("up\n", "down\n")
    with pytest.raises(TimeoutError, match=r"not done after 0 s: .*\n--- stdout\nup\n"):
        background.wait(timeout_s=0)
    assert background.stop() == -signal.SIGTERM
    assert machine.start("sh", "-c", "exit 4").wait() == 4


def test_waiting_for_a_unit_ends_with_its_state(machine: Machine) -> None:
    machine.run("mkfifo", "gate")
    gate = machine.home / "gate"
    machine.run("systemd-run", "--user", "--unit=gated", "--remain-after-exit", "cat", gate)
    show = ("systemctl", "--user", "show", "--property=SubState", "--value", "gated.service")
    assert machine.run(*show).stdout == "running\n"
    machine.run("sh", "-c", "echo open >gate")
    assert machine.wait_for(show, lambda done: done.stdout != "running\n").stdout == "exited\n"


def test_waiting_in_vain_shows_what_was_seen(machine: Machine) -> None:
    say(machine, "says", "something else")
    machine.wait_for_journal("^something else$", "-u", "says.service")
    expected = r"no line like 'wanted' in journalctl .*(?s:.*)\nsomething else"
    with pytest.raises(TimeoutError, match=expected):
        machine.wait_for_journal("wanted", "-u", "says.service", timeout_s=2)


def test_missing_program_is_named() -> None:
    with pytest.raises(Unavailable) as failure, Machine(env={"PATH": "/nonexistent"}):
        pass
    assert str(failure.value) == "user-manager: needs the program awk"


def test_missing_session_is_named() -> None:
    """Run the script's text: the unprivileged user that root becomes may not see the file."""
    other_user = 31411 if os.geteuid() == 0 else None
    done = subprocess.run(
        ["bash", "-c", USER_MANAGER.read_text(), "user-manager", "true"],
        env={"PATH": os.environ["PATH"]},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
        user=other_user,
        group=other_user,
        extra_groups=[] if other_user else None,
    )
    reason = "XDG_RUNTIME_DIR is not set: without root this needs a login session"
    assert (done.returncode, done.stdout, done.stderr) == (77, "", f"user-manager: {reason}\n")


def test_missing_directory_is_named(machine: Machine) -> None:
    with pytest.raises(RuntimeError) as failure, Machine(expose=[Path("/nonexistent")]):
        pass
    assert str(failure.value) == (
        "user-manager ended with 78:\nuser-manager: EXPOSE: /nonexistent is not a directory\n"
    )
