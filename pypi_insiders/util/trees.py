"""Remove and walk directories, however deep and whoever made them."""

import contextlib
import errno
import itertools
import logging
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import cannot

_log = logging.getLogger(__name__)

_MOST_STUCK = 1000
_MOST_ENTRIES = 200_000


class TooManyError(InsidersError):
    """Below a directory lies more than can be listed."""

    def __init__(self) -> None:
        super().__init__(f"it has more than {_MOST_ENTRIES} files and directories")


def remove_tree(path: Path) -> bool:
    """Remove a directory with all that is in it; say whether it was there.

    Raises:
        InsidersError: something in it cannot be removed.
    """
    try:
        _remove_directory(path, force=False)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise cannot("remove", path, error) from error
    return True


def remove_foreign_tree(path: Path) -> None:
    """Remove a directory in which foreign code has written, as far as that goes.

    It may have closed directories even to us, whose they are. What is left is in the log, and
    stops nothing else.
    """
    try:
        _remove_directory(path, force=True)
    except FileNotFoundError:
        pass
    except OSError as error:
        _log.warning("%s", cannot("remove all of", path, error).message)


def open_to_us(path: Path) -> None:
    """Let ourselves read a file, or read and change a directory, that foreign code may have closed.

    Raises:
        OSError: that cannot be done, as with a link, which is not followed.
    """
    place = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        _open_up(place, 0o700 if stat.S_ISDIR(os.fstat(place).st_mode) else 0o600)
    finally:
        os.close(place)


def _open_up(place: int, mode: int) -> None:
    """Change the mode of what was opened with `O_PATH`, whatever has its name by now."""
    os.chmod(f"/proc/self/fd/{place}", mode)  # noqa: PTH101 - no path


def _remove_directory(path: Path, *, force: bool) -> None:
    """Remove a directory, however deep others lie in it, and without following any link.

    Paths may be longer than the kernel takes, so each directory is opened in its parent. There may
    be more levels than files that may be open, and than calls that Python lets lie in each other:
    what lies deeper is moved up first.

    Args:
        path: not a link.
        force: whether to open directories that are closed to us.

    Raises:
        OSError: the first of what cannot be removed; the rest is removed, unless that is very much.

    Source: openat(2), renameat(2); readdir(3), of what is removed meanwhile.
    """
    root = _open_directory(path, None, force=force)
    trouble: OSError | None = None
    try:
        numbers = itertools.count()
        stuck: set[str] = set()
        is_empty = False
        while not is_empty and len(stuck) <= _MOST_STUCK:
            is_empty = True
            with os.scandir(root) as entries:  # names are not listed: there may be very many
                for name in (entry.name for entry in entries if entry.name not in stuck):
                    is_empty = False
                    try:
                        _remove_in(root, name, numbers, force=force)
                    except OSError as error:
                        trouble = trouble or error
                        stuck.add(name)
                        if len(stuck) > _MOST_STUCK:
                            break
    finally:
        os.close(root)
    if trouble is not None:
        raise trouble
    path.rmdir()


def _remove_in(root: int, name: str, numbers: Iterator[int], *, force: bool) -> None:
    """Remove a file or a directory; what is below that directory is moved to the root."""
    try:
        os.unlink(name, dir_fd=root)
    except FileNotFoundError:  # the reader had it from before it was removed
        return
    except IsADirectoryError:
        directory = _open_directory(name, root, force=force)
    else:
        return
    try:
        is_empty = False
        while not is_empty:
            is_empty = True
            with os.scandir(directory) as entries:
                for inner in entries:
                    is_empty = False
                    _take_out(root, directory, inner.name, numbers, force=force)
    finally:
        os.close(directory)
    os.rmdir(name, dir_fd=root)


def _take_out(root: int, directory: int, name: str, numbers: Iterator[int], *, force: bool) -> None:
    try:
        os.unlink(name, dir_fd=directory)
    except FileNotFoundError:
        pass
    except IsADirectoryError:
        if force:  # only what we may write to can be moved
            os.close(_open_directory(name, directory, force=True))
        _move_up(root, directory, name, numbers)


def _move_up(root: int, directory: int, name: str, numbers: Iterator[int]) -> None:
    for number in numbers:
        try:
            os.rename(name, f".removed-{number}", src_dir_fd=directory, dst_dir_fd=root)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
                raise
        else:
            return


def _open_directory(name: Path | str, parent: int | None, *, force: bool) -> int:
    flags = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    if not force:
        return os.open(name, flags, dir_fd=parent)
    place = os.open(name, flags | os.O_PATH, dir_fd=parent)
    try:
        _open_up(place, 0o700)
        return os.open(f"/proc/self/fd/{place}", os.O_DIRECTORY | os.O_CLOEXEC)
    finally:
        os.close(place)


def paths_below(root: Path, *, but: str) -> Iterator[Path]:
    """Yield all that is below a directory, as it is read: a directory may have very many names.

    However deep directories lie in each other, unlike os.walk before Python 3.12; no symbolic link
    is followed.

    Args:
        root: the directory.
        but: the name of directories that are left out.

    Raises:
        OSError: a directory cannot be read.

    Source: https://github.com/python/cpython/issues/89727
    """
    waiting = [root]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                path = Path(entry.path)
                if entry.is_dir(follow_symlinks=False):
                    if entry.name == but:
                        continue
                    waiting.append(path)
                yield path


def files_below(root: Path) -> Iterator[Path]:
    """Yield the regular files below a directory that foreign code has filled, in a fixed order.

    However deep directories lie in each other; no symbolic link is followed. What cannot be read is
    left out.

    Raises:
        TooManyError: there is more than may be listed: nobody knows how many names a directory has.
    """
    waiting, left = [root], _MOST_ENTRIES
    while waiting:
        place = waiting.pop()
        names: list[tuple[str, bool]] = []
        with contextlib.suppress(OSError), os.scandir(place) as entries:
            for entry in entries:
                left -= 1
                if left < 0:
                    raise TooManyError
                is_directory = entry.is_dir(follow_symlinks=False)
                if is_directory or entry.is_file(follow_symlinks=False):
                    names.append((entry.name, is_directory))
        for name, is_directory in sorted(names):
            if is_directory:
                waiting.append(place / name)
            else:
                yield place / name
