"""reporting.snapshot: everything as it is, and nothing left of it in memory."""

import contextlib
import gc
import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from auditing import audited
from fixtures import Person
from wheels import wheel

from pypi_insiders.index.catalog import Catalog
from pypi_insiders.index.metadata_cache import Entry, Identity, MetadataCache, Origin
from pypi_insiders.reporting import observation, snapshot
from pypi_insiders.reporting.directory import Files
from pypi_insiders.repositories import held_names, registry, state
from pypi_insiders.repositories.repository import Repository
from pypi_insiders.repositories.state import Build, RepositoryState
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import sha256

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


def test_a_lost_state_is_restored_from_the_records(person: Person) -> None:
    """As the next update does, though another repository has the same files in its state."""
    paths, name = person.paths, "probe-1.0.tar.gz"
    paths.distributions.mkdir(parents=True)
    (paths.distributions / name).write_bytes(b"content")
    identity = Identity.of((paths.distributions / name).stat())
    entry = Entry(
        name,
        identity,
        "probe",
        "1.0",
        sha256(paths.distributions / name),
        origin=Origin("Me/Probe", "v1.0", "1"),
    )
    with contextlib.closing(MetadataCache(paths.record, paths.distributions)) as record:
        record.put(entry, None)
    build = Build("v1.0", "1", "1.0", 1, {name: sha256(paths.distributions / name)})
    state.save(paths.state, "me/other", RepositoryState("probe", [build]))
    state.save(paths.state, "me/probe", RepositoryState(lower=["v0.1"]))
    registry.save(paths.repositories, [Repository("me/probe")])
    (standing,) = snapshot.take(paths, NOW).standings
    assert (standing.project, standing.newest and standing.newest.tag) == ("probe", "v1.0")


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


def test_each_file_is_read_once(person: Person) -> None:
    """With a thousand repositories and fifty thousand files that is most of the time."""
    paths = person.paths
    paths.config.mkdir(parents=True)
    watched = [Repository(f"me/{project}", project) for project in ("probe", "other")]
    registry.save(paths.repositories, watched)
    for item in watched:
        path = wheel(paths.distributions, str(item.project), "1.0")
        build = Build("v1.0", "c0ffee", "1.0", 1, {path.name: sha256(path)})
        state.save(paths.state, item.name, RepositoryState(item.project, [build], item.remote))
    held_names.sync(paths)
    with contextlib.closing(MetadataCache(paths.record, paths.distributions)) as cache:
        assert Catalog(paths.distributions, cache).project("probe")
    opened = Counter[str]()

    def note(event: str, details: tuple[Any, ...]) -> None:
        if event in ("open", "sqlite3.connect") and str(person.home) in str(details[0]):
            opened[str(details[0])] += 1

    with audited(note):
        seen = snapshot.take(paths, NOW)
    assert [item.project for item in seen.standings] == ["probe", "other"]
    # Of the file that is in no record, its content.
    assert str(paths.distributions / "other-1.0-py3-none-any.whl") in opened
    assert len(opened) > 5
    assert {path for path, times in opened.items() if times > 1} == set()


def test_what_a_repository_has_published_is_looked_at_when_it_is_no_longer_watched(
    person: Person,
) -> None:
    """Its files stay in the index; one of them is missing."""
    build = Build("v1.0", "c0ffee", "1.0", 1, {"former-1.0.tar.gz": "0" * 64})
    state.save(person.paths.state, "me/former", RepositoryState("former", [build]))
    seen = snapshot.take(person.paths, datetime.now(UTC))
    assert [(it.repository, it.file) for it in seen.differences] == [
        ("me/former", "former-1.0.tar.gz")
    ]


@pytest.mark.parametrize(
    ("flags", "hint"),
    [(os.ST_RDONLY, "that file system is mounted read-only"), (0, "`chmod u+rwx {}`")],
)
def test_no_mode_helps_where_the_file_system_is_read_only(
    flags: int, hint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_flag=flags))
    assert snapshot._closed(tmp_path) == {tmp_path: hint.format(tmp_path)}
