"""Keep the directory of distributions that the index serves."""

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
from pypi_insiders.util.files import cannot, is_left, make_directory, remove, set_aside, sha256
from pypi_insiders.util.trees import remove_tree

_log = logging.getLogger(__name__)

# On the disk of the distributions, so that an upload of a gigabyte is not copied once more; the
# index shows nothing that begins with a dot.
INBOX = ".upload-"
"""How the directory of a file begins that is not published yet."""

_SET_ASIDE = ".set-aside"


def publish(
    directory: Path,
    cache: MetadataCache,
    files: Iterable[Path],
    origin: Origin | None = None,
    intend: Callable[[dict[str, str]], None] = lambda _files: None,
) -> tuple[dict[str, str], list[str]]:
    """Make distributions visible to the index, each in one step; nothing published ever changes.

    A file of the same name that is there already stays as it is; if it differs, the log says so.
    All files are written before the first one is visible; if one fails, none of them stays.

    Args:
        directory: the distributions directory; made where it is missing.
        cache: in which they are entered.
        files: finished files on any file system.
        origin: what they were built from.
        intend: called before any file becomes visible, with the sha256 of each that is to.

    Returns:
        Those that the directory holds now, file name to sha256 in hexadecimal, without names under
        which it holds something else; and the names of those that were not there before.

    Raises:
        DistributionError: one is damaged, has what would land outside, or is another release than
            its name says; none of the files is visible.
        InsidersError: a file cannot be written; no new file is visible.
    """
    make_directory(directory)
    checked = []
    # All are read before any is written: one that is damaged stops the release as a whole.
    for file in files:
        with _says(directory, file):
            checked.append((file, file_contents.read(file)))
            archives.check(file)
    with contextlib.ExitStack() as stack:
        copies = {}
        for file, _ in checked:
            with _says(directory, file):
                # lexists(): a link that leads nowhere has the name too, and must not be followed.
                if not os.path.lexists(directory / file.name):
                    copies[file.name] = stack.enter_context(_copied(directory, file))
        if copies:
            # Whoever is killed from here on has left in the state what to finish or to take back.
            intend({file.name: known.sha256 for file, known in checked if file.name in copies})
        return _show(directory, cache, checked, copies, origin)


def _show(
    directory: Path,
    cache: MetadataCache,
    checked: Iterable[tuple[Path, Contents]],
    copies: Mapping[str, Path],
    origin: Origin | None,
) -> tuple[dict[str, str], list[str]]:
    """Give copies the names of their files: all of them, or else none."""
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
                        "%s is published already, with other content; it stays as it is", file.name
                    )
                    continue
            digests[file.name] = contents.sha256
        # One fsync of the directory for all files, which makes their names last.
        if new:
            with _says(directory, directory / new[-1]):
                _sync_directory(directory)
    # SIGTERM and Ctrl-C come as KeyboardInterrupt.
    except BaseException:
        with contextlib.suppress(InsidersError):
            unpublish(directory, new)
        for name, entry in before.items():
            if not os.path.lexists(directory / name):
                _restore(cache, name, entry)
        raise
    return digests, new


def _is_same(path: Path, contents: Contents) -> bool:
    """Tell whether a file has this content; a pipe, which would be waited for, has not."""
    return stat.S_ISREG(path.lstat().st_mode) and sha256(path) == contents.sha256


@contextlib.contextmanager
def _says(directory: Path, file: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise cannot(f"publish {file.name} in", directory, error) from error


@contextlib.contextmanager
def _copied(directory: Path, file: Path) -> Iterator[Path]:
    """Copy a file into the directory, under a name that the index does not show."""
    descriptor, temporary = tempfile.mkstemp(prefix=f".{file.name}.", dir=directory)
    try:
        with os.fdopen(descriptor, "wb") as copy, file.open("rb") as original:
            shutil.copyfileobj(original, copy)
            copy.flush()
            # mkstemp() makes files for the user alone; a web server of another user may serve the
            # directory.
            os.fchmod(copy.fileno(), 0o644)
            # Before it gets its name: after a power cut there would be a file of that name and no
            # content.
            os.fsync(copy.fileno())
        yield Path(temporary)
    finally:
        remove(Path(temporary))


def _publish(
    cache: MetadataCache, copy: Path, target: Path, contents: Contents, origin: Origin | None
) -> bool:
    """Give a copy the name of its file, unless that is taken; say whether it was not."""
    known = cache.entry(target.name)
    # What was lost and is there again was published when it was published first.
    is_again = known is not None and known.sha256 == contents.sha256
    published_us = known.published_us if known and is_again else time.time_ns() // 1000
    entry = describe(Entry(target.name, Identity.of(copy.stat())), contents, published_us, origin)
    # Before the file is visible, so that the index knows it at the first sight.
    cache.put(entry, contents.metadata)
    try:
        _move(copy, target)
    except FileExistsError:
        _restore(cache, target.name, known)  # somebody else was faster
        return False
    return True


def _restore(cache: MetadataCache, name: str, entry: Entry | None) -> None:
    if entry is None:
        cache.forget([name])
    else:
        cache.put(entry, None)


def _move(temporary: Path, target: Path) -> None:
    """Give a file its name; unlike a mere rename, never replace one that has come meanwhile."""
    try:
        # link(2) fails if the name is taken; rename(2) would replace it, and a published file never
        # changes. renameat2(2) with RENAME_NOREPLACE is not in Python.
        target.hardlink_to(temporary)
    except FileExistsError:
        raise
    except OSError as error:
        # EPERM where a file system has no links, EOPNOTSUPP of some network and FUSE file systems,
        # EMLINK at its limit. Source: link(2).
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK) or target.exists():
            raise
        temporary.rename(target)  # a file system without links


def _sync_directory(directory: Path) -> None:
    """Make a rename survive a power cut. Source: fsync(2)."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def present(directory: Path, names: Iterable[str]) -> list[str]:
    """Tell which of these files the index holds.

    Raises:
        InsidersError: the directory cannot be searched.
    """
    try:
        return [name for name in names if (directory / name).exists()]
    except OSError as error:
        raise cannot("read", directory, error) from error


def unpublish(directory: Path, names: Iterable[str]) -> list[str]:
    """Remove files from the index; return those that were there.

    Raises:
        InsidersError: one cannot be removed.
    """
    return [name for name in names if remove(directory / name)]


def put_aside(directory: Path, name: str) -> Path:
    """Move a file out of the index, and keep it where no other file ever takes its place.

    Returns:
        Where it is now.

    Raises:
        InsidersError: it cannot be moved.
    """
    place = make_directory(directory / _SET_ASIDE)
    return set_aside(directory / name, place / name)


def sweep(directory: Path) -> None:
    """Remove what publications that were killed left behind, an hour ago or longer."""
    with contextlib.suppress(OSError), os.scandir(directory) as items:
        for item in items:
            if not _is_unfinished(item.name) or not is_left(item.stat(follow_symlinks=False)):
                continue
            with contextlib.suppress(InsidersError):
                is_inbox = item.is_dir(follow_symlinks=False)
                (remove_tree if is_inbox else remove)(Path(item.path))
                _log.info("removed %s, which was left unfinished", item.path)


def _is_unfinished(name: str) -> bool:
    """Tell by its name what is not visible yet."""
    if name.startswith(INBOX):
        return True
    try:
        distribution.release_of(name.rpartition(".")[0].removeprefix("."))
    except DistributionError:
        return False
    return name.startswith(".")
