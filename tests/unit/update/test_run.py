"""run: an update of many repositories."""

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from copy import deepcopy
from pathlib import Path
from queue import SimpleQueue
from tempfile import TemporaryDirectory
from types import FrameType, SimpleNamespace
from typing import Any, NamedTuple, NoReturn

import pytest
from fixtures import COMMAND, Person, free_port
from furnished import furnish
from projects import Project, create
from sshhost import SshHost

from pypi_insiders.config.paths import Paths
from pypi_insiders.config.settings import Settings
from pypi_insiders.git import shared_connections
from pypi_insiders.repositories import registry, state
from pypi_insiders.repositories.repository import Repository
from pypi_insiders.repositories.state import Check
from pypi_insiders.update import context as contexts
from pypi_insiders.update import run
from pypi_insiders.update.progress import Progress
from pypi_insiders.update.request import UpdateRequest

MANY = shared_connections.FEWEST


@pytest.fixture
def runtime() -> Iterator[Path]:
    """The runtime directory; short, as a socket's path must be."""
    with TemporaryDirectory() as path:
        yield Path(path)


@pytest.mark.journey
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


@pytest.mark.journey
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


def _update(
    directory: Path,
    projects: Iterable[Project],
    monkeypatch: pytest.MonkeyPatch,
    finish: Callable[[str], None] = lambda _name: None,
) -> list[dict[str, Check]]:
    """Update repositories; return the checks as they were saved, each time."""
    paths = Paths(*(directory / name for name in ("config", "data", "state", "cache")))
    items = [Repository(f"me/p-{n}", url=it.url) for n, it in enumerate(projects)]
    registry.save(paths.repositories, items)
    # No update may write there.
    paths.mirror("a/b").parent.parent.mkdir(parents=True)
    paths.mirror("me/p").parent.write_bytes(b"")
    saved, save = list[dict[str, Check]](), state.save_checks

    def record(directory: Path, checks: dict[str, Check]) -> None:
        # As they are now: the lists in them grow.
        saved.append(deepcopy(checks))
        save(directory, checks)

    monkeypatch.setattr(state, "save_checks", record)
    progress = Progress(lambda _name, _step: None, lambda _line: None)
    with contexts.opened(paths, Settings(), UpdateRequest(), progress) as context:
        run.UpdateRun(context, items).run(finish)
    assert state.load_checks(paths.state) == saved[-1]
    return saved


def test_checks_are_saved_once_if_nothing_follows_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each save writes those of all repositories, of which there may be thousands."""
    project = create(tmp_path, "probe")
    project.push("not-a-version")
    saved = _update(tmp_path, [project] * 2, monkeypatch)
    assert [sorted(checks) for checks in saved] == [["me/p-0", "me/p-1"]]


def test_checks_are_saved_before_a_build_and_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A build may take an hour, and `status` shows what is unreachable meanwhile."""
    project = create(tmp_path, "probe")
    project.release("1.0")
    before, after = _update(tmp_path, [project], monkeypatch)
    assert (before["me/p-0"].checked_at is None, before["me/p-0"].errors) == (False, [])
    assert [it.partition(" ")[0] for it in after["me/p-0"].errors] == ["cannot"]


def test_repositories_that_failed_are_checked_after_all_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their hosts may not answer again, and others would wait for that."""
    project, finished = create(tmp_path, "probe"), list[str]()
    project.push("not-a-version")
    state.save_checks(tmp_path / "state", {"me/p-0": Check(errors=["failed"])})
    monkeypatch.setattr(contexts, "CHECKS_AT_ONCE", 1)
    _update(tmp_path, [project] * 2, monkeypatch, finished.append)
    assert finished == ["me/p-1", "me/p-0"]


class _Item(NamedTuple):
    """Of a repository what decides when it is fetched."""

    is_steady: bool
    tracked: Any


_GOOD, _FAILING, _BAD = (
    _Item(is_steady, SimpleNamespace(was_well=was_well))
    for is_steady, was_well in ((True, True), (False, True), (False, False))
)


@pytest.mark.parametrize(
    ("waiting", "pending", "begin"),
    [
        ([], [("CHECK", _GOOD)], []),
        ([_GOOD, _FAILING, _BAD], [("CHECK", _GOOD)], [_GOOD]),
        ([_FAILING, _BAD], [("CHECK", _GOOD)], []),
        ([_FAILING, _BAD], [("FETCH", _FAILING)], []),
        ([_FAILING, _BAD], [("BUILD", _GOOD), ("CHECK", _BAD)], [_FAILING, _BAD]),
    ],
    ids=["none", "the steady first", "checks first", "fetches first", "then the rest"],
)
def test_repositories_that_failed_are_fetched_after_all_others(
    waiting: list[Any], pending: list[tuple[str, Any]], begin: list[Any]
) -> None:
    """They may fail again, each after its time limit."""
    stages = [(run._Stage[stage], item) for stage, item in pending]
    assert run._may_begin(waiting, stages) == begin


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
        assert begins.wait(timeout=100)
        signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
        is_in_time = has_ended.wait(timeout=100)
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


@pytest.mark.journey
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
