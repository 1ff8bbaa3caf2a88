"""Find, yank and unpublish the releases that the index holds."""

import logging
from collections.abc import Iterable, Iterator, Sequence
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

from pypi_insiders import distribution, store, yanks
from pypi_insiders.distribution import DistributionError
from pypi_insiders.errors import InsidersError, UsageError
from pypi_insiders.files import list_names, locked
from pypi_insiders.paths import Paths

_log = logging.getLogger(__name__)


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
    held: dict[Version, list[str]] = {}
    for file, of_project, of_version in sorted(_files(directory)):
        if of_project == name:
            held.setdefault(of_version, []).append(file)
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


def _files(directory: Path) -> Iterator[tuple[str, str, Version]]:
    for name in list_names(directory):
        if not name.startswith("."):
            try:
                yield name, *distribution.release_of(name)
            except DistributionError:
                continue


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


def _drop(releases: yanks.Yanks, project: str, version: Version) -> list[str]:
    """Take a version out of the list, in whatever spelling it is there; return those."""
    known = releases.get(project, {})
    wanted = canonicalize_version(version)
    found = [spelled for spelled in known if canonicalize_version(spelled) == wanted]
    for spelled in found:
        del known[spelled]
    return found


@contextmanager
def _changing(paths: Paths) -> Iterator[yanks.Yanks]:
    with locked(paths.yanks_lock):
        before = yanks.load(paths.distributions)
        after = {project: dict(releases) for project, releases in before.items()}
        yield after
        if after != before:
            yanks.save(paths.distributions, after)


def unpublish(paths: Paths, wanted: Iterable[Release]) -> list[str]:
    """Remove releases from the index; return the removed files.

    What was built from a tag stays remembered, so that no update builds it again. Waits for an
    update that is under way.

    Raises:
        InsidersError: a file cannot be removed.
    """
    with locked(paths.lock, lambda: _log.info("an update is running; waiting for it to end")):
        return remove_files(paths, [name for release in wanted for name in release.files])


def remove_files(paths: Paths, names: Sequence[str]) -> list[str]:
    """Remove files from the index, and the yanks of releases of which none is left.

    Or else a version that comes back some day would be yanked for a reason that is gone.

    Args:
        paths: where everything lies; the caller holds the lock of updates.
        names: of the files.

    Returns:
        The removed files.

    Raises:
        InsidersError: a file cannot be removed, or the list of yanks cannot be read or written.
    """
    removed = store.unpublish(paths.distributions, names)
    if names and yanks.load(paths.distributions):
        held = {(project, version) for _, project, version in _files(paths.distributions)}
        with _changing(paths) as releases:
            for project, version in map(distribution.release_of, names):
                if (project, version) not in held:
                    _drop(releases, project, version)
    return removed
