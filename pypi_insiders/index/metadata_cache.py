"""Cache the metadata of each distribution file in a database shared by processes."""

import os
import re
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from pypi_insiders.index import distribution

if TYPE_CHECKING:
    from pypi_insiders.index.file_contents import Contents

T = TypeVar("T")

# No ORM and no migration tool: what is lost here is read again from the files.
_FACTS = "name, size_bytes, mtime_ns, inode, project, sha256, repository, problem"
_COLUMNS = f"{_FACTS}, version, metadata_sha256, requires_python, published_us, tag, commit_id"
# SQLite keeps any value in any column, and has no checksum that would tell of a damaged one.
_IS_WHOLE = " AND ".join(
    f"typeof({column}) IN ({kinds})"
    for kinds, columns in (
        ("'integer'", "size_bytes, mtime_ns, inode, published_us"),
        ("'text'", "project, version, sha256"),
        ("'text', 'null'", "metadata_sha256, requires_python, repository, tag, commit_id, problem"),
    )
    for column in columns.split(", ")
)
# A time before the year 1 has no date.
_IS_WHOLE += " AND published_us >= 0"
_SHA256, _REPOSITORY = re.compile("[0-9a-f]{64}"), re.compile(r"[A-Za-z0-9_./-]+")
# Without the index, which leads to each row by itself: most rows are of one directory.
_OF_ALL = f"FROM files NOT INDEXED WHERE directory = ? AND {_IS_WHOLE}"
_ALL, _ALL_FACTS = f"SELECT {_COLUMNS} {_OF_ALL}", f"SELECT {_FACTS} {_OF_ALL}"
Facts = tuple[str, int, int, int, str, str, str | None, str | None]
"""The columns of `_FACTS`: with the repository of the origin, and why the file is not served."""


class Identity(NamedTuple):
    """What identifies an unchanged file without reading it."""

    size_bytes: int
    mtime_ns: int
    inode: int

    @classmethod
    def of(cls, status: os.stat_result) -> "Identity":
        """Return the identity of a file from its stat(2)."""
        return cls(status.st_size, status.st_mtime_ns, status.st_ino)


class Origin(NamedTuple):
    """The tag and commit that a distribution was built from."""

    repository: str
    """`NS/PROJ`."""
    tag: str
    commit: str


class Entry(NamedTuple):
    """One file of the distributions directory."""

    name: str
    identity: Identity
    project: str = ""
    """Normalized."""
    version: str = ""
    sha256: str = ""
    """Hexadecimal, as all hashes here."""
    metadata_sha256: str | None = None
    """Of the core metadata; `None`: the metadata is not served."""
    requires_python: str | None = None
    published_us: int = 0
    """Microseconds of the epoch."""
    origin: Origin | None = None
    problem: str | None = None
    """Why it is not served."""


def describe(entry: Entry, contents: "Contents", published_us: int, origin: Origin | None) -> Entry:
    """Return an entry with the contents of its file, the time of publication and the origin."""
    project, version = distribution.release_of(entry.name)
    is_wheel = distribution.is_wheel(entry.name)
    return entry._replace(
        project=project,
        version=str(version),
        sha256=contents.sha256,
        metadata_sha256=contents.metadata_sha256 if is_wheel else None,
        requires_python=contents.requires_python,
        published_us=published_us,
        origin=origin,
    )


class MetadataCache:
    """The metadata of the files of one directory, in an SQLite database shared by processes.

    An error of the database is logged, not raised: the metadata is then read from the files again.
    Times in the future count as now.

    Args:
        database: created if missing; a damaged one is set aside.
        directory: the distributions directory.
    """

    def __init__(self, database: Path, directory: Path) -> None:
        # SQLite takes UTF-8 only, and a path may have any bytes.
        self._directory = os.fsencode(directory.absolute()).decode(errors="backslashreplace")
        # Here, as `status` and `repos list` of an empty index open no database.
        from pypi_insiders.index.metadata_database import MetadataDatabase

        self._database = MetadataDatabase(database, _COLUMNS)

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def entries(self) -> dict[str, Entry]:
        """Read all entries, by file name."""
        return self.converted(lambda entry: entry)

    def entries_unless(self, is_known: Callable[[Facts], bool]) -> dict[str, Entry]:
        """Read the entries, by file name, for whose facts a function returns false."""
        names: list[str] = []
        # Of many files nearly all are known, and to read all of their columns takes half as long
        # again.
        with self._database.using() as connection:
            rows = connection.execute(_ALL_FACTS, (self._directory,))
            names = [facts[0] for facts in rows if not is_known(facts)]
        return {entry.name: entry for entry in map(self.entry, names) if entry}

    def converted(self, convert: Callable[[Entry], T]) -> dict[str, T]:
        """Read all entries, and convert each before the next is read; by file name."""
        with self._database.using() as connection:
            rows = connection.execute(_ALL, (self._directory,))
            now_us = time.time_ns() // 1000
            return {row[0]: convert(_entry(row, now_us)) for row in rows if _is_true(row)}
        # Reached after an error of the database only, which `using` suppresses.
        return {}

    def projects(self) -> set[str]:
        """Read the projects that have a published file, including missing files."""
        query = (
            "SELECT DISTINCT project FROM files WHERE directory = ? AND project != '' "
            "AND typeof(project) = 'text' AND sha256 != ''"
        )
        with self._database.using() as connection:
            return {row[0] for row in connection.execute(query, (self._directory,))}
        return set()

    def entry(self, name: str) -> Entry | None:
        """Read the entry of a file; `None` if it has none."""
        query = f"SELECT {_COLUMNS} FROM files WHERE directory = ? AND name = ? AND {_IS_WHOLE}"  # noqa: S608
        with self._database.using() as connection:
            row = connection.execute(query, (self._directory, name)).fetchone()
            return _entry(row, time.time_ns() // 1000) if row and _is_true(row) else None
        return None

    def metadata(self, entry: Entry) -> bytes | None:
        """Read the core metadata of a file; `None` if unknown."""
        query = (
            "SELECT metadata FROM files WHERE directory = ? AND name = ? AND metadata_sha256 = ? "
            "AND typeof(metadata) = 'blob'"
        )
        with self._database.using() as connection:
            key = (self._directory, entry.name, entry.metadata_sha256)
            row = connection.execute(query, key).fetchone()
            return bytes(row[0]) if row else None
        return None

    def put(self, entry: Entry, metadata: bytes | None) -> None:
        """Write the entry of a file, replacing the one of its name."""
        repository, tag, commit = entry.origin or (None, None, None)
        values = (
            self._directory, entry.name, *entry.identity, entry.project, entry.sha256,
            repository, entry.problem, entry.version, entry.metadata_sha256,
            entry.requires_python, entry.published_us, tag, commit, metadata,
        )  # fmt: skip
        marks = ", ".join("?" * len(values))
        statement = (
            f"INSERT OR REPLACE INTO files (directory, {_COLUMNS}, metadata) VALUES ({marks})"  # noqa: S608
        )
        with self._database.using() as connection:
            connection.execute(statement, values)

    def forget(self, names: Iterable[str]) -> None:
        """Delete the entries of files."""
        keys = [(self._directory, name) for name in names]
        with self._database.using() as connection:
            connection.executemany("DELETE FROM files WHERE directory = ? AND name = ?", keys)


def _is_true(row: Sequence[Any]) -> bool:
    """Return whether an entry has what pages are made of, and the release of its file."""
    name, project, sha256, repository, problem, version, metadata_sha256 = row[0], *row[4:10]
    if repository is not None and not _REPOSITORY.fullmatch(repository):
        return False
    # Of a rejected file there is no page, and the hash may be unknown.
    return problem is not None or (
        _SHA256.fullmatch(sha256) is not None
        and (metadata_sha256 is None or _SHA256.fullmatch(metadata_sha256) is not None)
        and distribution.is_of(name, project, version)
    )


def _entry(row: Sequence[Any], now_us: int) -> Entry:
    name, size_bytes, mtime_ns, inode, project, sha256, repository, problem = row[:8]
    version, metadata_sha256, requires_python, published_us, tag, commit = row[8:]
    return Entry(
        name,
        Identity(size_bytes, mtime_ns, inode),
        project,
        version,
        sha256,
        metadata_sha256,
        requires_python,
        min(published_us, now_us),
        None if repository is None else Origin(repository, tag, commit),
        problem,
    )
