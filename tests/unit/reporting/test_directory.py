"""reporting.directory: which files of the index are as recorded, without reading them."""

import contextlib
import hashlib
import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
from fixtures import Person

from pypi_insiders.index.metadata_cache import Entry, Identity, MetadataCache, Origin
from pypi_insiders.reporting import snapshot
from pypi_insiders.reporting.directory import Survey, survey
from pypi_insiders.reporting.judgement import judge
from pypi_insiders.repositories import state
from pypi_insiders.repositories.state import Build, RepositoryState
from pypi_insiders.util.files import list_names

STATED, UPLOADED, BUILT = (f"{name}-1.0.tar.gz" for name in ("stated", "uploaded", "built"))
ORIGIN = Origin("Me/Probe", "v1.0", "0" * 40)


def _sha256(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def _record(person: Person, name: str, origin: Origin | None = None) -> Path:
    """Write a file and its entry."""
    path = person.paths.distributions / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"content")
    identity, project = Identity.of(path.stat()), name.partition("-")[0]
    _put(person, Entry(name, identity, project, "1.0", _sha256(name), origin=origin))
    return path


def _put(person: Person, entry: Entry) -> None:
    paths = person.paths
    with contextlib.closing(MetadataCache(paths.record, paths.distributions)) as record:
        record.put(entry, None)


def _survey(person: Person, *stated: str) -> Survey:
    names = list_names(person.paths.distributions)
    return survey(person.paths, names, {name: _sha256(name) for name in stated}, {"me/probe"})


def test_what_is_as_recorded_needs_no_entry(person: Person) -> None:
    """Neither of a file in a state nor of an upload; but of a file that no state has."""
    for name, origin in {STATED: ORIGIN, UPLOADED: None, BUILT: ORIGIN}.items():
        _record(person, name, origin)
    found = _survey(person, STATED)
    assert found.unchanged == {name: _sha256(name) for name in (STATED, BUILT)}
    assert found.entries.keys() == {BUILT}
    assert found.published == {"stated", "uploaded", "built"}
    assert found.files.projects == {name: (f"{name}-1.0.tar.gz",) for name in found.published}
    assert set(found.files.sizes.values()) == {len(b"content")}


def test_the_files_of_a_lost_state_have_their_entries(person: Person) -> None:
    """They restore it."""
    _record(person, STATED, ORIGIN._replace(repository="me/lost"))
    assert _survey(person, STATED).entries.keys() == {STATED}


def test_the_recorded_hash_counts_not_that_of_the_state(person: Person) -> None:
    """The two are compared."""
    _record(person, STATED)
    found = survey(person.paths, [STATED], {STATED: "another"}, ())
    assert found.unchanged == {STATED: _sha256(STATED)}


def _rewrite(path: Path) -> None:
    times_ns = path.stat().st_mtime_ns + 1
    path.write_bytes(b"CONTENT")
    os.utime(path, ns=(times_ns, times_ns))


def _grow(path: Path) -> None:
    status = path.stat()
    path.write_bytes(b"longer content")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def _exchange(path: Path) -> None:
    status, other = path.stat(), path.with_name(".other")
    other.write_bytes(b"CONTENT")
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.replace(path)


def _link(path: Path) -> None:
    path.rename(path.with_name(".other"))
    path.symlink_to(".other")


@pytest.mark.parametrize("change", [_rewrite, _grow, _exchange, _link, Path.unlink])
def test_a_file_that_has_changed_is_seen(person: Person, change: Callable[[Path], None]) -> None:
    """By its time, its size, its inode, its kind, or as it is gone."""
    for name in (STATED, UPLOADED):
        change(_record(person, name))
    found = _survey(person, STATED)
    assert (found.unchanged, set(found.entries)) == ({}, {STATED, UPLOADED})


def test_a_rejected_file_is_seen(person: Person) -> None:
    """Though nothing of it has changed."""
    path = _record(person, UPLOADED)
    _put(person, Entry(UPLOADED, Identity.of(path.stat()), problem="it is damaged"))
    assert _survey(person).entries[UPLOADED].problem == "it is damaged"


def test_a_file_that_cannot_be_read_is_seen(
    person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its content may be what it was, but nobody gets it; without its owner's bit the kernel is
    asked."""
    _record(person, STATED).chmod(0o200)
    _record(person, BUILT).chmod(0o400)
    ask, files = os.access, person.paths.distributions
    # As for any user but root.
    monkeypatch.setattr(
        os, "access", lambda path, how: Path(path).parent != files and ask(path, how)
    )
    found = _survey(person, STATED, BUILT)
    assert (set(found.entries), set(found.unchanged)) == ({STATED}, {BUILT})


def test_a_link_is_no_file(person: Person) -> None:
    """Though it is the one that was there before."""
    link = person.paths.distributions / UPLOADED
    link.parent.mkdir(parents=True)
    link.symlink_to("other")
    _put(person, Entry(UPLOADED, Identity.of(link.lstat()), "uploaded", "1.0", "0" * 64))
    assert set(_survey(person).entries) == {UPLOADED}


def test_names_belong_to_the_index_without_any_entry(person: Person) -> None:
    """Of files that are new, that are gone meanwhile, and that no index serves; not hidden ones."""
    directory = person.paths.distributions
    directory.mkdir(parents=True)
    for name in (STATED, "odd-1.0.egg", ".hidden-1.0.tar.gz", "README"):
        (directory / name).write_bytes(b"12345")
    names = [*list_names(directory), UPLOADED]
    found = survey(person.paths, names, {}, ()).files
    assert found.sizes == {STATED: 5, UPLOADED: -1}
    assert found.projects == {"stated": (STATED,), "uploaded": (UPLOADED,)}
    assert found.odd == {"odd": ("odd-1.0.egg",)}
    assert [item.path for item in found.samples(["stated", "uploaded", "other"])] == [
        directory / STATED
    ]
    assert not person.paths.record.exists()


def test_without_the_directory_every_file_is_missing(person: Person) -> None:
    """Their projects are known all the same."""
    path = _record(person, STATED, ORIGIN)
    path.unlink()
    path.parent.rmdir()
    found = _survey(person, STATED)
    assert (set(found.entries), set(found.published)) == ({STATED}, {"stated"})
    assert (found.files.sizes, found.unchanged) == ({}, {})


def test_a_damaged_entry_is_of_a_missing_file(person: Person) -> None:
    """It may have a name that no file can have."""
    _record(person, STATED)
    for name in ("a\0b-1.0.tar.gz", "/" * 5000):
        _put(person, Entry(name, Identity(1, 2, 3), problem="it is damaged"))
    found = _survey(person, STATED)
    assert (len(found.entries), set(found.unchanged)) == (2, {STATED})


def test_the_smallest_files_come_first(person: Person) -> None:
    """Of these projects only."""
    directory = person.paths.distributions
    directory.mkdir(parents=True)
    for name, size in {"b-1.tar.gz": 2, "a-1.tar.gz": 2, "a-2.tar.gz": 1, "c-1.tar.gz": 0}.items():
        (directory / name).write_bytes(b"x" * size)
    found = survey(person.paths, list_names(directory), {}, ()).files.samples(["a", "b"])
    assert [item.path.name for item in found] == ["a-2.tar.gz", "a-1.tar.gz", "b-1.tar.gz"]


def test_a_file_under_two_names_is_a_warning(person: Person) -> None:
    """Of hand-copied files that the index has not read yet, too; not of what was published."""
    directory = person.paths.distributions
    _record(person, STATED)
    for number, name in enumerate(
        ("Stated-1.0.tar.gz", "Built-1.0.tar.gz", BUILT, "new-1.0.zip", "new-1.0.tar.gz")
    ):
        (directory / name).write_bytes(b"content")
        os.utime(directory / name, (number, number))
    # Its entry is lost.
    files = {BUILT: hashlib.sha256(b"content").hexdigest()}
    build = Build("v1.0", "c0ffee", "1.0", 1, files)
    state.save(person.paths.state, "me/built", RepositoryState("built", [build]))
    judged = judge(snapshot.take(person.paths, datetime.now().astimezone()))
    found = [(item.line, item.hint) for item in judged.warnings if "not served" in item.text]
    assert found == [
        (f"{project}: not served: {name} is the same file of {project} 1.0 as {served}", hint)
        for hint in [f"move it out of {directory}"]
        for project, name, served in [
            ("built", "Built-1.0.tar.gz", BUILT), ("stated", "Stated-1.0.tar.gz", STATED),
            ("new", "new-1.0.tar.gz", "new-1.0.zip"),
        ]
    ]  # fmt: skip


def test_a_damaged_file_beside_others_is_a_warning(person: Person) -> None:
    """Until it is replaced; of a project without another file the whole project is a problem."""
    _record(person, STATED)
    for name, project in (("stated-2.0.tar.gz", "stated"), ("lone-1.0.tar.gz", "lone")):
        path = _record(person, name)
        identity = Identity.of(path.stat())
        _put(person, Entry(name, identity, project, "2.0", problem=f"{name} is damaged"))

    def found() -> list[str]:
        judged = judge(snapshot.take(person.paths, datetime.now().astimezone()))
        return [item.line for item in judged.items if item.subject in ("stated", "lone")]

    lone = "lone: lone has no usable file: lone-1.0.tar.gz is damaged"
    assert found() == [lone, "stated: not served: stated-2.0.tar.gz is damaged"]
    (person.paths.distributions / "stated-2.0.tar.gz").write_bytes(b"completed")
    assert found() == [lone]
