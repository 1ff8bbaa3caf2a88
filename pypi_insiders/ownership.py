"""Tell which repository may publish which distribution."""

import contextlib
from collections.abc import Iterable

from pypi_insiders import releases, repositories, state
from pypi_insiders.errors import InsidersError
from pypi_insiders.paths import Paths
from pypi_insiders.repository import Repository


def owners(paths: Paths, watched: Iterable[Repository]) -> dict[str, str]:
    """Map each distribution to its repository: by what was configured, or else first built."""
    found: dict[str, str] = {}
    for item in watched:
        distribution = item.distribution
        if distribution is None:
            with contextlib.suppress(InsidersError):  # said when it is the repository's turn
                distribution = state.load(paths.state, item.name).distribution
        if distribution is not None:
            found.setdefault(distribution, item.name)
    return found


def without_release(paths: Paths, watched: Iterable[Repository]) -> list[str]:
    """Name the repositories of which the index holds nothing: it leads to the public package.

    Raises:
        InsidersError: the distributions cannot be read.
    """
    listed = list(watched)
    held = releases.projects(paths.distributions)
    served = {name for project, name in owners(paths, listed).items() if project in held}
    return [item.name for item in listed if item.name not in served]


def check(paths: Paths, watched: Iterable[Repository]) -> None:
    """Refuse a list in which a repository is to have what another one has built.

    Raises:
        InsidersError: they have.
    """
    listed = list(watched)
    owned = owners(paths, listed)
    for item in listed:
        if item.distribution and owned[item.distribution] != item.name:
            raise repositories.conflict(item.distribution, owned[item.distribution])
