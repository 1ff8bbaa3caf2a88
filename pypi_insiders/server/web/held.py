"""Answer for projects that belong to this index, and have no release in it."""

import time
from urllib.parse import parse_qs

from pypi_insiders.index import distribution
from pypi_insiders.index.catalog import Catalog
from pypi_insiders.repositories import no_release, running
from pypi_insiders.repositories.no_release import NoRelease
from pypi_insiders.server.current_names import CurrentNames
from pypi_insiders.server.http import Waiters
from pypi_insiders.server.web.installer_errors import Stop
from pypi_insiders.server.web.request import Request

# Within the shortest time that a client waits for an answer, which are the 15 s of pip and Poetry.
_WAIT_S = 8.0
_LOOK_S = 0.25
_LEARNED_FOR_S = 1.0
_WAITED = "waited"
# How many redirects each client follows, less one for the way to here: uv 0.13 follows 10, PDM
# 2.29 20, pip 26 and Poetry 2.5 30.
_REDIRECTS = {"pip/": 28, "poetry/": 28, "pdm/": 18}
_REDIRECTS_OF_OTHERS = 8


class Held:
    """The held names as requests meet them.

    Args:
        catalog: what the directory has.
        names: the held names.
        waiters: the requests that wait until a release is built.
    """

    def __init__(self, catalog: Catalog, names: CurrentNames, waiters: Waiters) -> None:
        self._catalog = catalog
        self._names = names
        self._waiters = waiters
        self._unwritable: set[str] = set()
        self._learned_at_s: dict[str, float] = {}

    def learn(self, project: str) -> None:
        """Remember a project before its page is sent: its files may be gone a moment later.

        The catalog's own thread remembers it too, some time after it has seen them.
        """
        # A second is how long the catalog trusts a page too. Each stat(2) lets another thread run,
        # which costs more than itself.
        now_s = time.monotonic()
        if now_s - self._learned_at_s.get(project, -_LEARNED_FOR_S) < _LEARNED_FOR_S:
            return
        self._learned_at_s[project] = now_s
        if self._is_learned(project):
            self._unwritable.discard(project)
        elif project not in self._unwritable:
            self._names.learn([project])
            if not self._is_learned(project):
                # It would be tried again and again, with a line in the log.
                self._unwritable.add(project)

    def _is_learned(self, project: str) -> bool:
        return project in self._names.current().repositories

    def missing(self, project: str) -> NoRelease | None:
        """Return why a project has no release here; `None`: its name is not held.

        Raises:
            InsidersError: nobody can know whether it is.
        """
        names = self._names.current()
        rejected = self._catalog.rejected(project)
        # Then any name may be a private one. 503 stops installers; the fallback would give them
        # another package.
        if project not in names.repositories and rejected is None and names.error is not None:
            raise names.error
        return no_release.find(self._names.paths, names, project, rejected)

    def missing_file(self, name: str) -> Stop | None:
        """Return why a file is not found; `None` if its name is not held.

        Raises:
            InsidersError: nobody can know whether it is held.
        """
        names = self._names.current()
        projects = distribution.projects_of(name)
        if not any(self.is_held(project) for project in projects):
            if names.error is not None:
                raise names.error
            return None
        hint = "`pypi-insiders status` shows all problems"
        if problem := self._catalog.problem(name):
            return Stop(f"{name} is not served: {problem}", hint, 409)
        return Stop(f"{name} is not in the index", hint, 410)

    def is_held(self, project: str) -> bool:
        """Return whether a project belongs to this index, as far as that can be known."""
        names = self._names.current().repositories
        return project in names or self._catalog.rejected(project) is not None

    def wait(self, missing: NoRelease, request: Request) -> str | None:
        """Wait for a release that is being built, as long as the client can.

        Returns:
            Where the client is to ask next, relative to this page; `None`: it is time to answer.
        """
        waited = parse_qs(request.query).get(_WAITED, ["0"])[0]
        times = int(waited) if waited.isdecimal() and len(waited) < 4 else 0
        # One more, and the client would fail with "too many redirects" in place of the reason.
        if times >= _redirects(request) or request.method != "GET":
            return None
        with self._waiters.waiting() as may_wait:
            if not may_wait:
                return None
            deadline = time.monotonic() + _WAIT_S
            while self._is_building(missing) and time.monotonic() < deadline:
                if self._waiters.stopping.wait(_LOOK_S):
                    break
        # Each redirect begins another time limit of the client; the number makes it another URL,
        # for caches and for clients that stop at a circle.
        return f"?{_WAITED}={times + 1}" if self._is_building(missing) else None

    def _is_building(self, missing: NoRelease) -> bool:
        project = self._catalog.project(missing.project)
        has_release = project is not None and bool(project.files)
        return not has_release and missing.repository in running.pending(self._names.paths)


def _redirects(request: Request) -> int:
    return next(
        (number for name, number in _REDIRECTS.items() if request.client.startswith(name)),
        _REDIRECTS_OF_OTHERS,
    )
