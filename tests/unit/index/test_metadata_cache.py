"""record: what is known of files outlives the process, and is an aid only."""

import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from entries import ENTRY
from fixtures import ROOT

from pypi_insiders.index.metadata_cache import Entry, Identity, MetadataCache

BROKEN = Entry("README", Identity(1, 2, 3), problem="it is no distribution")
OTHER = ENTRY._replace(name="other-1.0.tar.gz", project="other")


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "state/record.sqlite"


def test_what_is_put_is_there_for_the_next(tmp_path: Path, database: Path) -> None:
    """All of it, the metadata too."""
    first = MetadataCache(database, tmp_path)
    first.put(ENTRY, b"Name: my-dist\n")
    first.put(BROKEN, None)
    first.close()
    second = MetadataCache(database, tmp_path)
    assert second.entries() == {ENTRY.name: ENTRY, BROKEN.name: BROKEN}
    assert (second.entry(ENTRY.name), second.entry("other")) == (ENTRY, None)
    assert (second.metadata(ENTRY), second.metadata(BROKEN)) == (b"Name: my-dist\n", None)


def test_another_directory_has_a_record_of_its_own(tmp_path: Path, database: Path) -> None:
    """Two indexes may share the state."""
    MetadataCache(database, tmp_path / "one").put(ENTRY, b"")
    assert MetadataCache(database, tmp_path / "two").entries() == {}


def test_a_directory_may_have_any_bytes_in_its_name(tmp_path: Path) -> None:
    """SQLite takes UTF-8 only, and `status` ended with a traceback."""
    directory = tmp_path / os.fsdecode(b"n\xff")
    record = MetadataCache(directory / "record.sqlite", directory)
    record.put(ENTRY, b"")
    assert record.entries() == {ENTRY.name: ENTRY}
    record.close()
    assert MetadataCache(directory / "record.sqlite", directory).entry(ENTRY.name) == ENTRY


def test_what_is_forgotten_is_gone(tmp_path: Path, database: Path) -> None:
    """Forgetting what is not there is no error."""
    record = MetadataCache(database, tmp_path)
    record.put(ENTRY, b"")
    record.forget([ENTRY.name, "other"])
    assert record.entries() == {}


def test_processes_write_at_the_same_time(tmp_path: Path, database: Path) -> None:
    """An update publishes while the index notes what it found."""
    code = """
import sys
from pathlib import Path
from typing import Any
from entries import ENTRY
from pypi_insiders.index.metadata_cache import MetadataCache
record = MetadataCache(Path(sys.argv[1]), Path(sys.argv[2]))
for number in range(100):
    project = f"{sys.argv[3]}{number}"
    record.put(ENTRY._replace(name=f"{project}-1.0.tar.gz", project=project), b"x" * 1000)
"""
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", code, database, tmp_path, name],
            cwd=ROOT / "tests/support", stderr=subprocess.PIPE, text=True,
        )
        for name in ("one", "two", "three")
    ]  # fmt: skip
    assert [writer.communicate(timeout=60)[1] for writer in writers] == ["", "", ""]
    assert len(MetadataCache(database, tmp_path).entries()) == 300


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


@pytest.mark.parametrize("value", [b"\xff", 1.5, None])
@pytest.mark.parametrize("column", ["mtime_ns", "project", "sha256", "published_us"])
def test_an_entry_with_a_value_of_another_kind_counts_as_missing(
    tmp_path: Path, database: Path, column: str, value: object
) -> None:
    """Its file is read again; the other entries are whole."""
    record = MetadataCache(database, tmp_path)
    record.put(ENTRY, b"Name: my-dist\n")
    record.put(OTHER, None)
    with sqlite3.connect(database) as connection:
        update = f"UPDATE files SET {column} = ? WHERE name = ?"
        connection.execute(update, (value, ENTRY.name))
    connection.close()
    assert record.entries() == {OTHER.name: OTHER}
    assert record.entry(ENTRY.name) is None
    assert all(isinstance(project, str) for project in record.projects())


@pytest.mark.parametrize(
    ("column", "value"),
    [
        *(("version", it) for it in ("", "one", "1..0", "2.0", "01.0", "1.0\n")),
        ("project", "my_dist"), ("sha256", ""), ("sha256", "AB" * 32), ("sha256", "ab" * 33),
        ("metadata_sha256", "no hash"), ("published_us", -(2**62)), ("repository", "ns/a\0b"),
    ],
)  # fmt: skip
def test_an_entry_of_which_no_true_page_is_made_counts_as_missing(
    tmp_path: Path, database: Path, column: str, value: object
) -> None:
    """Each reader passes over it: with an invalid version its project had no page."""
    record = MetadataCache(database, tmp_path)
    for entry in (ENTRY, OTHER, BROKEN):
        record.put(entry, None)
    with sqlite3.connect(database) as connection:
        update = f"UPDATE files SET {column} = ? WHERE name = ?"
        connection.execute(update, (value, ENTRY.name))
    connection.close()
    whole = {OTHER.name: OTHER, BROKEN.name: BROKEN}
    assert record.entries() == whole
    assert record.converted(lambda entry: entry) == whole
    assert record.entries_unless(lambda _: False) == whole
    assert record.entries_unless(lambda facts: facts[0] == OTHER.name) == {BROKEN.name: BROKEN}
    assert record.entry(ENTRY.name) is None


def test_metadata_of_another_kind_count_as_missing(tmp_path: Path, database: Path) -> None:
    record = MetadataCache(database, tmp_path)
    record.put(ENTRY, b"Name: my-dist\n")
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE files SET metadata = -1")
    connection.close()
    assert record.metadata(ENTRY) is None


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


def test_times_in_the_future_count_as_now(tmp_path: Path, database: Path) -> None:
    """Or else installers that are told a time would not see the file until then."""
    now_us = time.time_ns() // 1000
    record = MetadataCache(database, tmp_path)
    record.put(ENTRY._replace(published_us=now_us + 400 * 86400 * 1_000_000), b"")
    found = record.entries()[ENTRY.name]
    assert now_us <= found.published_us <= time.time_ns() // 1000


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


def test_what_has_no_room_in_it_is_not_kept(tmp_path: Path, database: Path) -> None:
    """Times after the year 2262, and inodes of some network file systems."""
    record = MetadataCache(database, tmp_path)
    record.put(ENTRY._replace(identity=Identity(1, 2**63, 1)), b"")
    record.put(ENTRY._replace(identity=Identity(1, 1, 2**63)), b"")
    record.put(BROKEN, None)
    assert record.entries() == {BROKEN.name: BROKEN}


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


def test_projects_are_those_of_published_files(tmp_path: Path, database: Path) -> None:
    """Of this directory; a rejected file was never published."""
    record = MetadataCache(database, tmp_path)
    record.put(ENTRY, b"")
    record.put(OTHER, b"")
    record.put(ENTRY._replace(name="rejected", project="rejected", sha256=""), None)
    MetadataCache(database, tmp_path / "two").put(ENTRY._replace(project="two"), b"")
    assert record.projects() == {ENTRY.project, "other"}
