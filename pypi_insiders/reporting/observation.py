"""Look at what runs: the services, their units, and the index as its clients see it."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

from pypi_insiders.config import access
from pypi_insiders.config.paths import Paths
from pypi_insiders.config.settings import Settings
from pypi_insiders.reporting import index_check
from pypi_insiders.reporting.directory import Files, samples
from pypi_insiders.reporting.index_check import Fetched
from pypi_insiders.reporting.snapshot import Observe
from pypi_insiders.systemd import control, service_status, unit_state
from pypi_insiders.systemd.service_status import Condition, Services
from pypi_insiders.systemd.unit_state import UnitState
from pypi_insiders.util.errors import InsidersError

Fetch = Callable[[Files, Services | InsidersError, Settings | None], Fetched | None]
"""Asks the index, however that is done; `None`: it was not asked."""


@dataclass(frozen=True)
class Observed:
    """What runs; a part that cannot be looked at is the error that says why."""

    services: Services | InsidersError | None
    """`None`: nobody looked."""
    units: tuple[UnitState, ...]
    passwords: InsidersError | None
    """Why nobody could log in or upload, though the settings demand it."""
    fetched: Fetched | None
    """`None`: nobody asked the index."""

    def of_this(self, served: set[str]) -> Fetched | None:
        """Return what the index answered, unless it is the one of somebody else.

        One that no unit of ours serves is ours only if it lists what is here.
        """
        fetched, services = self.fetched, self.services
        is_unit = isinstance(services, Services) and services.server.condition == Condition.RUNNING
        # Another user's index on the same port answers as ours does; only what it lists tells them
        # apart.
        if fetched is None or fetched.projects is None or is_unit or served <= fetched.projects:
            return fetched
        if services is None or not fetched.url:
            return fetched
        lacks = min(served - fetched.projects)
        error = f"{fetched.url} belongs to another index, which does not list {lacks}"
        return replace(fetched, is_other=True, projects=None, file=None, error=error)


def by(fetch: Fetch, *, with_services: bool = True) -> Observe:
    """Return what looks at everything that runs.

    Args:
        fetch: asks the index.
        with_services: also look at the services and their units.
    """
    return partial(_begin, fetch, with_services)


def _begin(  # noqa: PLR0913, PLR0917  # as `Observe` says
    fetch: Fetch,
    with_services: bool,
    paths: Paths,
    now: datetime,
    settings: Settings | InsidersError,
    files: Files,
) -> Callable[[], Observed]:
    pool = ThreadPoolExecutor(1)
    future = pool.submit(_look, fetch, with_services, paths, now, settings, files)
    pool.shutdown(wait=False)
    return future.result


def _look(  # noqa: PLR0913, PLR0917  # as `Observe` says
    fetch: Fetch,
    with_services: bool,
    paths: Paths,
    now: datetime,
    settings: Settings | InsidersError,
    files: Files,
) -> Observed:
    """Ask systemd, and then the index where that listens."""
    services: Services | InsidersError | None = None
    units: tuple[UnitState, ...] = ()
    known = None if isinstance(settings, InsidersError) else settings
    if with_services:
        try:
            services = service_status.observe(now)
        except InsidersError as error:
            services = error
        else:
            units = unit_state.find(services, paths, known)
    fetched = fetch(files, services or InsidersError("the services were not checked"), known)
    passwords = None if known is None else _passwords(paths, known, services)
    return Observed(services, units, passwords, fetched)


def _passwords(
    paths: Paths, settings: Settings, services: Services | InsidersError | None
) -> InsidersError | None:
    """Read the passwords as the server does; a credential of its service takes their place."""
    try:
        if isinstance(services, Services) and services.server.condition != Condition.NOT_INSTALLED:
            control.demand_passwords(settings, paths)
        else:
            access.passwords_for(settings.server, paths.passwords)
    except InsidersError as error:
        return error
    return None


def fetch_as_client(
    files: Files, services: Services | InsidersError, settings: Settings | None
) -> Fetched | None:
    """Ask the index through the address on which it listens, as a client does.

    Where nothing should listen, what answers there all the same is known by its answer.
    """
    url, is_idle = settings.server.url if settings else None, False
    if isinstance(services, Services):
        server = services.server
        if server.has_failed and server.url is not None:
            return None  # each request waits until it is started once more
        if server.condition == Condition.RUNNING:
            url, is_idle = server.url, not server.is_working
    if url is None:
        return None
    return index_check.fetch(url, samples(files), is_idle=is_idle)


AS_CLIENT = by(fetch_as_client)
"""Looks at everything, and asks the index as a client does."""
