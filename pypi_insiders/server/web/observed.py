"""Judge everything for the pages, again only when something may have changed."""

import logging
import threading
import time
from dataclasses import dataclass, field
from datetime import datetime

from pypi_insiders.config.paths import Paths
from pypi_insiders.config.settings import Settings
from pypi_insiders.index.catalog import Catalog
from pypi_insiders.reporting import observation, services_seen, snapshot
from pypi_insiders.reporting.directory import Files
from pypi_insiders.reporting.index_check import Fetched
from pypi_insiders.reporting.judgement import judge
from pypi_insiders.reporting.services_seen import ServicesSeen
from pypi_insiders.reporting.verdict import Item, Judgement, Severity
from pypi_insiders.repositories import status
from pypi_insiders.repositories.state import RepositoryState
from pypi_insiders.repositories.status import RepositoryStatus
from pypi_insiders.systemd import systemctl
from pypi_insiders.systemd.service_status import Services
from pypi_insiders.util.errors import InsidersError

_log = logging.getLogger(__name__)

_LOOK_AGAIN_AFTER_S = 5
_FIRST_BYTES = 4096


@dataclass(frozen=True)
class PageStatus:
    """What the pages show besides the projects of the index."""

    judgement: Judgement = field(default_factory=Judgement)
    standings: tuple[RepositoryStatus, ...] = ()
    services_at: int | None = None
    """When others looked at the services, in seconds of the epoch; `None`: they are seen now."""


class Observer:
    """The judgement as of now.

    Args:
        catalog: the published files.
        paths: where the watched repositories are configured; `None`: the catalog is of another
            directory, for which nothing is watched.
    """

    def __init__(self, catalog: Catalog, paths: Paths | None) -> None:
        self._catalog = catalog
        self._paths = paths
        self._looking = threading.Lock()
        self._stamp: object = None
        self._looked_at_s = 0.0
        self._seen = PageStatus()

    def current(self) -> PageStatus:
        """Judge everything; return the same object as long as the judgement is the same."""
        if self._paths is None:
            return self._seen
        # One look at a time: each reads all of the state, and the others want the same answer.
        with self._looking:
            stamp, now_s = status.stamp(self._paths), time.monotonic()
            # A change of the state is seen at once, one of the services within seconds.
            if stamp != self._stamp or now_s - self._looked_at_s > _LOOK_AGAIN_AFTER_S:
                found = self._look(self._paths)
                # The old object stays where nothing has changed, for by it pages are known to be
                # current.
                if found != self._seen:
                    self._seen = found
                self._stamp, self._looked_at_s = stamp, now_s
            return self._seen

    def _look(self, paths: Paths) -> PageStatus:
        # In a unit the bus is hidden from the index, which then asks what others have found.
        now = datetime.now().astimezone()
        is_hidden = systemctl.is_hidden()
        seen = snapshot.take(paths, now, observation.by(self._fetch, with_services=not is_hidden))
        judged = judge(seen)
        services_at: int | None = None
        if is_hidden:
            by_others = services_seen.load(paths)
            services_at = by_others.at_s if by_others else None
            # To the unit of the index most directories are read-only, and are meant to be.
            judged = _with_services(judge(seen._replace(closed={})), by_others)
        if isinstance(seen.watched, InsidersError):
            _log.warning("%s", seen.watched.message)
        # Without the builds, which take more memory than all else of an index: the pages that show
        # them read those of their repositories.
        standings = tuple(
            item._replace(known=RepositoryState(remote=item.known.remote))
            for item in seen.standings
        )
        return PageStatus(judged, standings, services_at)

    def _fetch(
        self, files: Files, _services: Services | InsidersError, _settings: Settings | None
    ) -> Fetched:
        """Return what a client would fetch: a client that gets this page can reach the index."""
        found = Fetched("", is_answering=True, is_index=True)
        try:
            projects = frozenset(self._catalog.projects())
            is_any = False
            # The smallest one, which is the cheapest proof that files can be read.
            for sample in files.samples(projects):
                is_any = True
                if opened := self._catalog.open(sample.path.name):
                    with opened[1] as file:
                        file.read(_FIRST_BYTES)
                    return found._replace(projects=projects, file=sample.path.name)
        except (InsidersError, OSError) as error:
            return found._replace(error=str(error))
        return found._replace(
            projects=projects, error="no file can be read that is listed" if is_any else None
        )


def _with_services(judged: Judgement, seen: ServicesSeen | None) -> Judgement:
    """Add what others have judged of the services: here nobody sees them."""
    items = seen.items if seen else ()

    def also(severity: Severity) -> tuple[Item, ...]:
        return tuple(item for item in items if item.severity == severity)

    return Judgement(
        (*judged.problems, *also(Severity.PROBLEM)),
        (*judged.warnings, *also(Severity.WARNING)),
        (*judged.notes, *also(Severity.NOTE)),
    )
