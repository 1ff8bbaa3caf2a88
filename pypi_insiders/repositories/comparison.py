"""Compare the distributions directory with the recorded hashes of published files."""

import contextlib
import errno
import os
import stat
from collections.abc import Collection, Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from packaging.version import Version

from pypi_insiders.config.paths import Paths
from pypi_insiders.index import distribution, release_lists
from pypi_insiders.index.distribution import DistributionError
from pypi_insiders.index.metadata_cache import Entry, Identity, MetadataCache
from pypi_insiders.index.release_lists import TAKEN_BACK, Releases
from pypi_insiders.repositories import heads, state
from pypi_insiders.repositories.state import Build, RepositoryState
from pypi_insiders.util.files import is_there, sha256
from pypi_insiders.util.formatting import listed

_SHOWN = 3
"""The number of file names in a message."""


class Kind(StrEnum):
    """How a file differs from its record."""

    MISSING = "missing"
    CHANGED = "changed"
    UNREADABLE = "unreadable"


class Difference(NamedTuple):
    """A published file that is missing, changed or unreadable."""

    file: str
    kind: Kind
    project: str
    """Normalized."""
    version: str
    recorded_sha256: str
    """Hexadecimal."""
    found_sha256: str | None = None
    """The current sha256; `None`: the file is missing, unreadable or not a regular file."""
    reason: str | None = None
    """Why it cannot be read."""
    repository: str | None = None
    """`NS/PROJ`, from which it was built; `None`: it was uploaded, or copied into the directory."""
    build: Build | None = None
    """The build that published it; `None`: it cannot be built again."""

    @property
    def text(self) -> str:
        """Return the message of the problem, one line."""
        if self.kind == Kind.MISSING:
            return f"{self.file} is missing"
        if self.kind == Kind.UNREADABLE:
            return f"{self.file} cannot be read: {self.reason}"
        found = f"sha256 {self.found_sha256}" if self.found_sha256 else "not a regular file"
        return f"{self.file} is not the published file: {found}, expected {self.recorded_sha256}"


class Comparison(NamedTuple):
    """Compares published files with their recorded hashes.

    Files with the recorded size, time and inode are not read again, unless `verify` is set.
    """

    directory: Path
    """The distributions directory, which may be missing."""
    entries: dict[str, Entry]
    """The entries of the metadata cache, by file name."""
    taken_back: Releases
    """Releases whose files are missing on purpose."""
    verify: bool = False
    """Whether to read every file."""
    unchanged: Mapping[str, str] = MappingProxyType({})
    """The files that a caller has found to be as recorded, to their sha256."""

    def of(self, repository: str, known: RepositoryState) -> list[Difference]:
        """Return the missing, changed and unreadable files of a repository."""
        return [
            found._replace(repository=repository, build=build)
            for build in self.expected(known)
            for file, digest in build.files.items()
            # As almost all files are.
            if self.unchanged.get(file) != digest and (found := self._compare(file, digest))
        ]

    def expected(self, known: RepositoryState) -> list[Build]:
        """Return the builds whose files should exist."""
        builds = [build for build in known.builds if build.local]
        # Versions without a list of taken-back releases left them in the state: a build of theirs
        # without any file was taken back, unless the directory itself is missing.
        if not known.is_old or not is_there(self.directory):
            return builds
        return [build for build in builds if self.has(build)]

    def has(self, build: Build) -> bool:
        """Return whether any file of a build exists, changed or not."""
        # lexists(): a dangling link in its place is a changed file, not a missing one.
        return any(os.path.lexists(self.directory / file) for file in build.files)

    def forget(self, files: Iterable[str]) -> None:
        """Drop files that were removed since the start of this comparison."""
        for file in files:
            self.entries.pop(file, None)

    def of_others(self, known_files: Collection[str]) -> list[Difference]:
        """Return the missing, changed and unreadable files that only the metadata cache knows.

        They were uploaded or copied into the directory, or the state of their repository is lost.

        Args:
            known_files: the files in the states of all repositories.
        """
        return [
            found._replace(repository=entry.origin.repository if entry.origin else None)
            for file, entry in sorted(self.entries.items())
            if entry.sha256 and file not in known_files
            if (found := self._compare(file, entry.sha256))
        ]

    def _compare(self, file: str, recorded: str) -> Difference | None:
        """Compare one file; `None` if it is unchanged, or was taken back."""
        kind, digest, reason = Kind.CHANGED, None, None
        try:
            digest = self._hash(file)
        # ENOTDIR: a file is in the place of the directory, which is then missing.
        except (FileNotFoundError, NotADirectoryError):
            kind = Kind.MISSING
        except OSError as error:
            kind, reason = Kind.UNREADABLE, error.strerror or str(error)
        # Before its name is parsed, as almost all files are unchanged.
        if digest == recorded:
            return None
        try:
            project, version = distribution.release_of(file)
        except DistributionError:
            # No version of this program publishes files of such a name.
            return None
        if release_lists.names(self.taken_back, project, version):
            return None
        return Difference(file, kind, project, str(version), recorded, digest, reason)

    def _hash(self, file: str) -> str | None:
        """Return the sha256 of a file, from its entry if unchanged; `None`: not a regular file."""
        if file in self.unchanged:
            return self.unchanged[file]
        # A text, as a Path takes longer to make than all else of an unchanged file.
        path, entry = f"{self.directory}/{file}", self.entries.get(file)
        # lstat(): a link to an identical file is not the published file either.
        status = os.lstat(path)
        if not stat.S_ISREG(status.st_mode):
            return None
        is_same = entry is not None and entry.identity == Identity.of(status)
        # A file with a problem is always read: it may have been fixed in place, with its old size
        # and time.
        if entry is None or not is_same or entry.problem or self.verify:
            return sha256(Path(path))
        # Its hash is known, but the server could not read the file.
        if not os.access(path, os.R_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return entry.sha256


def compare(paths: Paths, *, verify: bool = False) -> list[Difference]:
    """Return all published files that are missing, changed or unreadable.

    These include the files of repositories that are no longer watched, uploads, and files that
    were copied into the directory. An unchanged file costs one stat(2), unless every file is
    read to `verify` it.

    Raises:
        InsidersError: the list of taken-back releases cannot be read.
    """
    with contextlib.closing(MetadataCache(paths.record, paths.distributions)) as record:
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
                # Recorded, as comparisons that do not read the file could not detect the change.
                record.put(entry._replace(problem=item.text), None)
    return found


class Strangers(NamedTuple):
    """Files of a release of a watched project that none of its builds produced."""

    repository: str
    """The watched repository, `NS/PROJ`."""
    release: str
    """`PROJECT VERSION`."""
    tag: str | None
    """The tag that the release was built from; `None`: it was not built."""
    files: list[str]

    @property
    def text(self) -> str:
        """Return the message of the problem, one line."""
        return f"{self.release}: not built from {self.repository}: {listed(self.files, _SHOWN)}"

    def hint(self, directory: Path) -> str:
        """Return what to do."""
        what = "that file" if len(self.files) == 1 else "those files"
        update = f"`pypi-insiders update {self.repository}`"
        if self.tag:
            update = heads.build_command(self.repository, self.tag)
        return f"move {what} out of {directory}, then {update}"


def strangers(
    files: Iterable[str],
    projects: Mapping[str, str],
    states: Iterable[tuple[str, RepositoryState]],
    entries: Mapping[str, Entry],
    taken_back: Releases,
) -> list[Strangers]:
    """Return the files of watched projects that no build produced and installers may choose.

    These are files of a built version or of a higher one, and files that the metadata cache has as
    built from the repository. A project without builds has no strangers.

    Args:
        files: names of files in the distributions directory.
        projects: normalized project to watched repository.
        states: the states of all repositories, by `NS/PROJ`.
        entries: the entries of the metadata cache, by file name.
        taken_back: releases whose files are missing on purpose.
    """
    # Git hosts ignore the case of names.
    known = {name.casefold(): item for name, item in states}
    # Seen: a wheel that was put there by hand, under the name of a coming release, was served as
    # it.
    if others := set(files):
        others.difference_update(*(item.files for item in known.values()))
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
        # A lower version is chosen only if it is pinned.
        is_chosen = bool(tags) and (version in tags or version > max(tags))
        if is_chosen or origin.casefold() == repository.casefold():
            release = f"{project} {version}"
            new = Strangers(repository, release, tags.get(version), [])
            found.setdefault(release, new).files.append(file)
    return list(found.values())


def hint(difference: Difference) -> str:
    """Return how to restore a file that no watched repository builds, or to give it up."""
    release = f"{difference.project} {difference.version}"
    give_up = f"give up the release: `pypi-insiders unpublish {release}`"
    if difference.repository is not None:
        repository = f"{difference.repository}:{difference.project}"
        return f"`pypi-insiders repos add {repository}`, then `pypi-insiders update`; or {give_up}"
    return f"publish the same file again; or {give_up}"


def begin(paths: Paths, record: MetadataCache, *, verify: bool = False) -> Comparison:
    """Return a comparison with the current records.

    Raises:
        InsidersError: the list of taken-back releases cannot be read.
    """
    taken_back = TAKEN_BACK.load(paths.distributions, paths.state)
    return Comparison(paths.distributions, record.entries(), taken_back, verify)
