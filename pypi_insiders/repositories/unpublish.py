"""Remove releases from the index for good."""

import contextlib
from collections.abc import Iterable, Sequence

from pypi_insiders.config.paths import Paths
from pypi_insiders.index import distribution, store
from pypi_insiders.index.metadata_cache import MetadataCache
from pypi_insiders.repositories import releases, running
from pypi_insiders.repositories.releases import UNPUBLISHED, Release


def unpublish(paths: Paths, wanted: Iterable[Release]) -> list[str]:
    """Remove releases from the index; return the removed files.

    No update builds them again. Waits for a running update.

    Raises:
        InsidersError: a file cannot be removed.
    """
    with running.updates_stopped(paths):
        return remove_files(paths, [name for release in wanted for name in release.files])


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
