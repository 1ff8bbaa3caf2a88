"""Open the SQLite database of the metadata cache, and replace it if it is damaged."""

import contextlib
import errno
import logging
import os
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import is_there, locked, set_aside

_log = logging.getLogger(__name__)

_FORMAT = 2
"""Since 2, entries of missing files are kept, unless their release was taken back."""
_BUSY_TIMEOUT_S = 10


class MetadataDatabase:
    """The database, with one table `files`, which processes and threads share.

    Args:
        path: created if missing; a damaged one is set aside.
        columns: of the table, separated by commas, with `name` first; it also has `directory` and
            `metadata`.
    """

    def __init__(self, path: Path, columns: str) -> None:
        self._path = path
        self._columns = columns
        # SQLite lets threads share a connection, but a transaction is one of all of them.
        self._lock = threading.Lock()
        self._connection = _open(path, columns)

    def close(self) -> None:
        """Close the database."""
        self._connection.close()

    @contextlib.contextmanager
    def using(self) -> Iterator[sqlite3.Connection]:
        """Use the database for a transaction; its errors are logged and end it."""
        with self._lock:
            try:
                with self._connection:
                    yield self._connection
            except sqlite3.Error as error:
                if _is_damage(error):
                    self._connection.close()
                    self._connection = _open(self._path, self._columns, is_doubtful=True)
                else:
                    _log.warning("cannot use the metadata cache %s: %s", self._path, error)
            except OverflowError:
                # A time or an inode of the file is beyond 64 bits: it is examined at each start.
                pass


class _DamagedError(sqlite3.DatabaseError):
    """A database is damaged, or of another program."""


class _NewerError(sqlite3.DatabaseError):
    """A database was written by a newer version of this program; it is left unchanged."""


def _is_damage(error: sqlite3.Error) -> bool:
    """Return whether a database is damaged, not only locked, full or inaccessible."""
    # The low byte is the primary result code. Source: https://www.sqlite.org/rescode.html
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return isinstance(error, _DamagedError) or code in (
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
    )


def _open(database: Path, columns: str, *, is_doubtful: bool = False) -> sqlite3.Connection:
    """Open a database, or create it where it is missing or damaged.

    Args:
        database: the file.
        columns: as of `MetadataDatabase`.
        is_doubtful: whether the whole file is to be checked.
    """
    try:
        # One process at a time creates it: SQLite's busy timeout does not apply to a change of the
        # journal mode, which fails at once.
        with locked(database.with_name(f"{database.name}.lock")):
            try:
                _demand_file(database)
                return _connect(str(database), columns, is_doubtful=is_doubtful)
            except sqlite3.Error as error:
                if not _is_damage(error):
                    raise
                aside = _put_aside(database)
                _log.warning("%s is damaged: %s; moved to %s", database, error, aside.name)
                return _connect(str(database), columns)
    except (sqlite3.Error, InsidersError, OSError) as error:
        _log.warning("cannot use %s: %s; using a temporary cache in memory", database, error)
        return _connect(":memory:", columns)


def _demand_file(database: Path) -> None:
    # SQLite's own error for all of these is "unable to open database file".
    if os.path.lexists(database):
        if not database.is_file():
            raise _DamagedError("it is not a file")
        if not os.access(database, os.R_OK | os.W_OK):
            raise _DamagedError(os.strerror(errno.EACCES))


def _put_aside(database: Path) -> Path:
    # Renamed, not deleted, together with its journal: other processes may have it open.
    aside = set_aside(database)
    for suffix in ("-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            Path(f"{database}{suffix}").replace(f"{aside}{suffix}")
    return aside


def _connect(database: str, columns: str, *, is_doubtful: bool = False) -> sqlite3.Connection:
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
            # quick_check reads the whole file, so it is made after an error only.
            raise _DamagedError(found)
        # In WAL mode readers and the one writer do not wait for each other, and a power cut
        # damages nothing.
        connection.execute("PRAGMA journal_mode = WAL")
        # In WAL mode this loses at most the last transactions in a power cut: their files are read
        # again.
        connection.execute("PRAGMA synchronous = NORMAL")
        # 256 KiB instead of 2 MiB: the server reads the database once, and keeps its memory small.
        connection.execute("PRAGMA cache_size = -256")
        if version != _FORMAT:
            connection.executescript(_schema(columns))
        _check_columns(connection, columns)
        if version != _FORMAT:
            _forget_the_gone(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _schema(columns: str) -> str:
    # The key has the directory: `server run --dist-dir` serves another one with the same database.
    return f"""
CREATE TABLE IF NOT EXISTS files (
    directory TEXT NOT NULL, {columns.replace("name,", "name TEXT NOT NULL,", 1)}, metadata BLOB,
    PRIMARY KEY (directory, name)
);
PRAGMA user_version = {_FORMAT};
"""


def _check_columns(connection: sqlite3.Connection, columns: str) -> None:
    try:
        connection.execute(f"SELECT directory, {columns}, metadata FROM files LIMIT 0")  # noqa: S608
    except sqlite3.OperationalError as error:
        # SQLITE_ERROR is for a statement that does not match the tables; other codes are for a
        # busy database or a full disk.
        if getattr(error, "sqlite_errorcode", 0) != sqlite3.SQLITE_ERROR:
            raise
        raise _DamagedError(str(error)) from error


def _forget_the_gone(connection: sqlite3.Connection) -> None:
    """Delete the entries of missing files, once for each upgrade from an older format."""
    # Format 1 kept the entries of releases that were taken back; from 2 on, an entry of a missing
    # file means that it was lost.
    with connection:
        keys = connection.execute("SELECT directory, name FROM files").fetchall()
        gone = [
            (directory, name)
            for directory, name in keys
            # Not of a directory that is missing as a whole, such as a disk that is not mounted.
            if is_there(Path(directory)) and not os.path.lexists(Path(directory, name))
        ]
        connection.executemany("DELETE FROM files WHERE directory = ? AND name = ?", gone)
