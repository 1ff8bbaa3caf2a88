"""Remove and walk directories, however deep and whoever made them."""

import contextlib
import errno
import itertools
import logging
import os
from collections.abc import Iterator
from pathlib import Path

from pypi_insiders.util.files import cannot

_log = logging.getLogger(__name__)


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


def _remove_directory(path: Path, *, force: bool) -> None:
    """Remove a directory, however deep others lie in it, and without following any link.

    Paths may be longer than the kernel takes, so each directory is opened in its parent. There may
    be more levels than files that may be open, and than calls that Python lets lie in each other:
    what lies deeper is moved up first.

    Args:
        path: not a link.
        force: whether to open directories that are closed to us.

    Raises:
        OSError: the first of what cannot be removed; the rest is removed.

    Source: openat(2), renameat(2).
    """
    root = _open_directory(path, None, force=force)
    trouble: OSError | None = None
    try:
        numbers = itertools.count()
        stuck: set[str] = set()
        while names := [name for name in _listed(root) if name not in stuck]:
            for name in names:
                try:
                    _remove_in(root, name, numbers, force=force)
                except OSError as error:
                    trouble = trouble or error
                    stuck.add(name)
    finally:
        os.close(root)
    if trouble is not None:
        raise trouble
    path.rmdir()


def _remove_in(root: int, name: str, numbers: Iterator[int], *, force: bool) -> None:
    """Remove a file or a directory; what is below that directory is moved to the root."""
    try:
        os.unlink(name, dir_fd=root)
    except IsADirectoryError:
        directory = _open_directory(name, root, force=force)
    else:
        return
    try:
        for inner in _listed(directory):
            try:
                os.unlink(inner, dir_fd=directory)
            except IsADirectoryError:
                if force:  # only what we may write to can be moved
                    os.close(_open_directory(inner, directory, force=True))
                _move_up(root, directory, inner, numbers)
    finally:
        os.close(directory)
    os.rmdir(name, dir_fd=root)


def _listed(directory: int) -> list[str]:
    return os.listdir(directory)


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
    # What is opened so is that directory whatever has its name by now.
    place = os.open(name, flags | os.O_PATH, dir_fd=parent)
    try:
        os.chmod(f"/proc/self/fd/{place}", 0o700)  # noqa: PTH101 - no path
        return os.open(f"/proc/self/fd/{place}", os.O_DIRECTORY | os.O_CLOEXEC)
    finally:
        os.close(place)


def walk(root: Path) -> Iterator[tuple[Path, list[str], list[str]]]:
    """Yield each directory and the names of the directories and of the files in it, top down.

    As os.walk, whose caller may remove names too, however deep directories lie in each other:
    before Python 3.12 that one fails at a thousand.

    Raises:
        OSError: a directory cannot be read.

    Source: https://github.com/python/cpython/issues/89727
    """
    waiting = [root]
    while waiting:
        place = waiting.pop()
        directories: list[str] = []
        files: list[str] = []
        with os.scandir(place) as entries:
            for entry in entries:
                is_directory = entry.is_dir(follow_symlinks=False)
                (directories if is_directory else files).append(entry.name)
        yield place, directories, files
        waiting += [place / name for name in directories]


def files_below(root: Path) -> Iterator[Path]:
    """Yield the regular files below a directory that foreign code has filled, in a fixed order.

    However deep directories lie in each other; no symbolic link is followed. What cannot be read is
    left out.
    """
    waiting = [root]
    while waiting:
        with contextlib.suppress(OSError):
            entries = sorted(os.scandir(waiting.pop()), key=lambda entry: entry.name)
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(Path(entry.path))
                elif entry.is_file(follow_symlinks=False):
                    yield Path(entry.path)
