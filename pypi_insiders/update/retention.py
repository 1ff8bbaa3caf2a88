"""Keep only the newest versions of what a repository published."""

from collections.abc import Iterable
from pathlib import Path

from packaging.version import Version

from pypi_insiders.index import store
from pypi_insiders.repositories.state import Build


def superfluous(directory: Path, builds: Iterable[Build], keep: int) -> list[str]:
    """Tell which files of the index are of none of the newest versions that it holds.

    Files of other origin are not among them.

    Args:
        directory: the distributions directory.
        builds: all of one repository.
        keep: how many versions stay; 0 is all.

    Raises:
        InsidersError: the directory cannot be searched.
    """
    if not keep:
        return []
    builds = [build for build in builds if store.present(directory, build.files)]
    versions = sorted({Version(build.version) for build in builds}, reverse=True)
    kept = versions[:keep]
    stay = {name for build in builds if Version(build.version) in kept for name in build.files}
    names = (name for build in builds for name in build.files if name not in stay)
    return store.present(directory, dict.fromkeys(names))
