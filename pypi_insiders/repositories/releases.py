"""Find and yank the releases of the index, and list those that were taken back."""

import contextlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from packaging.utils import (
    InvalidName,
    NormalizedName,
    canonicalize_name,
    canonicalize_version,
)
from packaging.version import InvalidVersion, Version

from pypi_insiders.config.paths import Paths
from pypi_insiders.index import distribution, release_lists
from pypi_insiders.index.metadata_cache import MetadataCache
from pypi_insiders.index.release_lists import TAKEN_BACK, YANKED, ReleaseList, Releases
from pypi_insiders.repositories import nearest, state
from pypi_insiders.repositories.state import RepositoryState
from pypi_insiders.util.errors import InsidersError, UsageError
from pypi_insiders.util.files import list_names, locked


class Release(NamedTuple):
    """One version of one project, and its files."""

    project: str
    """Normalized."""
    version: str
    files: tuple[str, ...]


def find(directory: Path, project: str, version: str) -> Release:
    """Return a release of the index.

    Args:
        directory: the distributions directory.
        project: in any spelling.
        version: in any spelling.

    Raises:
        UsageError: the project or the version is malformed.
        InsidersError: the release is not in the index.
    """
    name, wanted = _meant(project, version)
    found = held(directory, name)
    if not found:
        raise has_none(name, projects(directory))
    return _pick(found, name, wanted)


def has_none(project: str, known: Iterable[str]) -> InsidersError:
    """Return the error of a project that has no releases.

    Args:
        project: normalized.
        known: the projects of which one may be meant.
    """
    close = nearest.closest(known, project)
    listing = "list the watched repositories: `pypi-insiders repos list`"
    return InsidersError(
        f"{project} has no releases here", f"did you mean {close}?" if close else listing
    )


def find_published(paths: Paths, project: str, versions: Sequence[str]) -> list[Release]:
    """Return published releases, including those whose files are lost.

    Args:
        paths: all paths of the program.
        project: in any spelling.
        versions: in any spelling; empty: all.

    Raises:
        UsageError: the project or a version is malformed.
        InsidersError: a release was not published.
    """
    name = _meant(project, "0")[0]
    given = [_meant(project, version)[1] for version in versions]
    files = {file for files in held(paths.distributions, name).values() for file in files}
    # Of lost files too: `unpublish` gives up what nothing can restore.
    files.update(_remembered(paths))
    known: dict[Version, list[str]] = {}
    for file, of_project, version in distribution.releases(sorted(files)):
        if of_project == name:
            known.setdefault(version, []).append(file)
    if not known:
        raise has_none(name, projects(paths.distributions))
    # `Version` compares 1.0 and 1.0.0 as equal, so any spelling is found.
    return [_pick(known, name, version) for version in dict.fromkeys(given or sorted(known))]


def _remembered(paths: Paths) -> Iterator[str]:
    """Yield the recorded files that were published and not taken back."""
    # From cache and state: the cache alone knows uploads, the state survives a lost cache.
    with contextlib.closing(MetadataCache(paths.record, paths.distributions)) as record:
        names = {name for name, entry in record.entries().items() if entry.sha256}
    for _, known in state.everything(paths.state):
        names.update(known.former_files)
        names.update(name for build in known.builds if build.local for name in build.files)
    for name, _ in _left(paths, names):
        yield name


def _left(paths: Paths, names: Iterable[str]) -> Iterator[tuple[str, NormalizedName]]:
    """Yield file name and project, without the files of taken-back releases."""
    taken_back = TAKEN_BACK.load(paths.distributions, paths.state)
    for name, project, version in distribution.releases(names):
        if not release_lists.names(taken_back, project, version):
            yield name, project


def former_projects(paths: Paths, states: Iterable[tuple[str, RepositoryState]]) -> dict[str, str]:
    """Return the projects that repositories published before their url or project changed.

    Args:
        paths: all paths of the program.
        states: `NS/PROJ` and state of all known repositories.

    Returns:
        Normalized project to `NS/PROJ`, without those whose releases were all taken back.
    """
    found: dict[str, str] = {}
    for name, known in states:
        # Older versions did not list what was taken back, so these may be missing on purpose.
        if known.former_files and not known.is_old:
            with contextlib.suppress(InsidersError):
                found |= {project: name for _, project in _left(paths, known.former_files)}
    return found


def _pick(held: dict[Version, list[str]], name: str, wanted: Version) -> Release:
    if wanted not in held:
        versions = ", ".join(map(str, sorted(held)))
        raise InsidersError(f"{name} {wanted} not found in the index", f"its versions: {versions}")
    spelled = next(version for version in held if version == wanted)  # 1.0, not 1.0.0
    return Release(name, str(spelled), tuple(held[wanted]))


def _meant(project: str, version: str) -> tuple[NormalizedName, Version]:
    try:
        return canonicalize_name(project, validate=True), Version(version)
    except InvalidName as error:
        raise UsageError(
            f"{project!r} is not the name of a project", "such as mkdocs-material"
        ) from error
    except InvalidVersion as error:
        raise UsageError(
            f"{version!r} is not a version", "such as 9.5.3+insiders.4.49.0"
        ) from error


def held(directory: Path, project: str) -> dict[Version, list[str]]:
    """Return the files of a project in the index, sorted, by version.

    Raises:
        InsidersError: the directory cannot be read.
    """
    found: dict[Version, list[str]] = {}
    for file, of_project, version in _files(directory):
        if of_project == project:
            found.setdefault(version, []).append(file)
    return found


def _files(directory: Path) -> Iterator[tuple[str, NormalizedName, Version]]:
    return distribution.releases(sorted(list_names(directory)))


def projects(directory: Path) -> set[str]:
    """Return the projects with a release in the index.

    Raises:
        InsidersError: the directory cannot be read.
    """
    return {project for _, project, _ in _files(directory)}


def files_of(directory: Path, project: str) -> list[str]:
    """Return the files of a project in the index, sorted.

    Args:
        directory: the distributions directory.
        project: normalized.

    Raises:
        InsidersError: the directory cannot be read.
    """
    return sorted(name for name, of_project, _ in _files(directory) if of_project == project)


def yank(paths: Paths, release: Release, reason: str) -> bool:
    """Yank a release: installers skip it unless it is pinned exactly.

    Args:
        paths: all paths of the program.
        release: the release.
        reason: shown by installers; may be empty.

    Returns:
        Whether anything changed.

    Raises:
        InsidersError: the list of yanks cannot be read or written; the old one stays.

    Source: PEP 592.
    """
    with _changing(paths) as releases:
        known = releases.setdefault(release.project, {})
        is_new = known.get(release.version) != reason
        known[release.version] = reason
    return is_new


def unyank(paths: Paths, project: str, version: str) -> str | None:
    """Remove the yank of a release, which need not be in the index.

    Args:
        paths: all paths of the program.
        project: in any spelling.
        version: in any spelling.

    Returns:
        The release, `NAME VERSION`; `None` if it was not yanked.

    Raises:
        UsageError: the project or the version is malformed.
        InsidersError: the list of yanks cannot be read or written; the old one stays.
    """
    name, wanted = _meant(project, version)
    with _changing(paths) as releases:
        found = _drop(releases, name, wanted)
    return f"{name} {found[0]}" if found else None


def _drop(releases: Releases, project: str, version: Version) -> list[str]:
    """Remove all spellings of a version from the list; return them."""
    known = releases.get(project, {})
    wanted = canonicalize_version(version)
    found = [spelled for spelled in known if canonicalize_version(spelled) == wanted]
    for spelled in found:
        del known[spelled]
    return found


@contextmanager
def _changing(paths: Paths, listed: ReleaseList = YANKED) -> Iterator[Releases]:
    # One lock for both lists. Locked for the read too: of two commands at once, the second would
    # undo the first.
    with locked(paths.locks.yanks):
        before = listed.load(paths.distributions, paths.state)
        after = {project: dict(releases) for project, releases in before.items()}
        yield after
        if after != before:
            listed.save(paths.distributions, after, paths.state)


def mend_lists(paths: Paths) -> None:
    """Restore lost files of the lists of yanked and taken-back releases.

    Raises:
        InsidersError: a file cannot be read or written.
    """
    with locked(paths.locks.yanks):
        for listed in (YANKED, TAKEN_BACK):
            listed.mend(paths.distributions, paths.state)


UNPUBLISHED = "unpublished"
PRUNED = "pruned"
GIVEN_UP = "given up"
"""The note on releases of a project whose name was released to the fallback index."""


def drop_yanks(paths: Paths, gone: Collection[tuple[str, Version]]) -> None:
    """Remove the yanks of releases that have no file in the index any more.

    Raises:
        InsidersError: the list cannot be read or written.
    """
    # Some files of a release may stay, such as a wheel for another Python, copied there by hand.
    left = {(project, version) for _, project, version in _files(paths.distributions)}
    # Without yanks, which is the usual case, neither the lock is taken nor a file written.
    if YANKED.load(paths.distributions, paths.state):
        with _changing(paths) as listed:
            for project, version in gone:
                if (project, version) not in left:
                    _drop(listed, project, version)


def take_back(paths: Paths, gone: Iterable[tuple[str, Version]], word: str = UNPUBLISHED) -> None:
    """Add releases to the list of taken-back ones, which no update publishes.

    Raises:
        InsidersError: the list cannot be read or written.
    """
    with _changing(paths, TAKEN_BACK) as listed:
        for project, version in gone:
            # The new note replaces that of another spelling.
            _drop(listed, project, version)
            listed.setdefault(project, {})[str(version)] = word


def listed_projects(paths: Paths) -> set[str]:
    """Return the projects with a yanked or taken-back release, without those given up.

    An unreadable list counts as empty.
    """
    found: set[str] = set()
    for listed in (YANKED, TAKEN_BACK):
        # The other sources of held names still count; the server reports an unreadable list.
        with contextlib.suppress(InsidersError):
            for project, known in listed.load(paths.distributions, paths.state).items():
                if any(word != GIVEN_UP for word in known.values()):
                    found.add(project)
    return found


def give_up(paths: Paths, projects: AbstractSet[str]) -> None:
    """Mark projects in the lists as given up, so that their names are no longer held.

    Raises:
        InsidersError: a list cannot be read or written.
    """
    # The entries stay: if a project is watched again, no update publishes these releases.
    with _changing(paths, TAKEN_BACK) as listed:
        for project in projects & listed.keys():
            listed[project] = dict.fromkeys(listed[project], GIVEN_UP)
    with _changing(paths) as listed:
        for project in projects:
            listed.pop(project, None)


def forget_taken_back(paths: Paths, files: Iterable[str]) -> None:
    """Remove all releases of the projects of some files from the list of taken-back ones.

    Raises:
        InsidersError: the list cannot be read or written.
    """
    with _changing(paths, TAKEN_BACK) as listed:
        for _, project, _ in distribution.releases(files):
            listed.pop(project, None)


def give_back(paths: Paths, project: str, version: str) -> None:
    """Remove a release from the list of taken-back ones.

    Raises:
        InsidersError: the list cannot be read or written.
    """
    # Read without the lock first: hardly any release is in the list.
    if release_lists.names(TAKEN_BACK.load(paths.distributions, paths.state), project, version):
        with _changing(paths, TAKEN_BACK) as listed:
            _drop(listed, project, Version(version))
