"""Publish files to the distributions directory and remove them from it."""

import contextlib
import errno
import logging
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from pypi_insiders.index import archives, distribution, file_contents
from pypi_insiders.index.distribution import DistributionError
from pypi_insiders.index.file_contents import Contents
from pypi_insiders.index.metadata_cache import Entry, Identity, MetadataCache, Origin, describe
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import (
    cannot,
    is_left,
    list_names,
    make_directory,
    remove,
    set_aside,
    sha256,
)
from pypi_insiders.util.trees import remove_tree

_log = logging.getLogger(__name__)

# On the file system of the distributions, so that an upload of a gigabyte is not copied again;
# hidden, so that the index does not serve it.
INBOX = ".upload-"
"""The prefix of the directory of a file that is not published yet."""

_SET_ASIDE = ".set-aside"


def publish(
    directory: Path,
    cache: MetadataCache,
    files: Iterable[Path],
    origin: Origin | None = None,
    intend: Callable[[dict[str, str]], None] = lambda _files: None,
) -> tuple[dict[str, str], list[str]]:
    """Publish files, each atomically; a published file never changes.

    An existing file of the same name, in any spelling, is kept; a difference is logged. All files
    are written before the first is visible; if one fails, none is published.

    Args:
        directory: the distributions directory; created if missing.
        cache: gets the entries of the files.
        files: finished files on any file system.
        origin: the tag that they were built from.
        intend: called before the first file becomes visible, with the sha256 of each new file.

    Returns:
        The files that are published now, file name to sha256 in hexadecimal, without those whose
        name another file has; and the names of the new files.

    Raises:
        DistributionError: a file is damaged, unsafe to unpack, or of another release than its name;
            none is published.
        InsidersError: a file cannot be written; none is published.
    """
    make_directory(directory)
    checked = []
    # All files are read before any is written: a damaged file stops the release as a whole.
    for file in files:
        with _says(directory, file):
            checked.append((file, file_contents.read(file)))
            archives.check(file)
    checked = _unpublished(directory, cache, checked)
    with contextlib.ExitStack() as stack:
        copies = {}
        for file, _ in checked:
            with _says(directory, file):
                # lexists(): a dangling link occupies the name too, and must not be followed.
                if not os.path.lexists(directory / file.name):
                    copies[file.name] = stack.enter_context(_copied(directory, file))
        if copies:
            # From here on, a killed process leaves in the state what the next one has to finish or
            # to take back.
            intend({file.name: known.sha256 for file, known in checked if file.name in copies})
        return _show(directory, cache, checked, copies, origin)


def _unpublished(
    directory: Path, cache: MetadataCache, checked: list[tuple[Path, Contents]]
) -> list[tuple[Path, Contents]]:
    """Leave out files that are published under another spelling of their name."""
    # A lost file comes back under the name that it had.
    names = [file.name for file, _ in checked if cache.entry(file.name) is None]
    found = distribution.twins(names, list_names(directory)) if names else {}
    for name, other in found.items():
        _log.warning("%s is already published as %s; keeping the old file", name, other)
    return [(file, contents) for file, contents in checked if file.name not in found]


def _show(
    directory: Path,
    cache: MetadataCache,
    checked: Iterable[tuple[Path, Contents]],
    copies: Mapping[str, Path],
    origin: Origin | None,
) -> tuple[dict[str, str], list[str]]:
    """Rename the copies to their final names: all of them or none."""
    digests: dict[str, str] = {}
    new: list[str] = []
    before = {name: cache.entry(name) for name in copies}
    try:
        for file, contents in checked:
            copy = copies.get(file.name)
            with _says(directory, file):
                if copy and _publish(cache, copy, directory / file.name, contents, origin):
                    new.append(file.name)
                elif not _is_same(directory / file.name, contents):
                    _log.warning(
                        "%s is already published with different content; keeping the old file",
                        file.name,
                    )
                    continue
            digests[file.name] = contents.sha256
        # One fsync(2) of the directory, for the names of all files: it is slow.
        if new:
            with _says(directory, directory / new[-1]):
                _sync_directory(directory)
    # BaseException: SIGTERM and Ctrl-C are raised as KeyboardInterrupt.
    except BaseException:
        with contextlib.suppress(InsidersError):
            unpublish(directory, new)
        for name, entry in before.items():
            if not os.path.lexists(directory / name):
                _restore(cache, name, entry)
        raise
    return digests, new


def _is_same(path: Path, contents: Contents) -> bool:
    # Reading a pipe of that name would block.
    return stat.S_ISREG(path.lstat().st_mode) and sha256(path) == contents.sha256


@contextlib.contextmanager
def _says(directory: Path, file: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise cannot(f"publish {file.name} in", directory, error) from error


@contextlib.contextmanager
def _copied(directory: Path, file: Path) -> Iterator[Path]:
    """Copy a file into the directory, under a hidden name."""
    descriptor, temporary = tempfile.mkstemp(prefix=f".{file.name}.", dir=directory)
    try:
        with os.fdopen(descriptor, "wb") as copy, file.open("rb") as original:
            shutil.copyfileobj(original, copy)
            copy.flush()
            # mkstemp() creates files with mode 0600; a web server of another user may serve the
            # directory.
            os.fchmod(copy.fileno(), 0o644)
            # Before the rename: after a power cut a file of that name could be empty.
            os.fsync(copy.fileno())
        yield Path(temporary)
    finally:
        remove(Path(temporary))


def _publish(
    cache: MetadataCache, copy: Path, target: Path, contents: Contents, origin: Origin | None
) -> bool:
    """Rename a copy to its final name; return whether the name was free."""
    known = cache.entry(target.name)
    # A lost file that was built again keeps the time of its first publication.
    is_again = known is not None and known.sha256 == contents.sha256
    published_us = known.published_us if known and is_again else time.time_ns() // 1000
    entry = describe(Entry(target.name, Identity.of(copy.stat())), contents, published_us, origin)
    # Before the file is visible: the server then finds its entry and does not examine it.
    cache.put(entry, contents.metadata)
    try:
        _move(copy, target)
    except FileExistsError:
        _restore(cache, target.name, known)  # another process has published it meanwhile
        return False
    return True


def _restore(cache: MetadataCache, name: str, entry: Entry | None) -> None:
    if entry is None:
        cache.forget([name])
    else:
        cache.put(entry, None)


def _move(temporary: Path, target: Path) -> None:
    """Rename a file without replacing an existing one."""
    try:
        # link(2) fails if the name is taken; rename(2) would replace it, and a published file never
        # changes. renameat2(2) with RENAME_NOREPLACE is not in Python.
        target.hardlink_to(temporary)
    except FileExistsError:
        raise
    except OSError as error:
        # EPERM: the file system has no hard links; EOPNOTSUPP: some network and FUSE file systems;
        # EMLINK: too many links. Source: link(2).
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK) or target.exists():
            raise
        # Not atomic with the check above, but the best that such a file system offers.
        temporary.rename(target)


def _sync_directory(directory: Path) -> None:
    # Otherwise a power cut may undo a rename. Source: fsync(2).
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def present(directory: Path, names: Iterable[str]) -> list[str]:
    """Return which of these files exist in the directory.

    Raises:
        InsidersError: the directory cannot be searched.
    """
    try:
        return [name for name in names if (directory / name).exists()]
    except OSError as error:
        raise cannot("read", directory, error) from error


def unpublish(directory: Path, names: Iterable[str]) -> list[str]:
    """Remove files from the index; return those that existed.

    Raises:
        InsidersError: a file cannot be removed.
    """
    return [name for name in names if remove(directory / name)]


def put_aside(directory: Path, name: str) -> Path:
    """Move a file out of the index, under a name that is never used again.

    Returns:
        Its new path.

    Raises:
        InsidersError: the file cannot be moved.
    """
    place = make_directory(directory / _SET_ASIDE)
    return set_aside(directory / name, place / name)


def sweep(directory: Path) -> None:
    """Remove the temporary files that killed publications left, an hour ago or longer."""
    with contextlib.suppress(OSError), os.scandir(directory) as items:
        for item in items:
            # One may be gone since it was listed: finished, or swept by another process.
            with contextlib.suppress(OSError, InsidersError):
                if _is_unfinished(item.name) and is_left(item.stat(follow_symlinks=False)):
                    is_inbox = item.is_dir(follow_symlinks=False)
                    (remove_tree if is_inbox else remove)(Path(item.path))
                    _log.info("removed the unfinished %s", item.path)


def _is_unfinished(name: str) -> bool:
    """Return whether a name is that of a temporary file or directory of a publication."""
    if name.startswith(INBOX):
        return True
    try:
        distribution.release_of(name.rpartition(".")[0].removeprefix("."))
    except DistributionError:
        return False
    return name.startswith(".")
