"""record: what is known of files outlives the process, and is an aid only."""

import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from entries import BROKEN, ENTRY
from fixtures import ROOT

from pypi_insiders.index.metadata_cache import Identity, MetadataCache

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


def test_times_in_the_future_count_as_now(tmp_path: Path, database: Path) -> None:
    """Or else installers that are told a time would not see the file until then."""
    now_us = time.time_ns() // 1000
    record = MetadataCache(database, tmp_path)
    record.put(ENTRY._replace(published_us=now_us + 400 * 86400 * 1_000_000), b"")
    found = record.entries()[ENTRY.name]
    assert now_us <= found.published_us <= time.time_ns() // 1000


def test_what_has_no_room_in_it_is_not_kept(tmp_path: Path, database: Path) -> None:
    """Times after the year 2262, and inodes of some network file systems."""
    record = MetadataCache(database, tmp_path)
    record.put(ENTRY._replace(identity=Identity(1, 2**63, 1)), b"")
    record.put(ENTRY._replace(identity=Identity(1, 1, 2**63)), b"")
    record.put(BROKEN, None)
    assert record.entries() == {BROKEN.name: BROKEN}


def test_projects_are_those_of_published_files(tmp_path: Path, database: Path) -> None:
    """Of this directory; a rejected file was never published."""
    record = MetadataCache(database, tmp_path)
    record.put(ENTRY, b"")
    record.put(OTHER, b"")
    record.put(ENTRY._replace(name="rejected", project="rejected", sha256=""), None)
    MetadataCache(database, tmp_path / "two").put(ENTRY._replace(project="two"), b"")
    assert record.projects() == {ENTRY.project, "other"}
