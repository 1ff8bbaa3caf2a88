"""Observe what runs: the services, their units, and the index as its clients see it."""

import contextlib
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import NamedTuple

from pypi_insiders.config import access
from pypi_insiders.config.paths import Paths
from pypi_insiders.config.settings import Settings
from pypi_insiders.reporting import index_check
from pypi_insiders.reporting.directory import Files
from pypi_insiders.reporting.index_check import Fetched
from pypi_insiders.reporting.snapshot import Observe
from pypi_insiders.repositories import intervals, new_releases
from pypi_insiders.systemd import (
    index_address,
    server_secrets,
    service_status,
    unit_names,
    unit_state,
)
from pypi_insiders.systemd.index_address import Elsewhere
from pypi_insiders.systemd.service_status import Condition, Services
from pypi_insiders.systemd.unit_names import SERVER
from pypi_insiders.systemd.unit_state import UnitState
from pypi_insiders.util import threads
from pypi_insiders.util.errors import InsidersError, as_value, tried

Fetch = Callable[[Files, Services | InsidersError, Settings | None], Fetched | None]
"""Fetches from the index; `None`: nothing was fetched."""


class Observed(NamedTuple):
    """What runs; a part that cannot be observed is the error why."""

    services: Services | InsidersError | None
    """`None`: not observed."""
    units: tuple[UnitState, ...]
    passwords: InsidersError | None
    """Why no password is accepted, though the settings require one."""
    fetched: Fetched | None
    """`None`: nothing was fetched from the index."""
    hooks: InsidersError | None = None
    """Why no hook is accepted, though the settings say so."""
    elsewhere: Elsewhere | None = None
    """The index listens at another address than config.toml sets; `None`: it does not."""

    def of_this(self, served: set[str]) -> Fetched | None:
        """Return the answers of the index, marked if it is the one of another user.

        Args:
            served: the projects of this user's index.
        """
        fetched, services = self.fetched, self.services
        is_unit = isinstance(services, Services) and services.server.condition == Condition.RUNNING
        # Another user's index on the same port gives the same answers; only its projects differ. An
        # index without a unit, as of `server run`, may still be this user's.
        if fetched is None or fetched.projects is None or is_unit or served <= fetched.projects:
            return fetched
        if services is None or not fetched.url:
            return fetched
        lacks = min(served - fetched.projects)
        error = f"{fetched.url} belongs to another index, which does not list {lacks}"
        return fetched._replace(is_other=True, projects=None, file=None, error=error)


def by(fetch: Fetch, *, with_services: bool = True) -> Observe:
    """Return a function that observes everything that runs.

    Args:
        fetch: fetches from the index.
        with_services: also observe the services and their units.
    """

    def begin(
        paths: Paths,
        now: datetime,
        settings: Settings | InsidersError,
        files: Callable[[], Files],
    ) -> Callable[[], Observed]:
        # systemctl and the index take as long as all files; in a thread both are waited for at
        # once.
        look = partial(_look, fetch, with_services, paths, now, settings, files)
        return threads.begin(look).result

    return begin


def _look(  # noqa: PLR0913, PLR0917  # as `Observe` says
    fetch: Fetch,
    with_services: bool,
    paths: Paths,
    now: datetime,
    settings: Settings | InsidersError,
    files: Callable[[], Files],
) -> Observed:
    """Observe the services, and then fetch from the index at the address of its socket."""
    services: Services | InsidersError | None = None
    units: tuple[UnitState, ...] = ()
    known = None if isinstance(settings, InsidersError) else settings
    if with_services:
        try:
            own = tried(lambda: intervals.load(paths))
            timers = () if isinstance(own, InsidersError) else own
            services = service_status.observe(now, own_timers=timers, others=_released(paths))
        except InsidersError as error:
            services = as_value(error)
        else:
            times = None if isinstance(own, InsidersError) else own
            units = unit_state.find(services, paths, known, times)
    fetched = fetch(files(), services or InsidersError("the services were not checked"), known)
    passwords = None if known is None else _passwords(paths, known, services)
    elsewhere = _elsewhere(services, known) if isinstance(services, Services) and known else None
    hooks = (
        None if known is None else tried(lambda: server_secrets.demand_hook_secret(known, paths))
    )
    return Observed(services, units, passwords, fetched, hooks, elsewhere)


def _released(paths: Paths) -> list[str]:
    """Return the units that should run `release-command` now."""
    with contextlib.suppress(InsidersError):  # reported as the error of the file
        projects = (item.project for item in new_releases.ready(paths))
        return [unit_names.of_project(project) for project in dict.fromkeys(projects)]
    return []


def _elsewhere(services: Services, settings: Settings) -> Elsewhere | None:
    server, socket = services.server, services.units[SERVER.trigger]
    # A drop-in of the user is no mistake.
    if server.url in (None, settings.server.url) or unit_names.own_drop_ins(socket["DropInPaths"]):
        return None
    return index_address.compare(str(server.url), settings.server, is_moved=False)


def _passwords(
    paths: Paths, settings: Settings, services: Services | InsidersError | None
) -> InsidersError | None:
    """Return why no password is accepted; `None`: passwords are fine, or not required."""
    # A credential of the service (`LoadCredentialEncrypted=`) takes the place of the file.
    try:
        if isinstance(services, Services) and services.server.condition != Condition.NOT_INSTALLED:
            server_secrets.demand_passwords(settings, paths)
        else:
            access.passwords_for(settings.server, paths.passwords)
    except InsidersError as error:
        return as_value(error)
    return None


def fetch_as_client(
    files: Files, services: Services | InsidersError, settings: Settings | None
) -> Fetched | None:
    """Fetch from the index at the address of its socket, as a client does."""
    # Also where nothing should listen: what answers there then is `server run`, or another program.
    # A drop-in may have moved the socket, so its own address counts before that of config.toml.
    url, is_idle = settings.server.url if settings else None, False
    if isinstance(services, Services):
        server = services.server
        if server.has_failed and server.url is not None:
            return None  # its socket would keep the request until the next restart
        if server.condition == Condition.RUNNING:
            url, is_idle = server.url, not server.is_working
    if url is None:
        return None
    return index_check.fetch(url, files, is_idle=is_idle)


AS_CLIENT = by(fetch_as_client)
"""Observes everything, and fetches from the index as a client does."""
