"""Compare the distributions directory with what is recorded of it, one lstat(2) a file."""

import contextlib
import os
import stat
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from packaging.utils import canonicalize_version

from pypi_insiders.config.paths import Paths
from pypi_insiders.index import distribution, twins
from pypi_insiders.index.metadata_cache import Entry, Facts, MetadataCache
from pypi_insiders.util.files import is_there


class Sample(NamedTuple):
    """One file that the index should serve."""

    project: str
    """Normalized."""
    path: Path
    size_bytes: int


class Files(NamedTuple):
    """The files of the distributions directory, by their names."""

    sizes: Mapping[str, int] = MappingProxyType({})
    """Distribution to its size in bytes; -1: it cannot be read."""
    projects: Mapping[str, tuple[str, ...]] = MappingProxyType({})
    """Normalized project to its files."""
    odd: Mapping[str, tuple[str, ...]] = MappingProxyType({})
    """Project to files that no index serves, such as eggs."""
    directory: Path = Path()

    def versions(self, project: str) -> frozenset[str]:
        """Return the versions of a project, in their canonical form."""
        names = self.projects.get(project, ())
        return frozenset(canonicalize_version(distribution.release_of(name)[1]) for name in names)

    def samples(self, projects: Collection[str]) -> Iterator[Sample]:
        """Yield the files of some projects that the index should serve, the smallest first."""

        def found() -> Iterator[tuple[int, str, str]]:
            for project in projects:
                for name in self.projects.get(project, ()):
                    # A file of unknown size was removed meanwhile.
                    if (size := self.sizes[name]) >= 0:
                        yield size, name, project

        # Mostly one is enough, and a sorted list of many files takes memory.
        if first := min(found(), default=None):
            yield self._sample(first)
            yield from map(self._sample, sorted(item for item in found() if item != first))

    def _sample(self, found: tuple[int, str, str]) -> Sample:
        size, name, project = found
        return Sample(project, self.directory / name, size)


class Survey(NamedTuple):
    """The distributions directory, compared with the metadata cache."""

    files: Files
    unchanged: Mapping[str, str]
    """File of a repository to its recorded sha256, where it can be read, and its size, time and
    inode are the recorded ones."""
    entries: dict[str, Entry]
    """The entries of all other files, also of missing ones, without unchanged files of no
    repository. Of unchanged files, those are here that are in no state, or whose repository has
    none."""
    published: frozenset[str]
    """Normalized projects that have a published file, also a missing one."""
    unrecorded: tuple[str, ...] = ()
    """The sdists and wheels without an entry."""


def survey(
    paths: Paths, names: Iterable[str], stated: Mapping[str, str], built: Collection[str]
) -> Survey:
    """Compare each file of the distributions directory with its entry, as that is read.

    Args:
        paths: where everything is.
        names: in that directory.
        stated: the files in the states of all repositories, to their sha256.
        built: the repositories that have a state, in lower case.
    """
    # The names are in memory once: those of the entries are dropped as they are read.
    left = {name: name for name in names}
    listing, unchanged, published = _Listing(), dict[str, str](), set[str]()
    directory, user, entries = str(paths.distributions), os.getuid(), dict[str, Entry]()

    def is_known(facts: Facts) -> bool:
        name, size_bytes, mtime_ns, inode, project, sha256, repository, problem = facts
        if project and sha256:
            published.add(project)
        status = look(name)
        if listed := left.pop(name, None):
            listing.add(listed, project, status)
        if (
            status is None
            or problem is not None
            or status.st_mtime_ns != mtime_ns
            or status.st_size != size_bytes
            or status.st_ino != inode
            or not stat.S_ISREG(mode := status.st_mode)
            # An owner needs no more than this bit, and to ask the kernel takes as long as lstat(2).
            or not (
                (mode & stat.S_IRUSR and status.st_uid == user)
                or os.access(f"{directory}/{name}", os.R_OK)
            )
        ):
            return False
        digest = stated.get(name)
        if digest is None and repository is None:
            return True
        # The equal text, as that one is in memory anyway.
        unchanged[name] = digest if digest == sha256 else sha256
        return digest is not None and (repository is None or repository.casefold() in built)

    with _looking(paths.distributions) as look:
        # To open a missing database would create it, and this writes nothing.
        if is_there(paths.record):
            with contextlib.closing(MetadataCache(paths.record, paths.distributions)) as record:
                entries = record.entries_unless(is_known)
        for name in left:
            listing.add(name, "", look(name))
    files = listing.files(paths.distributions)
    unrecorded = tuple(name for name in left if name in files.sizes)
    return Survey(files, unchanged, entries, frozenset(published), unrecorded)


def unserved(found: Survey, stated: Collection[str]) -> dict[str, str]:
    """Return the sdists and wheels that were never served, and are not now, to why.

    Args:
        found: of the directory.
        stated: the files in the states of all repositories.
    """
    files = found.files
    damaged = {
        name: entry.problem
        for name, entry in found.entries.items()
        # Of another identity it may have been completed since.
        if entry.problem and not entry.sha256 and files.sizes.get(name) == entry.identity.size_bytes
    }
    new = {name for name in found.unrecorded if name not in stated}
    twin = {
        name: twins.served_instead(
            files.directory,
            name,
            files.projects[distribution.project_of(name)],
            lambda it: it not in new,
        )
        for name in sorted(new)
    }
    return damaged | {name: twins.problem(name, served) for name, served in twin.items() if served}


@contextlib.contextmanager
def _looking(directory: Path) -> Iterator[Callable[[str], os.stat_result | None]]:
    """Return a function that returns the lstat(2) of a file in a directory; `None`: it has none."""
    try:
        # Without permission to list it, which is another one. Source: open(2), O_PATH.
        descriptor = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        yield lambda _: None
        return

    def look(name: str) -> os.stat_result | None:
        try:
            # By the descriptor, as with a path it takes a quarter longer.
            return os.stat(name, dir_fd=descriptor, follow_symlinks=False)
        # ValueError: a damaged entry has a name that no file can have.
        except (OSError, ValueError):
            return None

    try:
        yield look
    finally:
        os.close(descriptor)


class _Listing:
    def __init__(self) -> None:
        self._sizes: dict[str, int] = {}
        self._projects: dict[str, list[str]] = {}
        self._odd: dict[str, list[str]] = {}

    def add(self, name: str, project: str, status: os.stat_result | None) -> None:
        """Add a file; its project is read off its name if it is empty."""
        # None of files that are being uploaded or published, and of lists of this program: no name
        # of a project begins with a dot, as theirs do.
        if name.startswith("."):
            return
        if project := project or distribution.project_of(name):
            self._projects.setdefault(project, []).append(name)
            # A file that is removed meanwhile is still one that was here.
            self._sizes[name] = -1 if status is None else status.st_size
            return
        # Its name belongs to this index all the same: it is private, and a public project of that
        # name must not take its place.
        for possible in distribution.possible_projects(name):
            self._odd.setdefault(possible, []).append(name)

    def files(self, directory: Path) -> Files:
        """Return the files that were added."""
        return Files(self._sizes, _sorted(self._projects), _sorted(self._odd), directory)


def _sorted(found: Mapping[str, list[str]]) -> dict[str, tuple[str, ...]]:
    return {name: tuple(sorted(files)) for name, files in found.items()}


def rejected(project: str, files: Files, problems: Mapping[str, str]) -> list[str]:
    """Return what is wrong with the files of a project that has no release."""
    names = files.projects.get(project, ())
    return [
        *(problems.get(name, f"{name} is not served") for name in names),
        *(f"{name} is not a file that an index serves" for name in files.odd.get(project, ())),
    ]
