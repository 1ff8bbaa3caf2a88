"""Change files so that no reader ever meets one half done."""

import contextlib
import errno
import fcntl
import io
import itertools
import logging
import os
import re
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from pypi_insiders.util.errors import InsidersError

_log = logging.getLogger(__name__)

UNFINISHED = ".unfinished"
"""How the name of a file ends that `write_atomic` is writing, and of which nobody else knows."""
SHORTAGES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
"""The numbers of errors that are no fault of what was to be done."""
_LEFT_AFTER_S = 3600


def write_atomic(path: Path, text: str, mode: int | None = None) -> None:
    """Put `text` at `path` in one step, so that a crash leaves the old file or the new one.

    Without a mode, that of an old file stays, and a new one is readable for all who reach it.
    Missing parent directories are made. A symbolic link is followed, so that a file kept elsewhere
    (dotfiles under version control) stays a link.

    Raises:
        InsidersError: the file cannot be written.
    """
    with _says("write", path):
        with contextlib.suppress(FileNotFoundError):
            old_mode = stat.S_IMODE(path.stat().st_mode)  # fails for a link that leads to itself
            mode = old_mode if mode is None else mode
        path = path.resolve()
        make_directory(path.parent)
        descriptor, temporary = tempfile.mkstemp(
            prefix=f".{path.name}.", suffix=UNFINISHED, dir=path.parent
        )
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fchmod(file.fileno(), 0o644 if mode is None else mode)
                os.fsync(file.fileno())
            Path(temporary).replace(path)
        except BaseException:
            remove(Path(temporary))
            raise


class NotAFileError(OSError):
    """Something else is in the place of a file: a FIFO, a socket or a device."""


_KINDS = {stat.S_IFIFO: "FIFO", stat.S_IFSOCK: "socket"}


def open_file(path: Path) -> BinaryIO:
    """Open a regular file for reading, or /dev/null, which stands for an empty one.

    Whatever else is in its place is not opened: a FIFO would be waited for without end, and to open
    a device may do something. A symbolic link is followed.

    Raises:
        NotAFileError: it is no file.
        OSError: it cannot be opened.
    """
    _demand_file(path.stat())
    # It may be another one by now.
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    file = os.fdopen(os.open(path, flags), "rb")
    try:
        _demand_file(os.fstat(file.fileno()))
    except OSError:
        file.close()
        raise
    return file


def _demand_file(status: os.stat_result) -> None:
    if stat.S_ISREG(status.st_mode) or _is_null(status):
        return
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    kind = _KINDS.get(stat.S_IFMT(status.st_mode), "device")
    raise NotAFileError(errno.EINVAL, f"it is a {kind}, not a file")


def _is_null(status: os.stat_result) -> bool:
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == os.makedev(1, 3)


def read_bytes(path: Path) -> bytes:
    """Read a file, as `open_file` opens it.

    Raises:
        OSError: it is no file, or cannot be read.
    """
    with open_file(path) as file:
        return file.read()


def read_all(file: BinaryIO, newline: str | None = None) -> str:
    """Read the rest of a UTF-8 file, with ends of lines as `open` has them."""
    return io.TextIOWrapper(file, encoding="utf-8", newline=newline).read()


def read_text(path: Path, newline: str | None = None, *, is_argument: bool = False) -> str | None:
    """Read a UTF-8 file; `None` where there is none.

    Args:
        path: of the file.
        newline: as of `open`; an empty text keeps the ends of lines as they are.
        is_argument: whether the user has named it for this once, so that it may be a pipe.

    Raises:
        InsidersError: the file is there and cannot be read, or it or a directory above it is a link
            that leads nowhere.
    """
    try:
        with path.open("rb") if is_argument else open_file(path) as file:
            return read_all(file, newline)
    except FileNotFoundError as error:
        link = _broken_link(path)
        if link is not None:  # what it says is not that there is nothing
            what, kind = ("it", "file") if link == path else (f"{link}", "directory")
            raise InsidersError(
                f"cannot read {path}: {what} is a link to {link.readlink()}, which does not exist",
                f"restore that {kind}, or remove the link: `rm {link}`",
            ) from error
        return None
    except UnicodeDecodeError as error:
        raise InsidersError(
            f"cannot read {path}: it is not UTF-8 (byte {error.start})", "save it as UTF-8"
        ) from error
    except OSError as error:
        raise cannot("read", path, error) from error


def _broken_link(path: Path) -> Path | None:
    """Find the link that leads nowhere because of which there is no such path."""
    with contextlib.suppress(OSError):
        for place in (path, *path.parents):
            if place.exists():
                break
            if place.is_symlink():
                return place
    return None


def is_there(path: Path) -> bool:
    """Tell whether there is something at a path; what we may not look at is not."""
    return os.path.exists(path)  # noqa: PTH110 - Path raises where we may not look


def set_aside(path: Path, place: Path | None = None) -> Path:
    """Move away what is in a file's place, under a name that nothing else has; return its new path.

    Args:
        path: a file, or whatever else has taken its place.
        place: what it is called then; by default its name with `.damaged` after it. Where something
            has that name already, a number follows.

    Raises:
        InsidersError: it cannot be moved.
    """
    wanted = place or path.with_name(f"{path.name}.damaged")
    with _says("move away", path):
        for number in itertools.count():
            aside = wanted.with_name(f"{wanted.name}.{number}") if number else wanted
            if not os.path.lexists(aside):
                path.rename(aside)
                return aside
    raise AssertionError  # there is always another number


def sweep(directory: Path) -> None:
    """Remove what `write_atomic` left in a directory when it was killed, an hour ago or longer."""
    for place, _, names in os.walk(directory):
        for name in names:
            path = Path(place, name)
            if not re.fullmatch(r"\..+\.[a-z0-9_]{8}" + re.escape(UNFINISHED), name):
                continue
            with contextlib.suppress(OSError, InsidersError):
                if is_left(path.lstat()) and remove(path):
                    _log.info("removed %s, which was left unfinished", path)


def is_left(status: os.stat_result) -> bool:
    """Tell whether nobody writes a file any more: for an hour, or since a time in the future.

    The clock was wrong then.
    """
    return abs(time.time() - status.st_mtime) > _LEFT_AFTER_S


def list_names(path: Path) -> list[str]:
    """Name what a directory has; nothing where there is no directory.

    Raises:
        InsidersError: it is there and cannot be read.
    """
    try:
        return os.listdir(path)  # noqa: PTH208 - names are all that is wanted
    except FileNotFoundError:
        return []
    except OSError as error:
        raise cannot("read", path, error) from error


def remove(path: Path) -> bool:
    """Remove a file; say whether it was there.

    Raises:
        InsidersError: the file is there and cannot be removed.
    """
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise cannot("remove", path, error) from error
    return True


def make_directory(path: Path) -> Path:
    """Make a directory and its parents where they are missing, for the user alone; return it.

    Raises:
        InsidersError: it cannot be made.

    Source: XDG Base Directory Specification, "Referencing this specification".
    """
    with _says("make the directory", path):
        for directory in (*reversed(path.parents), path):
            with contextlib.suppress(FileExistsError):
                directory.mkdir(mode=0o700)
        if not path.is_dir():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
    return path


def make_temporary(parent: Path) -> Path:
    """Make a directory that nobody else has in another one, which is made where it is missing.

    Raises:
        InsidersError: it cannot be made.
    """
    with _says("make a directory in", make_directory(parent)):
        return Path(tempfile.mkdtemp(dir=parent))


def sha256(path: Path) -> str:
    """Hash a file; hexadecimal.

    Raises:
        OSError: it cannot be read.
    """
    import hashlib

    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def locked(path: Path, on_wait: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold the lock at `path`; wait for whoever holds it.

    The kernel drops the lock with its process, so a crash leaves none behind.

    Args:
        path: the lock file; made where it is missing, and left there.
        on_wait: called once before waiting, if somebody else holds the lock.

    Source: flock(2).
    """
    make_directory(path.parent)
    with _says("lock", path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            on_wait()
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _says(doing: str, path: Path) -> Iterator[None]:
    """Translate whatever the file system refuses into one line that names the file."""
    try:
        yield
    except OSError as error:
        raise cannot(doing, path, error) from error


def cannot(doing: str, path: Path, error: OSError) -> InsidersError:
    """Return the error that names what cannot be done to a path, and what helps."""
    return InsidersError(f"cannot {doing} {path}: {error.strerror or error}", hint_for(error))


def shortage(error: BaseException | None) -> OSError | None:
    """Find out whether an error comes of what this process lacks, whatever it was doing.

    Returns:
        What the system, or else Python, said of that, with a number; `None`: it is no such error.
    """
    seen = set()
    while error is not None and error not in seen:
        if isinstance(error, MemoryError):
            return OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
        if isinstance(error, OSError) and error.errno in SHORTAGES:
            return OSError(error.errno, os.strerror(error.errno))
        seen.add(error)
        error = error.__cause__ or error.__context__
    return None


def hint_for(error: OSError) -> str | None:
    """Say what a person can do about what the file system refused."""
    if isinstance(error, NotAFileError):
        return _IN_ITS_PLACE
    return _HINTS.get(error.errno or 0)


_IN_ITS_PLACE = "move away what is in its place"
_HINTS = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "make room on that disk and try again"),
    **dict.fromkeys((errno.EACCES, errno.EPERM), "check who owns it: `ls -ld`"),
    errno.EROFS: "that file system is mounted read-only",
    **dict.fromkeys(
        (errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ELOOP, errno.ENOTEMPTY),
        _IN_ITS_PLACE,
    ),
    **dict.fromkeys(
        (errno.EMFILE, errno.ENFILE), "close programs, or raise the limit: `ulimit -n`"
    ),
    errno.ENOMEM: "close programs that take much memory; the next update tries again",
}
