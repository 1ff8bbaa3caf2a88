"""metadata_database: what is damaged begins anew, and nothing that was there is lost."""

import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from entries import BROKEN, ENTRY

from pypi_insiders.index.metadata_cache import MetadataCache


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "state/record.sqlite"


def _damage(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"this is no database, " * 1000)


def _of_the_future(path: Path) -> None:
    path.parent.mkdir()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()


def _a_directory(path: Path) -> None:
    path.mkdir(parents=True)


def _zeros(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(bytes(8192))


def _of_another_shape(path: Path) -> None:
    path.parent.mkdir()
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE files (name TEXT)")
    connection.execute("PRAGMA user_version = 1")
    connection.commit()
    connection.close()


@pytest.mark.parametrize("spoil", [_damage, _a_directory, _zeros, _of_another_shape])
def test_a_damaged_record_is_set_aside(
    tmp_path: Path, database: Path, spoil: type, caplog: pytest.LogCaptureFixture
) -> None:
    """It begins anew, says so, and nothing that was set aside before is lost."""
    spoil(database)
    earlier = database.with_name("record.sqlite.damaged")
    earlier.write_text("earlier")
    inode = database.stat().st_ino
    record = MetadataCache(database, tmp_path)
    record.put(ENTRY, b"")
    assert MetadataCache(database, tmp_path).entries() == {ENTRY.name: ENTRY}
    assert earlier.read_text() == "earlier"
    assert database.with_name("record.sqlite.damaged.1").stat().st_ino == inode
    # Threads of other tests may log too.
    (said,) = (entry for entry in caplog.records if f"{database}" in entry.getMessage())
    assert said.levelname == "WARNING"
    assert said.getMessage().startswith(f"{database} is damaged: ")


def test_a_record_of_a_newer_version_stays_as_it_is(
    tmp_path: Path, database: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is no damage; that is said, and nothing fails."""
    _of_the_future(database)
    content = database.read_bytes()
    record = MetadataCache(database, tmp_path)
    record.put(ENTRY, b"")
    assert record.entries() == {ENTRY.name: ENTRY}
    assert database.read_bytes() == content
    assert caplog.messages == [
        f"cannot use {database}: it was written by a newer version of this program; "
        "using a temporary cache in memory"
    ]


def test_what_an_older_version_had_not_forgotten_is_forgotten(
    tmp_path: Path, database: Path
) -> None:
    """It kept what it had taken back until the index started again; but not of a lost directory."""
    here, lost = tmp_path / "here", tmp_path / "lost"
    here.mkdir()
    (here / BROKEN.name).touch()
    for directory in (here, lost):
        record = MetadataCache(database, directory)
        record.put(ENTRY, b"")
        record.put(BROKEN, None)
        record.close()
    connection = sqlite3.connect(database)
    connection.execute("PRAGMA user_version = 1")
    connection.close()
    assert list(MetadataCache(database, here).entries()) == [BROKEN.name]
    assert len(MetadataCache(database, lost).entries()) == 2


def _filled(database: Path, directory: Path) -> None:
    record = MetadataCache(database, directory)
    for number in range(200):
        record.put(ENTRY._replace(name=str(number)), b"x" * 5000)
    record.close()
    with database.open("r+b") as file:
        file.seek(8192)
        file.write(os.urandom(database.stat().st_size - 16384))


@pytest.mark.parametrize("use", ["entries", "metadata", "put", "forget"])
def test_damage_is_met_where_it_is(
    tmp_path: Path, database: Path, use: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Its begin was in order, so it could be opened; from its first use on it is anew."""
    _filled(database, tmp_path)
    uses: dict[str, Any] = {
        "entries": MetadataCache.entries,
        "metadata": lambda record: record.metadata(ENTRY._replace(name="150")),
        "put": lambda record: record.put(ENTRY._replace(name="150"), b""),
        "forget": lambda record: record.forget(map(str, range(200))),
    }
    record = MetadataCache(database, tmp_path)
    uses[use](record)
    assert database.with_name("record.sqlite.damaged").exists()
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith(f"{database} is damaged: ")
    record.put(ENTRY, b"")
    assert MetadataCache(database, tmp_path).entry(ENTRY.name) == ENTRY


def test_of_two_that_meet_the_damage_one_begins_anew(
    tmp_path: Path, database: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The other takes that."""
    _filled(database, tmp_path)
    first, second = MetadataCache(database, tmp_path), MetadataCache(database, tmp_path)
    assert first.entries() == {}
    first.put(ENTRY, b"")
    assert second.entries() == {}
    assert second.entries() == {ENTRY.name: ENTRY}
    assert len(caplog.messages) == 1


def test_without_a_place_for_it_the_record_lasts_as_long_as_the_process(
    tmp_path: Path, database: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """That is said, and nothing fails."""
    database.parent.touch()
    record = MetadataCache(database, tmp_path)
    record.put(ENTRY, b"")
    assert record.entries() == {ENTRY.name: ENTRY}
    assert [entry.levelname for entry in caplog.records] == ["WARNING"]
    assert caplog.messages[0].startswith(f"cannot use {database}: ")
