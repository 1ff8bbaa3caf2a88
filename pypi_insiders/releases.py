"""Find, yank and unpublish the releases that the index holds."""

import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from packaging.utils import InvalidName, canonicalize_name
from packaging.version import InvalidVersion, Version

from pypi_insiders import distribution, store, yanks
from pypi_insiders.distribution import DistributionError
from pypi_insiders.errors import InsidersError, UsageError
from pypi_insiders.files import locked
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
    try:
        name, wanted = canonicalize_name(project, validate=True), Version(version)
    except InvalidName as error:
        raise UsageError(f"{project!r} is not the name of a project") from error
    except InvalidVersion as error:
        raise UsageError(f"{version!r} is not a version") from error
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


def _files(directory: Path) -> Iterator[tuple[str, str, Version]]:
    try:
        names = os.listdir(directory)  # noqa: PTH208 - names are all that is needed
    except FileNotFoundError:
        return
    for name in names:
        if not name.startswith("."):
            try:
                yield name, *distribution.release_of(name)
            except DistributionError:
                continue


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


def unyank(paths: Paths, release: Release) -> bool:
    """Take a yank back; say whether there was one.

    Raises:
        InsidersError: the list of yanks cannot be read or written; it is as it was.
    """
    with _changing(paths) as releases:
        return releases.get(release.project, {}).pop(release.version, None) is not None


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
    removed = []
    with locked(paths.lock, lambda: _log.info("an update is running; waiting for it to end")):
        for release in wanted:
            removed += store.unpublish(paths.distributions, release.files)
            unyank(paths, release)
    return removed
