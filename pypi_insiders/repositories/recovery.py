"""Recover the builds of a repository whose state was lost."""

import logging
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

from packaging.version import Version

from pypi_insiders.config.paths import Paths
from pypi_insiders.index import distribution, release_lists
from pypi_insiders.index.metadata_cache import Entry, MetadataCache
from pypi_insiders.index.release_lists import TAKEN_BACK, Releases
from pypi_insiders.repositories import releases, tags
from pypi_insiders.repositories.repository import Repository
from pypi_insiders.repositories.state import Build
from pypi_insiders.util.files import sha256

_log = logging.getLogger(__name__)


def recover_builds(
    paths: Paths,
    record: MetadataCache,
    repository: Repository,
    refs: Mapping[str, str],
    rules: tags.Rules,
) -> list[Build]:
    """Return the builds of a repository, from the metadata cache and from its tags.

    Entries of the cache count even if their file is missing. Files without an origin count for a
    tag of their version if there are an sdist and a wheel.

    Args:
        paths: all paths of the program.
        record: the metadata cache.
        repository: the repository.
        refs: all its tags, tag to commit.
        rules: which tags are releases.

    Returns:
        The builds, lowest version first.

    Raises:
        InsidersError: the directory or the list of taken-back releases cannot be read.
    """
    taken_back = TAKEN_BACK.load(paths.distributions, paths.state)
    found = recorded(record.entries().values(), taken_back, repository)
    # The cache first: it knows tag and commit, which are only guessed for other files.
    builds = {build.version: build for build in found}
    held = releases.held(paths.distributions, repository.project or "")
    for tag in tags.unbuilt(refs, (), rules):
        version = rules.pattern.version_of(tag)
        files = held.get(version, []) if version else []
        # An update publishes both kinds, so a single kind was copied there by hand.
        if str(version) in builds or len({distribution.is_wheel(name) for name in files}) < 2:
            continue
        unfinished = Build(tag, refs[tag], str(version), 0, {})
        if build := _recall(paths.distributions, record, repository.name, unfinished, files):
            builds[build.version] = build
    found = sorted(builds.values(), key=lambda build: Version(build.version))
    if found:
        _log.info(
            "%s: its state was lost; recovered: %s",
            repository.name,
            tags.summary(build.version for build in found),
        )
    return found


def recorded(known: Iterable[Entry], taken_back: Releases, repository: Repository) -> list[Build]:
    """Return the builds of a repository in the metadata cache, without taken-back ones."""
    entries = [
        entry
        for entry in sorted(known, key=lambda item: item.published_us)
        if entry.sha256
        and entry.origin is not None
        and entry.origin.repository.casefold() == repository.name.casefold()
        and not release_lists.names(taken_back, entry.project, entry.version)
    ]
    # The latest one: the repository may have built another project before.
    project = repository.project or (entries[-1].project if entries else None)
    builds: dict[str, Build] = {}
    for entry in entries:
        if entry.origin is not None and entry.project == project:
            origin, at_s = entry.origin, entry.published_us // 1_000_000
            build = Build(origin.tag, origin.commit, entry.version, at_s, {})
            builds.setdefault(entry.version, build).files[entry.name] = entry.sha256
    return list(builds.values())


def _recall(
    directory: Path, record: MetadataCache, repository: str, build: Build, files: list[str]
) -> Build | None:
    """Return a build with its files; `None`: they are not of this repository."""
    commits, hashes, times_s = {build.commit}, {}, [0.0]
    for name in files:
        entry = record.entry(name)
        if entry is not None and entry.origin is not None:
            if entry.origin.repository.casefold() != repository.casefold():
                return None
            # The tag may have moved since.
            commits = {entry.origin.commit}
        try:
            if not stat.S_ISREG((directory / name).lstat().st_mode):
                return None
            # The recorded hash, so that a file that was changed meanwhile is noticed.
            is_known = entry is not None and entry.sha256
            hashes[name] = entry.sha256 if entry and is_known else sha256(directory / name)
            # mtime is the time of publication, as files are written once.
            times_s.append((directory / name).stat().st_mtime)
        except OSError:
            return None
    return Build(build.tag, commits.pop(), build.version, int(max(times_s)), hashes)
