"""Find out anew what was built from what, where that was lost."""

import logging
import stat
from collections.abc import Mapping
from pathlib import Path

from packaging.version import Version

from pypi_insiders import distribution, tags
from pypi_insiders.distribution import DistributionError
from pypi_insiders.files import list_names
from pypi_insiders.record import Record
from pypi_insiders.repository import Repository
from pypi_insiders.state import Build

_log = logging.getLogger(__name__)


def adopt(
    directory: Path,
    record: Record,
    repository: Repository,
    refs: Mapping[str, str],
    rules: tags.Rules,
) -> list[Build]:
    """Find the releases of a repository that the index holds, by its tags.

    A release counts that has an sdist and a wheel, and of which nobody knows that it comes from
    elsewhere.

    Args:
        directory: the distributions directory.
        record: what is known of the files in it.
        repository: whose distribution is known.
        refs: what it has, tag to commit.
        rules: which tags are releases.

    Returns:
        Lowest version first.

    Raises:
        InsidersError: the directory cannot be read.
    """
    found = []
    held = _held(directory, repository.distribution or "")
    for tag in reversed(tags.unbuilt(refs, (), rules)):
        version = rules.pattern.version_of(tag)
        files = held.get(version, []) if version else []
        if len({distribution.is_wheel(name) for name in files}) < 2:
            continue
        unfinished = Build(tag, refs[tag], str(version), 0, {})
        if build := _recall(directory, record, repository.name, unfinished, files):
            found.append(build)
    if found:
        _log.info(
            "%s: what was built of it was lost; the index holds %s",
            repository.name,
            tags.summary(build.version for build in found),
        )
    return found


def _held(directory: Path, project: str) -> dict[Version, list[str]]:
    """Name the files of a project, by version."""
    found: dict[Version, list[str]] = {}
    for name in sorted(list_names(directory)):
        try:
            of_project, version = distribution.release_of(name)
        except DistributionError:
            continue
        if of_project == project:
            found.setdefault(version, []).append(name)
    return found


def _recall(
    directory: Path, record: Record, repository: str, build: Build, files: list[str]
) -> Build | None:
    """Fill in what the index knows of the files; `None`: they are of another origin."""
    commits, hashes, times_s = {build.commit}, {}, [0.0]
    for name in files:
        entry = record.entry(name)
        if entry is not None and entry.origin is not None:
            if entry.origin.repository.casefold() != repository.casefold():
                return None
            commits = {entry.origin.commit}
        try:
            if not stat.S_ISREG((directory / name).lstat().st_mode):
                return None
            hashes[name] = distribution.sha256(directory / name)
            times_s.append((directory / name).stat().st_mtime)
        except OSError:
            return None
    return Build(build.tag, commits.pop(), build.version, int(max(times_s)), hashes)
