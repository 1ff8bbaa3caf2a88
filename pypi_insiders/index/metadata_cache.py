"""Remember what was found out about each distribution file, across processes."""

import contextlib
import errno
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pypi_insiders.index import distribution
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import is_there, locked, set_aside

if TYPE_CHECKING:
    from pypi_insiders.index.file_contents import Contents

_log = logging.getLogger(__name__)

_FORMAT = 2
"""Since 2, what is not there any more is kept, unless it was taken back."""
_BUSY_TIMEOUT_S = 10
# No ORM and no migration tool: what is lost here is found out anew from the files.
_COLUMNS = (
    "name, size_bytes, mtime_ns, inode, project, version, sha256, metadata_sha256, "
    "requires_python, published_us, repository, tag, commit_id, problem"
)
# By directory too: `server run --dist-dir` serves another one with the same state.
_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS files (
    directory TEXT NOT NULL, {_COLUMNS.replace("name,", "name TEXT NOT NULL,", 1)}, metadata BLOB,
    PRIMARY KEY (directory, name)
);
PRAGMA user_version = {_FORMAT};
"""


class Identity(NamedTuple):
    """By what a file is known to be the one that it was."""

    size_bytes: int
    mtime_ns: int
    inode: int

    @classmethod
    def of(cls, status: os.stat_result) -> "Identity":
        """Take it from what stat(2) tells."""
        return cls(status.st_size, status.st_mtime_ns, status.st_ino)


class Origin(NamedTuple):
    """What a distribution was built from."""

    repository: str
    """`NS/PROJ`."""
    tag: str
    commit: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of the distributions directory."""

    name: str
    identity: Identity
    project: str = ""
    """Normalized."""
    version: str = ""
    sha256: str = ""
    """Hexadecimal, as all hashes here."""
    metadata_sha256: str | None = None
    """Of the core metadata; `None`: they are not served."""
    requires_python: str | None = None
    published_us: int = 0
    """Microseconds of the epoch."""
    origin: Origin | None = None
    problem: str | None = None
    """Why it is not served."""


def describe(entry: Entry, contents: "Contents", published_us: int, origin: Origin | None) -> Entry:
    """Add to an entry what its file holds, when it was published and from what it was built."""
    project, version = distribution.release_of(entry.name)
    is_wheel = distribution.is_wheel(entry.name)
    return replace(
        entry,
        project=project,
        version=str(version),
        sha256=contents.sha256,
        metadata_sha256=contents.metadata_sha256 if is_wheel else None,
        requires_python=contents.requires_python,
        published_us=published_us,
        origin=origin,
    )


class MetadataCache:
    """What is known of the files of one directory, in an SQLite database shared by processes.

    It is an aid: where it cannot be read or written, that is logged, and what it would have told
    is found out anew. Times in the future count as now.

    Args:
        database: made where it is missing; one that is damaged is set aside.
        directory: the distributions directory.
    """

    def __init__(self, database: Path, directory: Path) -> None:
        self._database = database
        self._directory = str(directory.absolute())
        # SQLite would let threads share a connection, but a transaction is one of all of them.
        self._lock = threading.Lock()
        self._connection = _open(database)

    def close(self) -> None:
        """Let go of the database."""
        self._connection.close()

    def entries(self) -> dict[str, Entry]:
        """Recall all files by name."""
        query = f"SELECT {_COLUMNS} FROM files WHERE directory = ?"  # noqa: S608 - no foreign text
        with self._using() as connection:
            rows = connection.execute(query, (self._directory,))
            return {entry.name: entry for entry in map(_entry, rows)}
        # `_using` suppresses what is wrong with the database, and then nothing was returned.
        return {}

    def entry(self, name: str) -> Entry | None:
        """Recall one file."""
        query = f"SELECT {_COLUMNS} FROM files WHERE directory = ? AND name = ?"  # noqa: S608
        with self._using() as connection:
            row = connection.execute(query, (self._directory, name)).fetchone()
            return _entry(row) if row else None
        return None

    def metadata(self, entry: Entry) -> bytes | None:
        """Recall the core metadata of a file; `None` where they are not known."""
        query = (
            "SELECT metadata FROM files WHERE directory = ? AND name = ? AND metadata_sha256 = ?"
        )
        with self._using() as connection:
            key = (self._directory, entry.name, entry.metadata_sha256)
            row = connection.execute(query, key).fetchone()
            return bytes(row[0]) if row and row[0] is not None else None
        return None

    def put(self, entry: Entry, metadata: bytes | None) -> None:
        """Remember one file, instead of what was known under its name."""
        values = (
            self._directory, entry.name, *entry.identity, entry.project, entry.version,
            entry.sha256, entry.metadata_sha256, entry.requires_python, entry.published_us,
            *(entry.origin or (None, None, None)), entry.problem, metadata,
        )  # fmt: skip
        marks = ", ".join("?" * len(values))
        statement = (
            f"INSERT OR REPLACE INTO files (directory, {_COLUMNS}, metadata) VALUES ({marks})"  # noqa: S608
        )
        with self._using() as connection:
            connection.execute(statement, values)

    def forget(self, names: Iterable[str]) -> None:
        """Forget files."""
        keys = [(self._directory, name) for name in names]
        with self._using() as connection:
            connection.executemany("DELETE FROM files WHERE directory = ? AND name = ?", keys)

    @contextmanager
    def _using(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                with self._connection:
                    yield self._connection
            except sqlite3.Error as error:
                if _is_damage(error):
                    self._connection.close()
                    self._connection = _open(self._database, is_doubtful=True)
                else:
                    _log.warning("the record of the distributions cannot be used: %s", error)
            except OverflowError:
                pass  # a time or an inode beyond 64 bits: a file that is examined each time


def _entry(row: Sequence[Any]) -> Entry:
    name, size_bytes, mtime_ns, inode, *row = row
    project, version, sha256, metadata_sha256, requires_python, published_us, *row = row
    repository, tag, commit, problem = row
    return Entry(
        name,
        Identity(size_bytes, mtime_ns, inode),
        project,
        version,
        sha256,
        metadata_sha256,
        requires_python,
        min(published_us, time.time_ns() // 1000),
        None if repository is None else Origin(repository, tag, commit),
        problem,
    )


class _DamagedError(sqlite3.DatabaseError):
    """A database is none of ours, or not whole."""


class _NewerError(sqlite3.DatabaseError):
    """A database is that of a newer version of this program, and stays as it is."""


def _is_damage(error: sqlite3.Error) -> bool:
    """Tell a damaged database from one that is only out of reach."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return isinstance(error, _DamagedError) or code in (
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
    )


def _open(database: Path, *, is_doubtful: bool = False) -> sqlite3.Connection:
    """Open a database, or begin a new one where it is missing or damaged.

    Args:
        database: the file.
        is_doubtful: whether all of it is to be looked at.
    """
    try:
        # Of several processes one makes it: changing the journal's mode waits for nobody.
        with locked(database.with_name(f"{database.name}.lock")):
            try:
                _demand_file(database)
                return _connect(str(database), is_doubtful=is_doubtful)
            except sqlite3.Error as error:
                if not _is_damage(error):
                    raise
                aside = _put_aside(database)
                _log.warning(
                    "%s is damaged (%s); it is set aside as %s", database, error, aside.name
                )
                return _connect(str(database))
    except (sqlite3.Error, InsidersError, OSError) as error:
        _log.warning(
            "%s cannot be used: %s; what it would tell is lost at the end", database, error
        )
        return _connect(":memory:")


def _demand_file(database: Path) -> None:
    """Refuse what can be no database, of which SQLite would only say that it cannot be opened."""
    if os.path.lexists(database):
        if not database.is_file():
            raise _DamagedError("it is no file")
        if not os.access(database, os.R_OK | os.W_OK):
            raise _DamagedError(os.strerror(errno.EACCES))


def _put_aside(database: Path) -> Path:
    """Rename a database with all that belongs to it: others may have it open, and go on so."""
    aside = set_aside(database)
    for suffix in ("-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            Path(f"{database}{suffix}").replace(f"{aside}{suffix}")
    return aside


def _connect(database: str, *, is_doubtful: bool = False) -> sqlite3.Connection:
    connection = sqlite3.connect(database, timeout=_BUSY_TIMEOUT_S, check_same_thread=False)
    try:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > _FORMAT:
            raise _NewerError("it was written by a newer version of this program")
        if version < 0:
            raise _DamagedError(f"its format is {version}")
        if (
            is_doubtful
            and (found := connection.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok"
        ):
            # This check reads the whole file, so it is made only after an error.
            raise _DamagedError(found)
        # Readers and the one writer do not wait for each other, and a power cut damages nothing.
        connection.execute("PRAGMA journal_mode = WAL")
        # In WAL mode that loses at most the last transactions in a power cut, which are found out
        # anew.
        connection.execute("PRAGMA synchronous = NORMAL")
        # 256 KiB in place of 2 MiB: the server is to stay small, and reads all of it once.
        connection.execute("PRAGMA cache_size = -256")
        if version != _FORMAT:
            connection.executescript(_SCHEMA)
        _check_columns(connection)
        if version != _FORMAT:
            _forget_the_gone(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _check_columns(connection: sqlite3.Connection) -> None:
    try:
        connection.execute(f"SELECT directory, {_COLUMNS}, metadata FROM files LIMIT 0")  # noqa: S608
    except sqlite3.OperationalError as error:
        # SQLITE_ERROR is for a statement that does not fit the tables; others say that it is busy
        # or full.
        if getattr(error, "sqlite_errorcode", 0) != sqlite3.SQLITE_ERROR:
            raise
        raise _DamagedError(str(error)) from error


def _forget_the_gone(connection: sqlite3.Connection) -> None:
    """Drop what is not there: older versions did not forget at once what they took back."""
    with connection:
        keys = connection.execute("SELECT directory, name FROM files").fetchall()
        gone = [
            (directory, name)
            for directory, name in keys
            # Not of a directory that is lost as a whole.
            if is_there(Path(directory)) and not os.path.lexists(Path(directory, name))
        ]
        connection.executemany("DELETE FROM files WHERE directory = ? AND name = ?", gone)
