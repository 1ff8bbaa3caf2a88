"""Find and yank the releases that the index holds, and list those that were taken back."""

import contextlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from packaging.utils import (
    InvalidName,
    NormalizedName,
    canonicalize_name,
    canonicalize_version,
)
from packaging.version import InvalidVersion, Version

from pypi_insiders.config.paths import Paths
from pypi_insiders.index import distribution, release_lists, yanks
from pypi_insiders.index.metadata_cache import MetadataCache
from pypi_insiders.index.release_lists import TAKEN_BACK, YANKED, ReleaseList, Releases
from pypi_insiders.repositories import state
from pypi_insiders.util.errors import InsidersError, UsageError
from pypi_insiders.util.files import list_names, locked


@dataclass(frozen=True)
class Release:
    """One version of one project, and its files."""

    project: str
    """Normalized."""
    version: str
    files: tuple[str, ...]


def find(directory: Path, project: str, version: str) -> Release:
    """Find a release that the index holds.

    Args:
        directory: the distributions directory.
        project: in any spelling.
        version: in any spelling.

    Raises:
        UsageError: one of them cannot be what was meant.
        InsidersError: the index does not hold that release.
    """
    name, wanted = _meant(project, version)
    return _pick(held(directory, name), name, wanted)


def find_published(paths: Paths, project: str, versions: Sequence[str]) -> list[Release]:
    """Find releases that were published, also where their files are lost.

    Args:
        paths: where everything lies.
        project: in any spelling.
        versions: in any spelling; none are all.

    Raises:
        UsageError: one of them cannot be what was meant.
        InsidersError: nothing is known of one of them.
    """
    name = _meant(project, "0")[0]
    files = {file for files in held(paths.distributions, name).values() for file in files}
    files.update(_remembered(paths))
    known: dict[Version, list[str]] = {}
    for file, of_project, version in distribution.releases(sorted(files)):
        if of_project == name:
            known.setdefault(version, []).append(file)
    wanted = [_meant(project, version)[1] for version in versions] or sorted(known)
    if not wanted:
        raise InsidersError(f"the index does not hold {name}", "it holds nothing of it")
    return [_pick(known, name, version) for version in dict.fromkeys(wanted)]


def _remembered(paths: Paths) -> Iterator[str]:
    """Name the files that were published and not taken back."""
    with contextlib.closing(MetadataCache(paths.record, paths.distributions)) as record:
        names = {name for name, entry in record.entries().items() if entry.sha256}
    for _, known in state.everything(paths.state):
        names.update(known.former_files)
        names.update(name for build in known.builds if build.local for name in build.files)
    for name, _ in _left(paths, names):
        yield name


def _left(paths: Paths, names: Iterable[str]) -> Iterator[tuple[str, NormalizedName]]:
    """Leave out the files of releases that were taken back; return the project of each other."""
    taken_back = TAKEN_BACK.load(paths.distributions, paths.state)
    for name, project, version in distribution.releases(names):
        if not release_lists.names(taken_back, project, version):
            yield name, project


def former_projects(paths: Paths) -> dict[str, str]:
    """Name the projects that repositories published before they stood for another project.

    Returns:
        Normalized project name to `NS/PROJ`; none of which all was taken back.
    """
    found: dict[str, str] = {}
    for name, known in state.everything(paths.state):
        if known.former_files and not known.is_old:
            with contextlib.suppress(InsidersError):
                found |= {project: name for _, project in _left(paths, known.former_files)}
    return found


def _pick(held: dict[Version, list[str]], name: str, wanted: Version) -> Release:
    if wanted not in held:
        versions = ", ".join(map(str, sorted(held)))
        raise InsidersError(
            f"the index does not hold {name} {wanted}",
            f"it holds {versions}" if versions else f"it holds nothing of {name}",
        )
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
    """Name the files of a project that the index holds, sorted, by version.

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
    """Name the projects of which the index holds a release.

    Raises:
        InsidersError: the directory cannot be read.
    """
    return {project for _, project, _ in _files(directory)}


def files_of(directory: Path, project: str) -> list[str]:
    """Name the files of a project that the index holds, sorted.

    Args:
        directory: the distributions directory.
        project: normalized.

    Raises:
        InsidersError: the directory cannot be read.
    """
    return sorted(name for name, of_project, _ in _files(directory) if of_project == project)


def yank(paths: Paths, release: Release, reason: str) -> bool:
    """Mark a release as one that is to be installed only by who asks for exactly this version.

    Args:
        paths: where everything lies.
        release: what to yank.
        reason: told to whoever asks; may be empty.

    Returns:
        Whether that is new.

    Raises:
        InsidersError: the list of yanks cannot be read or written; it is as it was.

    Source: PEP 592.
    """
    with _changing(paths) as releases:
        known = releases.setdefault(release.project, {})
        is_new = known.get(release.version) != reason
        known[release.version] = reason
    return is_new


def unyank(paths: Paths, project: str, version: str) -> str | None:
    """Take a yank back, also of what the index does not hold.

    Args:
        paths: where everything lies.
        project: in any spelling.
        version: in any spelling.

    Returns:
        The release, `NAME VERSION`; `None` if it was not yanked.

    Raises:
        UsageError: one of them cannot be what was meant.
        InsidersError: the list of yanks cannot be read or written; it is as it was.
    """
    name, wanted = _meant(project, version)
    with _changing(paths) as releases:
        found = _drop(releases, name, wanted)
    return f"{name} {found[0]}" if found else None


def _drop(releases: Releases, project: str, version: Version) -> list[str]:
    """Take a version out of the list, in whatever spelling it is there; return those."""
    known = releases.get(project, {})
    wanted = canonicalize_version(version)
    found = [spelled for spelled in known if canonicalize_version(spelled) == wanted]
    for spelled in found:
        del known[spelled]
    return found


@contextmanager
def _changing(paths: Paths, listed: ReleaseList = YANKED) -> Iterator[Releases]:
    with locked(paths.locks.yanks):
        before = listed.load(paths.distributions, paths.state)
        after = {project: dict(releases) for project, releases in before.items()}
        yield after
        if after != before:
            listed.save(paths.distributions, after, paths.state)


def mend_lists(paths: Paths) -> None:
    """Write the lists of yanked and taken-back releases again where one of their files is lost.

    Raises:
        InsidersError: a file cannot be read or written.
    """
    with locked(paths.locks.yanks):
        for listed in (YANKED, TAKEN_BACK):
            listed.mend(paths.distributions, paths.state)


UNPUBLISHED = "unpublished"
PRUNED = "pruned"
GIVEN_UP = "given up"
"""Of a project that nobody watches any more, and that belongs to the fallback index again."""


def drop_yanks(paths: Paths, gone: Collection[tuple[str, Version]]) -> None:
    """Take the yanks back of those of some releases of which the index holds nothing.

    Raises:
        InsidersError: the list cannot be read or written.
    """
    # Some files of a release may stay: those of a wheel for another Python, put there by hand.
    left = {(project, version) for _, project, version in _files(paths.distributions)}
    if yanks.load(paths.distributions, paths.state):
        with _changing(paths) as listed:
            for project, version in gone:
                if (project, version) not in left:
                    _drop(listed, project, version)


def take_back(paths: Paths, gone: Iterable[tuple[str, Version]], word: str = UNPUBLISHED) -> None:
    """List releases as taken back, so that no update publishes them.

    Raises:
        InsidersError: the list cannot be read or written.
    """
    with _changing(paths, TAKEN_BACK) as listed:
        for project, version in gone:
            _drop(listed, project, version)
            listed.setdefault(project, {})[str(version)] = word


def listed_projects(paths: Paths) -> set[str]:
    """Name the projects of which a release is yanked or taken back, and that were not given up.

    A list that cannot be read names none.
    """
    found: set[str] = set()
    for listed in (YANKED, TAKEN_BACK):
        with contextlib.suppress(InsidersError):
            for project, known in listed.load(paths.distributions, paths.state).items():
                if any(word != GIVEN_UP for word in known.values()):
                    found.add(project)
    return found


def give_up(paths: Paths, projects: AbstractSet[str]) -> None:
    """Mark projects in the lists as no longer held; what was taken back stays taken back.

    Raises:
        InsidersError: a list cannot be read or written.
    """
    with _changing(paths, TAKEN_BACK) as listed:
        for project in projects & listed.keys():
            listed[project] = dict.fromkeys(listed[project], GIVEN_UP)
    with _changing(paths) as listed:
        for project in projects:
            listed.pop(project, None)


def forget_taken_back(paths: Paths, files: Iterable[str]) -> None:
    """Take all releases of the projects of some files off the list of those that were taken back.

    Raises:
        InsidersError: the list cannot be read or written.
    """
    with _changing(paths, TAKEN_BACK) as listed:
        for _, project, _ in distribution.releases(files):
            listed.pop(project, None)


def give_back(paths: Paths, project: str, version: str) -> None:
    """Take a release off the list of those that were taken back.

    Raises:
        InsidersError: the list cannot be read or written.
    """
    if release_lists.names(TAKEN_BACK.load(paths.distributions, paths.state), project, version):
        with _changing(paths, TAKEN_BACK) as listed:
            _drop(listed, project, Version(version))
