"""Map projects to the repositories that may publish them."""

import contextlib
from collections.abc import Iterable

from pypi_insiders.config.paths import Paths
from pypi_insiders.index.metadata_cache import MetadataCache, Origin
from pypi_insiders.repositories import registry, releases, state
from pypi_insiders.repositories.repository import Repository
from pypi_insiders.util.errors import InsidersError


def owners(paths: Paths, watched: Iterable[Repository]) -> dict[str, str]:
    """Return project to repository, from `repos.toml` or else from the builds."""
    found: dict[str, str] = {}
    for item in watched:
        if project := project_of(paths, item):
            found.setdefault(project, item.name)
    return found


def project_of(paths: Paths, item: Repository) -> str | None:
    """Return the project of a repository, from `repos.toml` or else from its builds."""
    with contextlib.suppress(InsidersError):  # the update of the repository reports it
        return item.project or state.load(paths.state, item.name).project
    return None


def foreign_files(
    paths: Paths, project: str, repository: str, record: MetadataCache | None = None
) -> list[str]:
    """Return the files of a project in the index that were not built from a repository.

    Args:
        paths: all paths of the program.
        project: normalized.
        repository: `NS/PROJ`.
        record: the metadata cache, if it is open already.

    Raises:
        InsidersError: the directory cannot be read.
    """
    files = releases.files_of(paths.distributions, project)
    # The usual case, which needs neither the states nor the cache.
    if not files:
        return []
    known, own = state.origins(paths.state), repository.casefold()
    opened = record or MetadataCache(paths.record, paths.distributions)
    try:
        return [name for name in files if _origin(opened, known, name) != own]
    finally:
        if opened is not record:
            opened.close()


def _origin(
    record: MetadataCache, known: dict[str, tuple[str, Origin, int]], name: str
) -> str | None:
    """Return the repository of a file, with its case folded; `None`: unknown."""
    # Either the cache or the state may have been lost.
    entry = record.entry(name)
    origin = entry.origin if entry else None
    if origin is None and name in known:
        origin = known[name][1]
    return origin.repository.casefold() if origin else None


def check(paths: Paths, watched: Iterable[Repository]) -> None:
    """Check that no repository is configured for a project that another one has built.

    Raises:
        InsidersError: a project belongs to another repository.
    """
    listed = list(watched)
    owned = owners(paths, listed)
    for item in listed:
        if item.project and owned[item.project] != item.name:
            raise registry.conflict(item.project, owned[item.project])
