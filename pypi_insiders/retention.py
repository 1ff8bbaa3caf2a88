"""Keep only the newest versions of what a repository published."""

import logging
from pathlib import Path

from packaging.version import Version

from pypi_insiders import store
from pypi_insiders.state import Build, RepositoryState

_log = logging.getLogger(__name__)


def superfluous(builds: list[Build], keep: int) -> list[str]:
    """Tell which files are of none of the newest versions.

    Args:
        builds: of which something is in the index.
        keep: how many versions stay; 0 is all.
    """
    if not keep:
        return []
    versions = sorted({Version(build.version) for build in builds}, reverse=True)
    kept = versions[:keep]
    stay = {name for build in builds if Version(build.version) in kept for name in build.files}
    return [name for build in builds for name in build.files if name not in stay]


def prune(
    directory: Path, known: RepositoryState, keep: int, *, dry_run: bool = False
) -> list[str]:
    """Remove the files of all but the newest versions from the index; return their names.

    What was built stays remembered, so that it is not built again. Files of other origin stay.

    Args:
        directory: the distributions directory.
        known: what the repository published.
        keep: how many versions stay; 0 is all.
        dry_run: only tell.

    Raises:
        InsidersError: a file cannot be removed.
    """
    builds = [build for build in known.builds if store.present(directory, build.files)]
    names = store.present(directory, superfluous(builds, keep))
    return names if dry_run else store.unpublish(directory, names)
