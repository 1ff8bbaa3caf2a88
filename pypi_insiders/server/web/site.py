"""Answer people: all projects at `/`, and each at `/project/NAME/`."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from importlib.resources import files
from io import FileIO
from typing import Any

from packaging.utils import InvalidName, canonicalize_name

from pypi_insiders.config.paths import Paths
from pypi_insiders.index.catalog import Catalog
from pypi_insiders.index.metadata_cache import Entry
from pypi_insiders.index.overview import IndexOverview, overview
from pypi_insiders.index.published import Project
from pypi_insiders.repositories import state
from pypi_insiders.repositories.state import Build
from pypi_insiders.server.readme import BUSY, Reader, Readme
from pypi_insiders.server.web import feed, page_data, project_json, snippets, templating
from pypi_insiders.server.web import installer_errors as stops
from pypi_insiders.server.web.held import Held
from pypi_insiders.server.web.installer_errors import Stop
from pypi_insiders.server.web.observed import Observer, PageStatus
from pypi_insiders.server.web.page_cache import PageCache, send
from pypi_insiders.server.web.pages import HTML
from pypi_insiders.server.web.request import Request
from pypi_insiders.server.web.responses import SAFE, Response, not_found, redirect, text
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.formatting import counted
from pypi_insiders.util.without_credentials import without_credentials

# No project has such a name.
_ASSETS = "/-/"
_PROJECT = "/project/"
_HTML = f"{HTML}; charset=utf-8"
_TYPES = {
    "icon.svg": "image/svg+xml",
    "script.js": "text/javascript; charset=utf-8",
    "style.css": "text/css; charset=utf-8",
}
# Of all problems and warnings, so many are shown before they are unfolded.
_ITEMS_SHOWN = 4
# Scripts and styles of the pages are files of ours: no text of a repository can become one.
_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class Site:
    """The pages for people, the feeds, and the JSON of projects.

    Args:
        catalog: what there is.
        held: the names that are never merely not found.
        paths: where the watched repositories are configured; `None`: the catalog is of another
            directory, for which nothing is watched.
        is_private: whether shared caches must not keep them.
        loopback: how URLs name this machine.
    """

    def __init__(
        self,
        catalog: Catalog,
        held: Held,
        paths: Paths | None,
        *,
        is_private: bool,
        loopback: str | None,
    ) -> None:
        self._catalog = catalog
        self._held = held
        self._paths = paths
        self._is_private = is_private
        self._loopback = loopback
        safe = tuple({**dict(SAFE), "Content-Security-Policy": _POLICY}.items())
        self._rendered = PageCache(is_private=is_private, vary=snippets.VARY, safe=safe)
        self._reader = Reader()
        self._observer = Observer(catalog, paths)

    def __call__(self, request: Request) -> Response:
        """Answer a request for one of them; what cannot be read of the state is told in them.

        Raises:
            InsidersError: the distributions cannot be read.
        """
        path = request.path
        # `/-/` and `/project/NAME/` never end so: the application sends those of JSON here.
        if path.endswith("/json"):
            return self._json(request)
        if path == f"{_ASSETS}{feed.NAME}":
            return self._feed(request, None)
        if path.startswith(_ASSETS):
            return self._asset(request)
        if path.startswith(_PROJECT):
            return self._project(request)
        shows = overview(self._catalog), self._observer.current()
        return self._send(request, _HTML, shows, self._render_front)

    def _send(
        self, request: Request, media_type: str, shows: Any, render: Callable[[str, Any], bytes]
    ) -> Response:
        """Answer with a page that has URLs of the index in it."""
        url = snippets.base_url(request, self._loopback)

        # The URL is part of the key: an index has several names, and each client sees its own.
        def rendered(shows: Any, _: str) -> bytes:
            return render(url, shows)

        page = self._rendered.page(f"{url}{request.path}", media_type, shows, rendered)
        return send(page, request)

    def _asset(self, request: Request) -> Response:
        name = request.path.removeprefix(_ASSETS)
        if name not in _TYPES:
            return not_found(request)
        return send(self._rendered.page(name, _TYPES[name], name, _asset), request)

    def _json(self, request: Request) -> Response:
        # `/pypi/NAME/VERSION/json`, or with neither `pypi` nor VERSION.
        parts = request.path.split("/")
        is_release = len(parts) == 5
        project = self._catalog.project(parts[2] if is_release else parts[-2])
        if project is None or not project.files:
            return not_found(request)
        shown = (
            project_json.of_version(project, parts[3])
            if is_release
            else project_json.current(project)
        )
        if is_release and not shown:
            # As with files: a release of this version on PyPI is another one.
            title = f"{project.name} {parts[3]} is not in the index"
            stop = Stop(title, "`pypi-insiders status` shows all problems", 410)
            return stops.answer(stop, request)
        readme = self._readme(shown)
        # Without metadata the answer would say that there are no dependencies.
        if shown and not readme.info:
            title = f"the metadata of {project.name} {shown[0].version} cannot be read"
            stop = Stop(title, "its page shows the reason", 500)
            if readme is BUSY:
                stop = Stop("other metadata is being read", "try again", 503)
            return stops.answer(stop, request, is_page=False)
        shows = project, readme, shown

        def render(url: str, shows: tuple[Project, Readme, Sequence[Entry]]) -> bytes:
            project, readme, shown = shows
            return project_json.render(url, project, shown, readme.info, is_release=is_release)

        return self._send(request, project_json.MEDIA_TYPE, shows, render)

    def _feed(self, request: Request, project: Project | None) -> Response:
        """Answer with the newest releases of one project, or of all."""

        def render(url: str, shows: tuple[Sequence[Project], PageStatus]) -> bytes:
            entries = feed.entries(url, *_newest(self._paths, *shows))
            return feed.render(url, project.name if project else None, entries)

        found = IndexOverview((project,)) if project else overview(self._catalog)
        if found.unread_files:
            return stops.answer(_incomplete(found.unread_files), request, is_page=False)
        shows = found.projects, self._observer.current()
        return self._send(request, feed.MEDIA_TYPE, shows, render)

    def _project(self, request: Request) -> Response:
        given = request.path.removeprefix(_PROJECT)
        is_feed = given.endswith(f"/{feed.NAME}")
        end = f"/{feed.NAME}" if is_feed else "/"
        try:
            name = canonicalize_name(given.removesuffix(end), validate=True)
        except InvalidName:
            return not_found(request)
        if given != f"{name}{end}":
            up = "../" if given.endswith(end) else ""
            return redirect(f"{up}{name}{end}")
        project = self._catalog.project(name)
        if project is None:
            return self._without_files(request, name)
        if is_feed:
            return self._feed(request, project)
        readme = self._readme(page_data.newest(project) if project.files else ())
        shows = project, self._observer.current(), readme
        return self._send(request, _HTML, shows, self._render_project)

    def _without_files(self, request: Request, name: str) -> Response:
        """Answer as installers are answered, with all that is wrong where the name is watched."""
        missing = self._held.missing(name)
        if missing is None:
            return not_found(request, f"{name} is not a project of this index.")
        stop = stops.of(missing)
        look = self._observer.current()
        watched = [item.name for item in look.standings if item.project == name]
        lines = [item.line for item in look.judgement.about(watched)]
        message = "\n".join(lines) or f"{stop.title}; {stop.detail}"
        status = "503 Service Unavailable" if missing.is_passing else "409 Conflict"
        # Without a browser the lines of the judgement are enough; a page has room for the hint.
        response = text(status, message)
        response.error = "\n".join(lines or [stop.title]), stop.detail
        return response

    def _render_front(self, url: str, shows: tuple[IndexOverview, PageStatus]) -> bytes:
        found, look = shows
        rows = page_data.front(found, look.standings, look.judgement)
        items = page_data.anchored(rows, look.judgement.items)
        # One more line takes no more room than the words that unfold it.
        shown = _ITEMS_SHOWN if len(items) > _ITEMS_SHOWN + 1 else len(items)
        return templating.render(
            "front.html",
            root="./",
            url=url,
            is_private=self._is_private,
            rows=rows,
            has_checks=page_data.has_uneven_checks(rows),
            index=found,
            checked_at=max((item.check.checked_at or 0 for item in look.standings), default=0),
            services_at=look.services_at,
            items=items[:shown],
            more_items=items[shown:],
            snippets=snippets.for_all(url),
        )

    def _render_project(self, url: str, shows: tuple[Project, PageStatus, Readme]) -> bytes:
        project, look, readme = shows
        mine = [item for item in look.standings if item.project == project.name]
        origins = {entry.origin.repository for entry in project.files if entry.origin}
        builds, remotes, problems = _builds(self._paths, {*origins, *(item.name for item in mine)})
        return templating.render(
            "project.html",
            root="../../",
            url=url,
            is_private=self._is_private,
            project=page_data.detail(project, builds, remotes, mine, look.judgement),
            readme=readme,
            problems=problems,
            snippets=snippets.for_one(url, project.name),
        )

    def _readme(self, entries: Sequence[Entry]) -> Readme:
        """Read what the files of a release tell people."""
        if not entries:
            return Readme()
        # A wheel has its metadata in one place; of an sdist all is read.
        entry = next((entry for entry in entries if entry.metadata_sha256), entries[0])
        return self._reader.read(entry.sha256, entry.name, partial(self._open, entry.name))

    def _open(self, name: str) -> FileIO | None:
        return opened[1] if (opened := self._catalog.open(name)) else None


def _incomplete(unread_files: int) -> Stop:
    # Without the newest releases older ones would take their place, and be read as new.
    files = counted(unread_files, "file")
    return Stop(f"{files} still to be read", "the feed is complete afterwards", 503)


def _newest(
    paths: Paths | None, found: Sequence[Project], look: PageStatus
) -> tuple[list[Project], list[Build]]:
    """Return the projects with the newest releases, and the builds of their repositories."""
    newest = {entry.project for entry in feed.entries("", found, ())}
    # The messages of watched repositories only; for others they are left out.
    watched = (item.name for item in look.standings if item.project in newest)
    builds, _, _ = _builds(paths, watched)
    return [project for project in found if project.name in newest], builds


def _asset(name: str, _: str) -> bytes:
    return (files("pypi_insiders.server.web") / "assets" / name).read_bytes()


def _builds(
    paths: Paths | None, names: Iterable[str]
) -> tuple[list[Build], dict[str, str], list[str]]:
    """Read all builds of some repositories, their Git URLs, and what cannot be read."""
    builds: list[Build] = []
    remotes: dict[str, str] = {}
    problems: list[str] = []
    if paths is None:
        return builds, remotes, problems
    for name in sorted(names):
        try:
            known = state.load(paths.state, name)
        except InsidersError as error:
            problems.append(f"build details cannot be read: {error.message}")
            continue
        builds += known.builds
        if known.remote:
            # Shown as it is where its host has no page that is known.
            remotes[name] = without_credentials(known.remote)
    return builds, remotes, problems
