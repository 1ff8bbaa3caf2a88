"""Write and remove the files of an export to a directory, readable for a web server."""

import errno
import logging
import os
import tempfile
import time
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path

from pypi_insiders.util.files import read_bytes, remove
from pypi_insiders.util.trees import remove_tree

_log = logging.getLogger(__name__)

TEMPORARY = ".export-"
"""The start of the names of temporary files."""


def make_directory(path: Path) -> Path:
    """Create a directory that the web server's user can read; return its path.

    Raises:
        OSError: it cannot be created, or something else is in its place.
    """
    try:
        path.mkdir()
    except FileExistsError:
        if path.is_symlink() or not path.is_dir():  # a link may point to files of others
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path) from None
    else:
        # chmod(), as the umask of the user restricts the mode of mkdir().
        path.chmod(0o755)
    return path


def write(path: Path, content: bytes) -> bool:
    """Write a file unless it has this content already; return whether it was written.

    Raises:
        OSError: it cannot be read or written.
    """
    changed_ns = time.time_ns()
    with suppress(FileNotFoundError):
        if read_bytes(path) == content:
            return False
        # At least a second later, as nginx's ETag and rsync compare size and seconds.
        changed_ns = max(changed_ns, (int(path.stat().st_mtime) + 1) * 1_000_000_000)
    put(path, [content], changed_ns)
    return True


def write_all(directory: Path, contents: Iterable[tuple[str, bytes]]) -> int:
    """Write files below a directory, unless they have their content; return how many were written.

    Args:
        directory: of the export.
        contents: path below it, and content; its directories are created.

    Raises:
        OSError: a file cannot be read or written.
    """
    written, made = 0, {"."}
    for name, content in contents:
        for parent in reversed(Path(name).parents):
            if str(parent) not in made:
                make_directory(directory / parent)
                made.add(str(parent))
        written += write(directory / name, content)
    return written


def put(path: Path, blocks: Iterable[bytes], mtime_ns: int) -> None:
    """Write a file atomically.

    Raises:
        OSError: it cannot be written.
    """
    descriptor, temporary = tempfile.mkstemp(prefix=TEMPORARY, dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.writelines(blocks)
            file.flush()
            os.fchmod(descriptor, 0o644)
            os.utime(descriptor, ns=(mtime_ns, mtime_ns))
            os.fsync(descriptor)
        Path(temporary).replace(path)
    except BaseException:
        remove(Path(temporary))
        raise


def sweep(directory: Path, expected: Collection[str]) -> list[str]:
    """Remove all but the expected entries of a directory; return their names.

    Raises:
        OSError, InsidersError: an entry cannot be removed.
    """
    with os.scandir(directory) as items:
        gone = [item for item in items if item.name not in expected]
    for item in gone:
        is_tree = item.is_dir(follow_symlinks=False)
        (remove_tree if is_tree else remove)(Path(item.path))
        _log.debug("removed %s", item.path)
    return [item.name for item in gone]
