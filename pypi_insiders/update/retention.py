"""Remove the old releases of a repository."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from packaging.version import Version

from pypi_insiders.config.paths import Paths
from pypi_insiders.config.settings import WatcherSettings
from pypi_insiders.index import distribution, release_lists, store
from pypi_insiders.index.release_lists import TAKEN_BACK
from pypi_insiders.repositories import releases, unpublish
from pypi_insiders.repositories.repository import Repository
from pypi_insiders.repositories.state import Build
from pypi_insiders.update.context import UpdateContext
from pypi_insiders.update.tracked import TrackedRepository

_log = logging.getLogger(__name__)

KEPT_HEADS = 5
"""The number of development releases to keep where no `keep` is set."""
# Each push adds one to the state, which every command reads.
_REMEMBERED_HEADS = 100


def prune(context: UpdateContext, tracked: TrackedRepository) -> None:
    """Remove the files of versions older than those to keep.

    Args:
        context: of the update.
        tracked: the repository; a failure is recorded in its state.
    """
    paths = context.paths
    for of_kind, keep in groups(tracked.repository, context.settings.watcher, tracked.known.builds):
        try:
            names = superfluous(paths.distributions, of_kind, keep)
            removed = unpublish.remove_files(paths, names, releases.PRUNED)
            if removed:
                forget_heads(paths, tracked)
        except Exception as error:
            tracked.fail(error)
            return
        if removed:
            _log.info("%s: removed %s (keep = %d)", tracked.name, ", ".join(removed), keep)


def groups(
    repository: Repository, settings: WatcherSettings, builds: Iterable[Build]
) -> Iterator[tuple[list[Build], int]]:
    """Yield the builds of tags and those of heads, each with the number of versions to keep."""
    # Apart: of a branch with many pushes, development releases would replace all others.
    listed, keep = list(builds), repository.keep
    yield [build for build in listed if not build.is_head], settings.keep if keep is None else keep
    of_heads = (settings.keep or KEPT_HEADS) if keep is None else keep
    yield [build for build in listed if build.is_head], of_heads


def superfluous(directory: Path, builds: Iterable[Build], keep: int) -> list[str]:
    """Return the published files of a repository that are not of its latest versions.

    Of heads of branches, those that were built last are the latest, and they do not count as
    versions of tags.

    Args:
        directory: the distributions directory.
        builds: all builds of the repository.
        keep: the number of versions to keep; 0 keeps all.

    Raises:
        InsidersError: the directory cannot be searched.
    """
    if not keep:
        return []
    # Only builds whose files exist: missing ones must not count as kept versions.
    builds = [build for build in builds if store.present(directory, build.files)]
    versions = sorted({Version(it.version) for it in builds if not it.is_head}, reverse=True)
    # By the order of builds: after a force push, the head may have a lower version than others.
    heads = [Version(build.version) for build in builds if build.is_head]
    kept = {*versions[:keep], *heads[-keep:]}
    # By build, not by project: files of other origin are never removed, and a file may be of two
    # builds, of which one is kept.
    stay = {name for build in builds if Version(build.version) in kept for name in build.files}
    names = (name for build in builds for name in build.files if name not in stay)
    return store.present(directory, dict.fromkeys(names))


def forget_heads(paths: Paths, tracked: TrackedRepository) -> None:
    """Remove old heads without files from the state, and from the list of taken-back releases.

    Raises:
        InsidersError: a file cannot be read or written.
    """
    gone = old_heads(paths, tracked.known.heads)
    if not gone:
        return
    # First the state: with it alone, the files would count as lost.
    tracked.known.builds = [build for build in tracked.known.builds if build not in gone]
    tracked.commit()
    files = [name for build in gone for name in build.files]
    for project, version in {item[1:] for item in distribution.releases(files)}:
        releases.give_back(paths, project, str(version))


def old_heads(paths: Paths, builds: Sequence[Build]) -> list[Build]:
    """Return the heads that need not be remembered: old ones that were removed by `keep`.

    Args:
        paths: all paths of the program.
        builds: of heads, oldest first.

    Raises:
        InsidersError: the index or the list of taken-back releases cannot be read.
    """
    listed = TAKEN_BACK.load(paths.distributions, paths.state)

    def is_pruned(build: Build) -> bool:
        # What the user unpublished, and what is lost, is remembered.
        words = {
            release_lists.word(listed, project, version)
            for _, project, version in distribution.releases(build.files)
        }
        return words == {releases.PRUNED} and not store.present(paths.distributions, build.files)

    return [build for build in builds[:-_REMEMBERED_HEADS] if is_pruned(build)]
