"""Tell which repository may publish which project."""

import contextlib
from collections.abc import Iterable

from pypi_insiders.config.paths import Paths
from pypi_insiders.index.metadata_cache import MetadataCache, Origin
from pypi_insiders.repositories import registry, releases, state
from pypi_insiders.repositories.repository import Repository
from pypi_insiders.util.errors import InsidersError


def owners(paths: Paths, watched: Iterable[Repository]) -> dict[str, str]:
    """Map each project to its repository: by what was configured, or else first built."""
    found: dict[str, str] = {}
    for item in watched:
        project = item.project
        if project is None:
            with contextlib.suppress(InsidersError):  # said when it is the repository's turn
                project = state.load(paths.state, item.name).project
        if project is not None:
            found.setdefault(project, item.name)
    return found


def foreign_files(
    paths: Paths, project: str, repository: str, record: MetadataCache | None = None
) -> list[str]:
    """Name the files of a project in the index that are not known to come from a repository.

    Args:
        paths: where everything lies.
        project: normalized.
        repository: `NS/PROJ`.
        record: of the distributions directory, if it is open already.

    Raises:
        InsidersError: the directory cannot be read.
    """
    files = releases.files_of(paths.distributions, project)
    if not files:
        return []
    remembered, ours = state.origins(paths.state), repository.casefold()
    opened = record or MetadataCache(paths.record, paths.distributions)
    try:
        return [name for name in files if _origin(opened, remembered, name) != ours]
    finally:
        if opened is not record:
            opened.close()


def _origin(
    record: MetadataCache, remembered: dict[str, tuple[str, Origin, int]], name: str
) -> str | None:
    """Return the folded name of the repository of which a file was built, if that is known."""
    entry = record.entry(name)
    origin = entry.origin if entry else None
    if origin is None and name in remembered:
        origin = remembered[name][1]
    return origin.repository.casefold() if origin else None


def check(paths: Paths, watched: Iterable[Repository]) -> None:
    """Refuse a list in which a repository is to have what another one has built.

    Raises:
        InsidersError: they have.
    """
    listed = list(watched)
    owned = owners(paths, listed)
    for item in listed:
        if item.project and owned[item.project] != item.name:
            raise registry.conflict(item.project, owned[item.project])
