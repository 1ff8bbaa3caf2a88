"""Remove releases from the index for good."""

import contextlib
from collections.abc import Iterable, Sequence

from packaging.utils import InvalidName, canonicalize_name
from packaging.version import InvalidVersion, Version

from pypi_insiders.config.paths import Paths
from pypi_insiders.index import distribution, store
from pypi_insiders.index.metadata_cache import MetadataCache
from pypi_insiders.repositories import registry, releases, running, state
from pypi_insiders.repositories.releases import UNPUBLISHED, Release


def unpublish(paths: Paths, wanted: Iterable[Release]) -> list[str]:
    """Remove releases from the index; return the removed files.

    No update builds them again. Waits for a running update.

    Raises:
        InsidersError: a file cannot be removed.
    """
    with running.updates_stopped(paths):
        return remove_files(paths, [name for release in wanted for name in release.files])


def give_up_failed(
    paths: Paths, project: str, versions: Iterable[str], *, dry_run: bool
) -> list[str]:
    """Give up versions whose tags have failed: no update builds them again.

    Waits for a running update, unless it is a dry run.

    Args:
        paths: all paths of the program.
        project: of the watched repository, in any spelling.
        versions: in any spelling.
        dry_run: only return the tags.

    Returns:
        The tags, as `NS/PROJ TAG`; empty, and nothing is changed, if one of the versions has no
        failed tag.

    Raises:
        InsidersError: a file cannot be read or written.
    """
    try:
        name = canonicalize_name(project, validate=True)
        wanted = {Version(version) for version in versions}
    except (InvalidName, InvalidVersion):
        return []
    with contextlib.nullcontext() if dry_run else running.updates_stopped(paths):
        found: dict[tuple[str, str], Version] = {}
        known = {}
        for item in registry.load(paths.repositories).values():
            known[item.name] = state.load(paths.state, item.name)
            if (item.project or known[item.name].project) == name:
                pattern = item.rules(1).pattern
                versions_of = {tag: pattern.version_of(tag) for tag in known[item.name].failures}
                found |= {
                    (item.name, tag): version
                    for tag, version in versions_of.items()
                    if version in wanted
                }
        # All or none: of a mistyped version, the caller reports that it was not found.
        if not wanted or set(found.values()) != wanted:
            return []
        if dry_run:
            return [f"{repository} {tag}" for repository, tag in found]
        # The list first: by the state alone, the next update would build the tag.
        releases.take_back(paths, ((name, version) for version in found.values()))
        for repository, tag in found:
            del known[repository].failures[tag]
            state.save(paths.state, repository, known[repository])
    return [f"{repository} {tag}" for repository, tag in found]


def remove_files(paths: Paths, names: Sequence[str], word: str = UNPUBLISHED) -> list[str]:
    """Remove files from the index, and add their releases to the list of taken-back ones.

    Args:
        paths: all paths of the program; the caller has the lock of updates.
        names: the files.
        word: the note in the list.

    Returns:
        The removed files.

    Raises:
        InsidersError: a file cannot be removed, or a list cannot be read or written.
    """
    if not names:
        return []
    gone = [(project, version) for _, project, version in distribution.releases(names)]
    # The list first: if this process is killed, no update publishes the removed files again.
    releases.take_back(paths, gone, word)
    removed = store.unpublish(paths.distributions, names)
    with contextlib.closing(MetadataCache(paths.record, paths.distributions)) as record:
        record.forget(names)
    # Otherwise a version that is published again would be yanked for a reason that is gone.
    releases.drop_yanks(paths, gone)
    return removed
