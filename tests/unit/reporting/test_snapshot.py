"""reporting.snapshot: everything as it is, and nothing left of it in memory."""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from fixtures import Person

from pypi_insiders.reporting import observation, snapshot
from pypi_insiders.reporting.directory import Files
from pypi_insiders.repositories import state
from pypi_insiders.util.errors import InsidersError

NOW = datetime.now(UTC)


@contextmanager
def _garbage() -> Iterator[list[Any]]:
    """Collect what only a garbage collection would remove."""
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    found: list[Any] = []
    try:
        yield found
        gc.collect()
        found += gc.garbage
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


def test_errors_keep_nothing_in_memory(person: Person) -> None:
    """The server takes a snapshot every few seconds, each with the names of all files."""
    paths = person.paths
    known = paths.state / "repositories/me/probe.json"
    for path in (paths.settings, paths.repositories, known):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('{"format": 99}')
    with _garbage() as found:
        seen = snapshot.take(paths, NOW, observation.by(lambda *_: None))
        kept: list[object] = [seen.settings, seen.watched]
        kept += [known for _, known in state.load_each(paths.state)]
        paths.settings.write_text("[server]\nhooks = true\n")
        kept.append(snapshot.take(paths, NOW, observation.by(lambda *_: None)).hooks)
        errors = [error for error in kept if isinstance(error, InsidersError)]
        assert len(errors) == len(kept) == 4
        assert not [error for error in errors if error.__traceback__]
        del seen, kept, errors
    assert not [item for item in found if isinstance(item, Files | InsidersError)]


def test_who_waits_for_the_files_is_not_left_waiting(person: Person) -> None:
    """A thread that waits for ever would keep the process from ending."""
    waiting: list[Callable[[], Files]] = []

    def observe(*arguments: Any) -> Callable[[], observation.Observed]:
        waiting.append(arguments[-1])
        raise RuntimeError

    with pytest.raises(RuntimeError):
        snapshot.take(person.paths, NOW, observe)
    assert waiting[0]() == Files()
    assert gc.isenabled()
