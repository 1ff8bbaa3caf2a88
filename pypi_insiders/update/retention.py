"""Select the old releases of a repository that are to be removed."""

from collections.abc import Iterable
from pathlib import Path

from packaging.version import Version

from pypi_insiders.index import store
from pypi_insiders.repositories.state import Build


def superfluous(directory: Path, builds: Iterable[Build], keep: int) -> list[str]:
    """Return the published files of a repository that are not of its latest versions.

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
    versions = sorted({Version(build.version) for build in builds}, reverse=True)
    kept = versions[:keep]
    # By build, not by project: files of other origin are never removed, and a file may be of two
    # builds, of which one is kept.
    stay = {name for build in builds if Version(build.version) in kept for name in build.files}
    names = (name for build in builds for name in build.files if name not in stay)
    return store.present(directory, dict.fromkeys(names))
