"""Updates of many repositories, of which none has anything new."""

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from tempfile import TemporaryDirectory
from types import FrameType
from typing import NoReturn

import pytest
from fixtures import COMMAND, Person, free_port
from furnished import furnish
from projects import create
from sshhost import SshHost

from pypi_insiders.git import shared_connections
from pypi_insiders.update import run

pytestmark = pytest.mark.journey

MANY = shared_connections.FEWEST


@pytest.fixture
def runtime() -> Iterator[Path]:
    """The runtime directory; short, as a socket's path must be."""
    with TemporaryDirectory() as path:
        yield Path(path)


def test_many_repositories_of_one_host_are_checked_over_two_connections(
    person: Person, tmp_path: Path, runtime: Path
) -> None:
    """They end with the update."""
    project, host = create(tmp_path, "probe"), SshHost(tmp_path / "ssh")
    commit = project.release("1.0")
    furnish(person, [f"ssh://forge.test{project.remote}"] * MANY, commit)
    done = person.run("update", PATH=host.path, XDG_RUNTIME_DIR=str(runtime))
    assert done.stdout == f"Checked {MANY} repositories, published 0 files\n"
    assert done.stderr == ""
    assert 1 <= len(host.connections) <= 2
    assert list((runtime / "pypi-insiders").iterdir()) == []


def test_a_host_that_does_not_answer_is_not_asked_for_each_of_its_repositories(
    person: Person, tmp_path: Path
) -> None:
    """Each would wait for its timeout; those of other hosts are checked."""
    project = create(tmp_path, "probe")
    far = f"https://127.0.0.1:{free_port()}/me/probe.git"
    furnish(person, [*[far] * 40, project.url], project.release("1.0"))
    done = person.run("update", "-v")
    assert done.stdout.startswith("Checked 41 repositories, published 0 files; 40 unreachable: ")
    assert done.stdout.endswith(", me/p-19 and 20 more\n")
    in_vain = done.stderr.count("was not asked, as it has not answered for 16 other repositories")
    assert 40 - 2 * 16 < in_vain <= 40 - 16


class _SignalError(Exception):
    pass


def test_a_signal_in_another_thread_ends_the_wait_for_the_next_check() -> None:
    """As one that comes just before the main thread sleeps, it does not wake it."""
    begins, has_ended = threading.Event(), threading.Event()

    class Done(SimpleQueue[Future[bool]]):
        def get(self, block: bool = True, timeout: float | None = None) -> Future[bool]:
            begins.set()
            return super().get(block, timeout)

    done = Done()

    def end(_number: int, _frame: FrameType | None) -> NoReturn:
        raise _SignalError

    def send() -> bool:
        assert begins.wait(timeout=30)
        signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
        is_in_time = has_ended.wait(timeout=30)
        done.put(Future())
        return is_in_time

    before = signal.signal(signal.SIGUSR1, end)
    try:
        with ThreadPoolExecutor(1) as pool:
            sent = pool.submit(send)
            with pytest.raises(_SignalError):
                run._next(done)
            has_ended.set()
            assert sent.result()
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_an_update_that_is_stopped_ends_its_connections(
    person: Person, tmp_path: Path, runtime: Path
) -> None:
    """While the host answers nothing."""
    waiting, session = tmp_path / "waiting", tmp_path / "session"
    os.mkfifo(waiting)
    session.write_text(f"#!/bin/sh\necho waits >{waiting}\nexec cat >/dev/null\n")
    session.chmod(0o755)
    host = SshHost(tmp_path / "ssh", server=f"ForceCommand {session}\n")
    furnish(person, ["ssh://forge.test/probe.git"] * MANY, "0" * 40)
    environment = {**person.environment, "PATH": host.path, "XDG_RUNTIME_DIR": str(runtime)}
    # Open until the end, or a later session would wait for ever.
    with (
        subprocess.Popen((COMMAND, "update"), env=environment, stderr=subprocess.PIPE) as update,
        waiting.open() as told,
    ):
        assert told.readline() == "waits\n"
        assert list((runtime / "pypi-insiders").glob("ssh-*/*")) != []
        update.send_signal(signal.SIGTERM)
        update.communicate(timeout=50)
    assert update.returncode == 143
    assert list((runtime / "pypi-insiders").iterdir()) == []
