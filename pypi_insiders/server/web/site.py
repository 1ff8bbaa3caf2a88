"""Answer people: all projects at `/`, and each at `/project/NAME/`."""

import logging
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache, partial
from importlib.resources import files
from io import FileIO
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from packaging.utils import InvalidName, canonicalize_name

from pypi_insiders.config.paths import Paths
from pypi_insiders.config.settings import Settings
from pypi_insiders.index.catalog import Catalog
from pypi_insiders.index.published import Project
from pypi_insiders.reporting import directory, observation, services_seen, snapshot
from pypi_insiders.reporting.directory import Files
from pypi_insiders.reporting.index_check import Fetched
from pypi_insiders.reporting.judgement import judge
from pypi_insiders.reporting.services_seen import ServicesSeen
from pypi_insiders.reporting.verdict import Item, Judgement, Severity
from pypi_insiders.repositories import state, status
from pypi_insiders.repositories.state import Build
from pypi_insiders.repositories.status import RepositoryStatus
from pypi_insiders.server.readme import Reader, Readme
from pypi_insiders.server.web import installer_errors as stops
from pypi_insiders.server.web import page_data, snippets
from pypi_insiders.server.web.held import Held
from pypi_insiders.server.web.pages import HTML
from pypi_insiders.server.web.rendered import Rendered, send
from pypi_insiders.server.web.request import Request
from pypi_insiders.server.web.responses import SAFE, Response, not_found, redirect, text
from pypi_insiders.systemd import systemctl
from pypi_insiders.systemd.service_status import Services
from pypi_insiders.util import times
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.formatting import size
from pypi_insiders.util.plain_text import printable
from pypi_insiders.util.without_credentials import without_credentials

_log = logging.getLogger(__name__)

# No project has such a name.
_ASSETS = "/-/"
_PROJECT = "/project/"
_HTML = f"{HTML}; charset=utf-8"
_TYPES = {
    "icon.svg": "image/svg+xml",
    "script.js": "text/javascript; charset=utf-8",
    "style.css": "text/css; charset=utf-8",
}
_LOOK_AGAIN_AFTER_S = 5
_FIRST_BYTES = 4096
# Scripts and styles of the pages are files of ours: no text of a repository can become one.
_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@dataclass(frozen=True)
class _Observed:
    """What the pages tell beside what the index holds."""

    judgement: Judgement = field(default_factory=Judgement)
    standings: tuple[RepositoryStatus, ...] = ()
    services_at: int | None = None
    """When others looked at the services, in seconds of the epoch; `None`: they are seen now."""


_NOTHING = _Observed()


class Site:
    """The pages for people.

    Args:
        catalog: what there is.
        held: the names that are never merely not found.
        paths: where it is said what is watched; `None`: nothing is, for this catalog.
        is_private: whether shared caches must not keep them.
    """

    def __init__(
        self, catalog: Catalog, held: Held, paths: Paths | None, *, is_private: bool
    ) -> None:
        self._catalog = catalog
        self._held = held
        self._paths = paths
        self._is_private = is_private
        safe = tuple({**dict(SAFE), "Content-Security-Policy": _POLICY}.items())
        # By that header the page writes https or http, see `base_url`.
        self._rendered = Rendered(is_private=is_private, vary="Sec-Fetch-Site", safe=safe)
        self._reader = Reader()
        self._looking = threading.Lock()
        self._stamp: object = None
        self._looked_at_s = 0.0
        self._seen = _NOTHING

    def __call__(self, request: Request) -> Response:
        """Answer a request for one of them; what cannot be read of the state is told in them.

        Raises:
            InsidersError: the distributions cannot be read.
        """
        if request.path.startswith(_ASSETS):
            return self._asset(request)
        if request.path.startswith(_PROJECT):
            return self._project(request)
        url = snippets.base_url(request)
        shows = self._catalog.everything(), self._look()
        render = partial(self._render_front, url)
        return send(self._rendered.page(url, _HTML, shows, render), request)

    def _asset(self, request: Request) -> Response:
        name = request.path.removeprefix(_ASSETS)
        if name not in _TYPES:
            return not_found(request)
        return send(self._rendered.page(name, _TYPES[name], name, _asset), request)

    def _project(self, request: Request) -> Response:
        given = request.path.removeprefix(_PROJECT)
        try:
            name = canonicalize_name(given.removesuffix("/"), validate=True)
        except InvalidName:
            return not_found(request)
        if given != f"{name}/":
            up = "../" if given.endswith("/") else ""
            return redirect(f"{up}{name}/")
        project = self._catalog.project(name)
        if project is None:
            return self._without_files(request, name)
        url = snippets.base_url(request)
        shows = project, self._look(), self._readme(project)
        render = partial(self._render_project, url)
        page = self._rendered.page(f"{url}{request.path}", _HTML, shows, render)
        return send(page, request)

    def _without_files(self, request: Request, name: str) -> Response:
        """Answer as installers are answered, with all that is wrong where the name is watched."""
        missing = self._held.missing(name)
        if missing is None:
            return not_found(request)
        stop = stops.of(missing)
        look = self._look()
        watched = [item.name for item in look.standings if item.project == name]
        lines = [item.line for item in look.judgement.about(watched)]
        message = "\n".join(lines) or f"{stop.title}; {stop.detail}"
        status = "503 Service Unavailable" if missing.is_passing else "409 Conflict"
        return text(status, message)

    def _look(self) -> "_Observed":
        """Judge everything; the same object as long as the judgement is the same."""
        if self._paths is None:
            return _NOTHING
        # One look at a time: each reads all of the state, and the others want the same answer.
        with self._looking:
            stamp, now_s = status.stamp(self._paths), time.monotonic()
            # A change of the state is seen at once, one of the services within seconds.
            if stamp != self._stamp or now_s - self._looked_at_s > _LOOK_AGAIN_AFTER_S:
                now = datetime.now().astimezone()
                is_hidden = systemctl.is_hidden()
                seen = snapshot.take(
                    self._paths, now, observation.by(self._fetch, with_services=not is_hidden)
                )
                judged = judge(seen)
                services_at: int | None = None
                if is_hidden:
                    by_others = services_seen.load(self._paths)
                    services_at = by_others.at_s if by_others else None
                    judged = _with_services(judge(replace(seen, closed={})), by_others)
                if isinstance(seen.watched, InsidersError):
                    _log.warning("%s", seen.watched.message)
                found = _Observed(judged, seen.standings, services_at)
                # The old object stays where nothing has changed, for by it pages are known to be
                # current.
                if found != self._seen:
                    self._seen = found
                self._stamp, self._looked_at_s = stamp, now_s
            return self._seen

    def _fetch(
        self, files: Files, _services: Services | InsidersError, _settings: Settings | None
    ) -> Fetched:
        """Find what a client would fetch: whoever asks for this page has the way to it."""
        found = Fetched("", is_answering=True, is_index=True)
        try:
            projects = frozenset(self._catalog.projects())
            mine = [item for item in directory.samples(files) if item.project in projects]
            # The smallest one, which is the cheapest proof that files can be read.
            for sample in sorted(mine, key=lambda item: (item.size_bytes, item.path.name)):
                if opened := self._catalog.open(sample.path.name):
                    with opened[1] as file:
                        file.read(_FIRST_BYTES)
                    return replace(found, projects=projects, file=sample.path.name)
        except (InsidersError, OSError) as error:
            return replace(found, error=str(error))
        return replace(
            found, projects=projects, error="no file can be read that is listed" if mine else None
        )

    def _render_front(
        self, url: str, shows: "tuple[Sequence[Project], _Observed]", _: str
    ) -> bytes:
        projects, look = shows
        rows = page_data.front(projects, look.standings)
        return _render(
            "front.html",
            root="./",
            url=url,
            is_private=self._is_private,
            rows=rows,
            projects=len(projects),
            files=sum(len(project.files) for project in projects),
            checked_at=max((item.check.checked_at or 0 for item in look.standings), default=0),
            services_at=look.services_at,
            items=page_data.anchored(rows, look.judgement.items),
            snippets=snippets.for_all(url),
        )

    def _render_project(
        self, url: str, shows: "tuple[Project, _Observed, Readme]", _: str
    ) -> bytes:
        project, look, readme = shows
        mine = [item for item in look.standings if item.project == project.name]
        origins = {entry.origin.repository for entry in project.files if entry.origin}
        builds, remotes, problems = self._builds({*origins, *(item.name for item in mine)})
        return _render(
            "project.html",
            root="../../",
            url=url,
            is_private=self._is_private,
            project=page_data.detail(project, builds, remotes, mine, look.judgement),
            readme=readme,
            trouble=problems,
            snippets=snippets.for_one(url, project.name),
        )

    def _builds(self, names: Iterable[str]) -> tuple[list[Build], dict[str, str], list[str]]:
        """Recall all builds of some repositories, where these lie, and what cannot be recalled."""
        builds: list[Build] = []
        remotes: dict[str, str] = {}
        problems: list[str] = []
        if self._paths is None:
            return builds, remotes, problems
        for name in sorted(names):
            try:
                known = state.load(self._paths.state, name)
            except InsidersError as error:
                problems.append(f"It is not known how it was built: {error.message}")
                continue
            builds += known.builds
            if known.remote:
                remotes[name] = without_credentials(known.remote)
        return builds, remotes, problems

    def _readme(self, project: Project) -> Readme:
        """Read what the newest release tells people."""
        if not project.files:
            return Readme()
        entries = page_data.newest(project)
        # A wheel has its metadata in one place; of an sdist all is read.
        entry = next((entry for entry in entries if entry.metadata_sha256), entries[0])
        return self._reader.read(entry.sha256, entry.name, partial(self._open, entry.name))

    def _open(self, name: str) -> FileIO | None:
        opened = self._catalog.open(name)
        return None if opened is None else opened[1]


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


def _asset(name: str, _: str) -> bytes:
    return (files("pypi_insiders.server.web") / "assets" / name).read_bytes()


def _render(template: str, **values: object) -> bytes:
    # What a shell hands on may be no text.
    return _templates().get_template(template).render(values).encode(errors="replace")


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=PackageLoader("pypi_insiders.server.web", "templates/people"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"size": _size, "when": _when, "rfc3339": times.rfc3339}
    return environment


def _shown(value: Any) -> Any:
    """Show what comes from a repository as it is; what is markup already has been cleaned."""
    return printable(value) if type(value) is str else value


def _when(epoch_s: float) -> str:
    """Write a time for people: `2026-11-22 21:30 UTC`."""
    return f"{datetime.fromtimestamp(epoch_s, UTC):%Y-%m-%d %H:%M %Z}"


def _size(size_bytes: int) -> str:
    return size(size_bytes).replace(" ", "\N{NO-BREAK SPACE}")
