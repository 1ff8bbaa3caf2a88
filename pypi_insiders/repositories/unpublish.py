"""Remove releases from the index, so that no update publishes them again."""

import contextlib
from collections.abc import Iterable, Sequence

from pypi_insiders.config.paths import Paths
from pypi_insiders.index import distribution, store
from pypi_insiders.index.metadata_cache import MetadataCache
from pypi_insiders.repositories import releases, running
from pypi_insiders.repositories.releases import UNPUBLISHED, Release


def unpublish(paths: Paths, wanted: Iterable[Release]) -> list[str]:
    """Remove releases from the index; return the removed files.

    No update builds them again. Waits for an update that is under way.

    Raises:
        InsidersError: a file cannot be removed.
    """
    with running.updates_stopped(paths):
        return remove_files(paths, [name for release in wanted for name in release.files])


def remove_files(paths: Paths, names: Sequence[str], word: str = UNPUBLISHED) -> list[str]:
    """Remove files from the index, so that no update publishes their releases again.

    The yanks go of releases of which nothing is left, or else a version that comes back some day
    would be yanked for a reason that is gone.

    Args:
        paths: where everything lies; the caller holds the lock of updates.
        names: of the files.
        word: as what their releases are listed.

    Returns:
        The removed files.

    Raises:
        InsidersError: a file cannot be removed, or a list cannot be read or written.
    """
    if not names:
        return []
    gone = [(project, version) for _, project, version in distribution.releases(names)]
    # First, so that nothing is published again if this is where it ends.
    releases.take_back(paths, gone, word)
    removed = store.unpublish(paths.distributions, names)
    with contextlib.closing(MetadataCache(paths.record, paths.distributions)) as record:
        record.forget(names)
    releases.drop_yanks(paths, gone)
    return removed
