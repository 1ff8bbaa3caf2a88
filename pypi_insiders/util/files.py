"""Read, write, lock and remove files; a reader never sees a partly written one."""

import contextlib
import errno
import fcntl
import io
import itertools
import logging
import os
import re
import shlex
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from pypi_insiders.util.errors import InsidersError

_log = logging.getLogger(__name__)

UNFINISHED = ".unfinished"
"""Suffix of the temporary files of `write_atomic`."""
SHORTAGES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
"""Error numbers of exhausted process or system limits."""
# A temporary file is written within seconds; an hour also allows for a stopped process.
_LEFT_AFTER_S = 3600


def write_atomic(path: Path, text: str, mode: int | None = None) -> None:
    """Write a text file in one step: a crash leaves either the old file or the new one.

    Missing parent directories are created.

    Args:
        path: the file.
        text: its new content.
        mode: its new mode (default: the old file's mode, or 0644).

    Raises:
        InsidersError: the file cannot be written.
    """
    import tempfile

    with _translated("write", path):
        with contextlib.suppress(FileNotFoundError):
            # Before `resolve`, which does not complain of a link that refers to itself.
            old_mode = stat.S_IMODE(path.stat().st_mode)
            mode = old_mode if mode is None else mode
        # A symbolic link stays one: dotfiles are often kept elsewhere, under version control.
        path = path.resolve()
        make_directory(path.parent)
        descriptor, temporary = tempfile.mkstemp(
            prefix=f".{path.name}.", suffix=UNFINISHED, dir=path.parent
        )
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                # mkstemp creates it with mode 0600, so a secret is never readable by others.
                os.fchmod(file.fileno(), 0o644 if mode is None else mode)
                # Before the rename: after a power failure some file systems would otherwise have
                # the new name with an empty file.
                os.fsync(file.fileno())
            Path(temporary).replace(path)
        except BaseException:
            remove(Path(temporary))
            raise


class NotAFileError(OSError):
    """A path is not a regular file: it is a FIFO, a socket or a device."""


_KINDS = {stat.S_IFIFO: "FIFO", stat.S_IFSOCK: "socket"}


def open_file(path: Path) -> BinaryIO:
    """Open a regular file for reading, or /dev/null, which counts as an empty one.

    Symbolic links are followed.

    Raises:
        NotAFileError: it is not a regular file.
        OSError: it cannot be opened.
    """
    # Before it is opened: opening a FIFO blocks until a writer comes, opening a device may act.
    _demand_file(path.stat(), path)
    # It may have been replaced since, so the open does not block and the file is checked again.
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    file = os.fdopen(os.open(path, flags), "rb")
    try:
        _demand_file(os.fstat(file.fileno()), path)
    except OSError:
        file.close()
        raise
    return file


def _demand_file(status: os.stat_result, path: Path) -> None:
    if stat.S_ISREG(status.st_mode) or _is_null(status):
        return
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    kind = _KINDS.get(stat.S_IFMT(status.st_mode), "device")
    raise NotAFileError(errno.EINVAL, f"it is a {kind}, not a file", str(path))


def _is_null(status: os.stat_result) -> bool:
    # Device 1:3 of Linux. A link to /dev/null is systemd's way to mask a file.
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == os.makedev(1, 3)


def read_bytes(path: Path) -> bytes:
    """Read a regular file.

    Raises:
        OSError: it is not a regular file, or cannot be read.
    """
    with open_file(path) as file:
        return file.read()


def read_all(file: BinaryIO, newline: str | None = None) -> str:
    """Read the rest of a UTF-8 file, with `newline` as in `open`."""
    return io.TextIOWrapper(file, encoding="utf-8", newline=newline).read()


def read_text(path: Path, newline: str | None = None, *, is_argument: bool = False) -> str | None:
    """Read a UTF-8 file; return `None` if it does not exist.

    Args:
        path: the file.
        newline: as in `open`; an empty text keeps line ends as they are.
        is_argument: whether the user named the file on the command line; then it may be a pipe,
            such as `<(...)` in bash.

    Raises:
        InsidersError: the file exists and cannot be read, or a link on its path is broken.
    """
    try:
        with path.open("rb") if is_argument else open_file(path) as file:
            return read_all(file, newline)
    except FileNotFoundError as error:
        # A broken link is an accident (an unmounted disk, moved dotfiles): settings behind it must
        # not silently become the defaults.
        link = _broken_link(path)
        if link is not None:
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
    """Find the broken link that makes a path not found."""
    with contextlib.suppress(OSError):
        for place in (path, *path.parents):
            if place.exists():
                break
            if place.is_symlink():
                return place
    return None


def is_there(path: Path) -> bool:
    """Return whether a path exists; `False` if permission to look is missing."""
    return os.path.exists(path)  # noqa: PTH110 - Path.exists raises PermissionError


def set_aside(path: Path, place: Path | None = None) -> Path:
    """Rename a damaged file, or anything else at its path, to an unused name; return the new path.

    Args:
        path: the file, directory or other object.
        place: its new path (default: the old one with `.damaged` appended). If that exists, a
            number is appended.

    Raises:
        InsidersError: it cannot be renamed.
    """
    wanted = place or path.with_name(f"{path.name}.damaged")
    with _translated("move away", path):
        for number in itertools.count():
            # lexists: a broken link occupies the name, too, and rename would replace it.
            aside = wanted.with_name(f"{wanted.name}.{number}") if number else wanted
            if not os.path.lexists(aside):
                path.rename(aside)
                return aside
    raise AssertionError  # itertools.count() does not end


def sweep(directory: Path) -> None:
    """Remove the temporary files below a directory that a killed `write_atomic` left behind."""
    for place, _, names in os.walk(directory):
        for name in names:
            # Exactly the names that mkstemp makes: a user's own file must not match.
            if not re.fullmatch(r"\..+\.[a-z0-9_]{8}" + re.escape(UNFINISHED), name):
                continue
            path = Path(place, name)
            with contextlib.suppress(OSError, InsidersError):
                if is_left(path.lstat()) and remove(path):
                    _log.info("removed unfinished file %s", path)


def is_left(status: os.stat_result) -> bool:
    """Return whether a file has not been written to for an hour."""
    # abs: a time in the future comes from a wrong clock, and would keep the file for ever.
    return abs(time.time() - status.st_mtime) > _LEFT_AFTER_S


def list_names(path: Path) -> list[str]:
    """Return the names in a directory; empty if it does not exist.

    Raises:
        InsidersError: it exists and cannot be read.
    """
    try:
        return os.listdir(path)  # noqa: PTH208 - names are all that is wanted
    except FileNotFoundError:
        return []
    except OSError as error:
        raise cannot("read", path, error) from error


def remove(path: Path) -> bool:
    """Remove a file; return whether it existed.

    Raises:
        InsidersError: the file exists and cannot be removed.
    """
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise cannot("remove", path, error) from error
    return True


def make_directory(path: Path) -> Path:
    """Create a directory and its missing parents with mode 0700; return it.

    Raises:
        InsidersError: it cannot be created.

    Source: XDG Base Directory Specification, "Referencing this specification".
    """
    with _translated("create the directory", path):
        # Not mkdir(parents=True), which gives the parents the default mode.
        for directory in (*reversed(path.parents), path):
            with contextlib.suppress(FileExistsError):
                directory.mkdir(mode=0o700)
        if not path.is_dir():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
    return path


def make_temporary(parent: Path) -> Path:
    """Create a new directory with a unique name; create its parent if missing.

    Raises:
        InsidersError: it cannot be created.
    """
    import tempfile

    with _translated("create a directory in", make_directory(parent)):
        return Path(tempfile.mkdtemp(dir=parent))


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal.

    Raises:
        OSError: it is not a regular file, or cannot be read.
    """
    import hashlib

    with open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]


@contextlib.contextmanager
def locked(path: Path, on_wait: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold a file lock in this context; wait until another process releases it.

    Args:
        path: the lock file; created if missing, never removed.
        on_wait: called once before waiting.

    Source: flock(2).
    """
    make_directory(path.parent)
    with _translated("lock", path):
        # Never removed: a process that waits for the old file and one that locks a new file of the
        # same name would both hold "the" lock.
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            on_wait()
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        # Releases the lock; so does the kernel when the process ends, so a crash leaves none.
        os.close(descriptor)


def is_locked(path: Path) -> bool:
    """Return whether a process has a file lock, without waiting for it. Source: flock(2)."""
    try:
        # Without O_CREAT: a check must not create the lock, and the sandboxed server cannot.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        # Shared, so that two checks at once do not take each other for its holder.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False


@contextlib.contextmanager
def _translated(doing: str, path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise cannot(doing, path, error) from error


def cannot(doing: str, path: Path, error: OSError) -> InsidersError:
    """Return the error for a failed operation on a path, with its hint."""
    reason = error.strerror or error
    return InsidersError(f"cannot {doing} {path}: {reason}", hint_for(error, path))


def shortage(error: BaseException | None) -> OSError | None:
    """Return the error of an exhausted limit (memory, open files) that caused an error.

    Returns:
        A new `OSError` without a file name; `None` if there is no such cause.
    """
    # Through the whole chain: libraries wrap the error, and the file at which the limit was met is
    # an accident. A chain can be circular.
    seen = set()
    while error is not None and error not in seen:
        if isinstance(error, MemoryError):
            return OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
        if isinstance(error, OSError) and error.errno in SHORTAGES:
            return OSError(error.errno, os.strerror(error.errno))
        seen.add(error)
        error = error.__cause__ or error.__context__
    return None


def hint_for(error: OSError, path: Path | None = None) -> str | None:
    """Return the hint for an error of the file system.

    Args:
        error: the error.
        path: what the user knows of (default: the file of the error).
    """
    if isinstance(error, NotAFileError):
        return _MOVE_AWAY
    if error.errno in (errno.EACCES, errno.EPERM):
        place = path or error.filename
        # Of each directory too: one may be closed, and the file be missing. A number is no path.
        is_path = isinstance(place, str | bytes | Path)
        look = f": `namei -l {shlex.quote(os.fsdecode(place))}`" if is_path else ""
        return f"check its owner and mode{look}"
    return _HINTS.get(error.errno or 0)


_MOVE_AWAY = "move that file or directory away"
_HINTS = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "free space on that disk and try again"),
    errno.EROFS: "that file system is mounted read-only",
    **dict.fromkeys(
        (errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ELOOP, errno.ENOTEMPTY),
        _MOVE_AWAY,
    ),
    **dict.fromkeys(
        (errno.EMFILE, errno.ENFILE), "close programs, or raise the limit: `ulimit -n`"
    ),
    errno.ENOMEM: "close programs that take much memory; the next update tries again",
}
