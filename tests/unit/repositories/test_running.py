"""Waiting for updates."""

import threading
from pathlib import Path

import pytest

from pypi_insiders.config.paths import Paths
from pypi_insiders.repositories import running
from pypi_insiders.util.files import locked


def test_whoever_waits_for_an_update_says_so(paths: Paths) -> None:
    """Once, in one line, and only if there is an update to wait for."""
    said: list[str] = []
    with running.updates_stopped(paths, said.append):
        assert said == []
    held = locked(paths.locks.updates)
    held.__enter__()

    def end_update(line: str) -> None:
        said.append(line)
        held.__exit__(None, None, None)

    with running.updates_stopped(paths, end_update):
        assert said == ["an update is running; waiting for its end"]


def test_the_list_of_pending_repositories_follows_the_update(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many that end at once are one write of the list, and its last state is written."""
    names, writes = [f"me/p-{number}" for number in range(500)], list[list[str]]()
    last = threading.Event()

    def write(path: Path, left: list[str]) -> None:
        kept(path, left)
        writes.append(left)
        if left == names[-1:]:
            last.set()

    kept = running._write
    monkeypatch.setattr(running, "_write", write)
    with running.announced(paths, names) as finish:
        assert running.pending(paths) == set(names)
        for name in names[:-1]:
            finish(name)
        assert last.wait(60)
        assert running.pending(paths) == {names[-1]}
        assert len(writes) < 100
    assert running.pending(paths) == frozenset()
