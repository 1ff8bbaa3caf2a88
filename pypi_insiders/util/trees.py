"""Remove and walk directory trees of any depth, also those that foreign code has made."""

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

# Both bound the memory for names: foreign code can make millions of files within minutes.
_MOST_STUCK = 1000
_MOST_ENTRIES = 200_000


class TooManyError(InsidersError):
    """A directory tree has too many entries to list."""

    def __init__(self) -> None:
        super().__init__(f"it has more than {_MOST_ENTRIES} files and directories")


def remove_tree(path: Path) -> bool:
    """Remove a directory tree; return whether it existed.

    Raises:
        InsidersError: a file or directory in it cannot be removed.
    """
    try:
        _remove_directory(path, force=False)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise cannot("remove", path, error) from error
    return True


def remove_foreign_tree(path: Path) -> None:
    """Remove a directory tree in which foreign code has written; log what cannot be removed."""
    try:
        # The code may have taken away our permissions on its directories (mode 000).
        _remove_directory(path, force=True)
    except FileNotFoundError:
        pass
    except OSError as error:
        # No error: the next sweep tries again, and the update has nothing to do with it.
        _log.warning("%s", cannot("remove all of", path, error).message)


def open_to_us(path: Path) -> None:
    """Give this user permission to read a file, or to read and change a directory.

    Raises:
        OSError: the mode cannot be changed, or the path is a link.
    """
    # O_PATH needs no permission on the file, and O_NOFOLLOW keeps the change off a link's target.
    place = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        _open_up(place, 0o700 if stat.S_ISDIR(os.fstat(place).st_mode) else 0o600)
    finally:
        os.close(place)


def _open_up(place: int, mode: int) -> None:
    # fchmod refuses O_PATH descriptors. By descriptor and not by name, which may have been
    # replaced by a link since.
    os.chmod(f"/proc/self/fd/{place}", mode)  # noqa: PTH101 - no path


def _remove_directory(path: Path, *, force: bool) -> None:
    """Remove a directory tree without following links.

    Args:
        path: not a link.
        force: whether to change the mode of closed directories.

    Raises:
        OSError: the first error; the rest of the tree is removed, up to `_MOST_STUCK` errors.

    Source: openat(2), renameat(2); readdir(3), of what is removed meanwhile.
    """
    # Not shutil.rmtree: a tree may be deeper than the longest path that the kernel takes, than the
    # files that may be open, and than Python's recursion limit. So each directory is opened in its
    # parent, and its subdirectories are first moved up to the root.
    root = _open_directory(path, None, force=force)
    first_error: OSError | None = None
    try:
        numbers = itertools.count()
        stuck: set[str] = set()
        # readdir may skip or repeat names while others are removed, so until a pass finds none.
        is_empty = False
        while not is_empty and len(stuck) <= _MOST_STUCK:
            is_empty = True
            with os.scandir(root) as entries:  # streamed: there may be millions of names
                for name in (entry.name for entry in entries if entry.name not in stuck):
                    is_empty = False
                    try:
                        _remove_in(root, name, numbers, force=force)
                    except OSError as error:
                        first_error = first_error or error
                        stuck.add(name)
                        if len(stuck) > _MOST_STUCK:
                            break
    finally:
        os.close(root)
    if first_error is not None:
        raise first_error
    path.rmdir()


def _remove_in(root: int, name: str, numbers: Iterator[int], *, force: bool) -> None:
    """Remove a file, or a directory whose subdirectories are moved up to the root."""
    try:
        # Tried first instead of a stat: the kernel says EISDIR, and there is no race.
        os.unlink(name, dir_fd=root)
    except FileNotFoundError:  # a stale entry of readdir
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
        if force:  # moving a directory changes its `..`, which needs write permission on it
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


def target_in(path: Path, tree: Path) -> Path | None:
    """Return a path with all links followed; `None` if it leads out of a work tree, or to its .git.

    Args:
        path: a path that foreign code may have written.
        tree: the work tree.
    """
    # Not Path.resolve(), which raises for a link to itself before Python 3.13.
    target, root = Path(os.path.realpath(path)), Path(os.path.realpath(tree))
    is_in_tree = target.is_relative_to(root) and ".git" not in target.relative_to(root).parts
    return target if is_in_tree else None


def paths_below(root: Path, *, but: str) -> Iterator[Path]:
    """Yield the paths below a directory in the order in which they are read.

    Symbolic links are not followed.

    Args:
        root: the directory.
        but: the name of directories to skip.

    Raises:
        OSError: a directory cannot be read.
    """
    # Not os.walk, which recurses before Python 3.12 and lists whole directories.
    # Source: https://github.com/python/cpython/issues/89727
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
    """Yield the regular files below a directory of foreign code, in a fixed order.

    Symbolic links are not followed, unreadable directories are skipped.

    Raises:
        TooManyError: the tree has too many entries.
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
