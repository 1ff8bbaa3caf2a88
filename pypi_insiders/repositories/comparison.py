"""Compare what is remembered of published files with what the distributions directory has."""

import contextlib
import errno
import os
import stat
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

from packaging.version import Version

from pypi_insiders.config.paths import Paths
from pypi_insiders.index import distribution, release_lists
from pypi_insiders.index.distribution import DistributionError
from pypi_insiders.index.metadata_cache import Entry, Identity, MetadataCache
from pypi_insiders.index.release_lists import TAKEN_BACK, Releases
from pypi_insiders.repositories import state
from pypi_insiders.repositories.state import Build, RepositoryState
from pypi_insiders.util.files import is_there, sha256
from pypi_insiders.util.formatting import listed

_SHOWN = 3
"""Files that are named; the rest is counted."""


class Kind(StrEnum):
    """In what a file differs from what is remembered of it."""

    MISSING = "missing"
    CHANGED = "changed"
    UNREADABLE = "unreadable"


@dataclass(frozen=True)
class Difference:
    """A published file that is not there as it was published."""

    file: str
    kind: Kind
    project: str
    """Normalized."""
    version: str
    recorded_sha256: str
    """Hexadecimal."""
    found_sha256: str | None = None
    """Of what is there now; `None`: nothing that can be read."""
    reason: str | None = None
    """Why it cannot be read."""
    repository: str | None = None
    """`NS/PROJ`, from which it was built; `None`: it was uploaded, or dropped in by hand."""
    build: Build | None = None
    """As which it was published; `None`: nothing can build it again."""

    @property
    def text(self) -> str:
        """Say what is wrong, in one line."""
        if self.kind == Kind.MISSING:
            return f"{self.file} is missing"
        if self.kind == Kind.UNREADABLE:
            return f"{self.file} cannot be read: {self.reason}"
        found = f"its sha256 is {self.found_sha256}" if self.found_sha256 else "it is no file"
        return f"{self.file} is not what was published: {found}, not {self.recorded_sha256}"


@dataclass(frozen=True)
class Comparison:
    """Compares files, one by one, with what is remembered of them.

    Of a file that has not changed since it was recorded, by its size, time and inode, the hash of
    then counts; all others are read.
    """

    directory: Path
    """The distributions directory, which may be missing."""
    entries: dict[str, Entry]
    """What the record knows, by file name."""
    taken_back: Releases
    """Releases that are to be missing."""
    verify: bool = False
    """Whether every file is read."""

    def of(self, repository: str, known: RepositoryState) -> list[Difference]:
        """Find the files of a repository that are not there as they were published."""
        return [
            replace(found, repository=repository, build=build)
            for build in self.expected(known)
            for file, digest in build.files.items()
            if (found := self._compare(file, digest))
        ]

    def expected(self, known: RepositoryState) -> list[Build]:
        """Tell which builds are to be there.

        Versions of this program that kept no list of what was taken back left it in the state: of
        theirs, what is missing as a whole was taken back, unless the directory itself is missing.
        """
        builds = [build for build in known.builds if build.local]
        if not known.is_old or not is_there(self.directory):
            return builds
        return [build for build in builds if self.has(build)]

    def has(self, build: Build) -> bool:
        """Tell whether any file of a build is there, be it as it was published or not."""
        return any(os.path.lexists(self.directory / file) for file in build.files)

    def forget(self, files: Iterable[str]) -> None:
        """Expect files no longer that were removed since this comparison was begun."""
        for file in files:
            self.entries.pop(file, None)

    def of_others(self, known_files: Collection[str]) -> list[Difference]:
        """Find the files that only the record knows, and that are not there as they were.

        They were uploaded or dropped in by hand, or what was known of their repository is lost.

        Args:
            known_files: all that were built from repositories of which something is known.
        """
        return [
            replace(found, repository=entry.origin.repository if entry.origin else None)
            for file, entry in sorted(self.entries.items())
            if entry.sha256 and file not in known_files
            if (found := self._compare(file, entry.sha256))
        ]

    def _compare(self, file: str, recorded: str) -> Difference | None:
        """Compare one file; `None` if it is as it was published, or is to be missing."""
        try:
            project, version = distribution.release_of(file)
        except DistributionError:
            return None  # no version of this program publishes it
        if release_lists.names(self.taken_back, project, version):
            return None
        found = Difference(file, Kind.MISSING, project, str(version), recorded)
        try:
            digest = self._hash(file)
        except (FileNotFoundError, NotADirectoryError):
            return found
        except OSError as error:
            return replace(found, kind=Kind.UNREADABLE, reason=error.strerror or str(error))
        if digest == recorded:
            return None
        return replace(found, kind=Kind.CHANGED, found_sha256=digest)

    def _hash(self, file: str) -> str | None:
        """Hash a file, if it is not known what that gives; `None`: what is there is no file."""
        path, entry = self.directory / file, self.entries.get(file)
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode):
            return None
        is_same = entry is not None and entry.identity == Identity.of(status)
        # What had a problem when it was read may have been mended in its place, with the old size
        # and time.
        if entry is None or not is_same or entry.problem or self.verify:
            return sha256(path)
        # Its hash is known, but whoever serves it could not read it.
        if not os.access(path, os.R_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return entry.sha256


def compare(
    paths: Paths, record: MetadataCache | None = None, *, verify: bool = False
) -> list[Difference]:
    """Find all published files that are not in the index as they were published.

    Of every repository of which something is known, watched or not, and of what was uploaded or
    dropped in by hand. It costs a stat(2) a file, unless some have changed.

    Args:
        paths: where everything lies.
        record: of the distributions; by default it is opened for this.
        verify: whether every file is read.

    Raises:
        InsidersError: the list of what was taken back cannot be read.
    """
    if record is None:
        with contextlib.closing(MetadataCache(paths.record, paths.distributions)) as opened:
            return compare(paths, opened, verify=verify)
    comparison = begin(paths, record, verify=verify)
    found: list[Difference] = []
    known_files: set[str] = set()
    for name, known in state.everything(paths.state):
        known_files.update(file for build in known.builds for file in build.files)
        found += comparison.of(name, known)
    found += comparison.of_others(known_files)
    for item in found if verify else ():
        entry = comparison.entries.get(item.file)
        if item.kind == Kind.CHANGED and entry and not entry.problem:
            # Or else nobody would see it any more who does not read the file.
            record.put(replace(entry, problem=item.text), None)
    return found


@dataclass(frozen=True)
class Strangers:
    """Files of a release of a watched project that no known build made."""

    repository: str
    """`NS/PROJ`, that is watched."""
    release: str
    """`PROJECT VERSION`."""
    tag: str | None
    """From which the release was built; `None`: it was not."""
    files: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """Say what is wrong, in one line."""
        is_one = len(self.files) == 1
        return (
            f"{self.release}: {listed(self.files, _SHOWN)} {'is' if is_one else 'are'} in the "
            f"index, but no known build of {self.repository} made {'it' if is_one else 'them'}"
        )

    def hint(self, directory: Path) -> str:
        """Say what to do.

        Args:
            directory: the distributions directory.
        """
        what = "that file" if len(self.files) == 1 else "those files"
        update = f"`pypi-insiders update {self.repository}"
        update += f" --tag {self.tag} --force`" if self.tag else "`"
        return f"move {what} out of {directory}, then {update}"


def strangers(
    files: Collection[str],
    projects: Mapping[str, str],
    states: Iterable[tuple[str, RepositoryState]],
    entries: dict[str, Entry],
    taken_back: Releases,
) -> list[Strangers]:
    """Find files of watched projects that no known build made, and that installers may choose.

    These are files of a version that was built here or of a higher one, and files that the record
    knows as built from the repository. Of a project of which nothing was built all are by hand.

    Args:
        files: names of the files in the distributions directory.
        projects: normalized name to the watched repository.
        states: what is known of repositories, watched or not, by `NS/PROJ`.
        entries: what the record knows of files.
        taken_back: releases of which nothing is to be there.
    """
    known = {name.casefold(): item for name, item in states}
    others = set(files).difference(*(item.files for item in known.values()))
    found: dict[str, Strangers] = {}
    for file, project, version in distribution.releases(sorted(others)):
        repository = projects.get(project)
        if repository is None or repository.casefold() not in known:
            continue
        tags = {
            Version(build.version): build.tag
            for build in known[repository.casefold()].builds
            if build.local and not release_lists.names(taken_back, project, build.version)
        }
        entry = entries.get(file)
        origin = entry.origin.repository if entry and entry.origin else ""
        # A lower version is chosen by nobody who does not pin it.
        is_chosen = bool(tags) and (version in tags or version > max(tags))
        if is_chosen or origin.casefold() == repository.casefold():
            release = f"{project} {version}"
            new = Strangers(repository, release, tags.get(version))
            found.setdefault(release, new).files.append(file)
    return list(found.values())


def hint(difference: Difference) -> str:
    """Say what to type to mend a difference of which no watched repository builds the file."""
    release = f"{difference.project} {difference.version}"
    give_up = f"`pypi-insiders unpublish {release}` gives that release up"
    if difference.repository is not None:
        repository = f"{difference.repository}:{difference.project}"
        return f"`pypi-insiders repos add {repository}`, then `pypi-insiders update`; {give_up}"
    return f"publish the same file again; {give_up}"


def begin(paths: Paths, record: MetadataCache, *, verify: bool = False) -> Comparison:
    """Read what is remembered of files, to compare them.

    Raises:
        InsidersError: the list of what was taken back cannot be read.
    """
    taken_back = TAKEN_BACK.load(paths.distributions, paths.state)
    return Comparison(paths.distributions, record.entries(), taken_back, verify)
