"""The WSGI application of the index."""

import logging
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any
from urllib.parse import quote
from wsgiref.types import WSGIApplication

from packaging.utils import InvalidName, canonicalize_name

from pypi_insiders.config.paths import Paths
from pypi_insiders.index.catalog import Catalog
from pypi_insiders.repositories.no_release import NoRelease, Reason
from pypi_insiders.server.web import error_pages, pages
from pypi_insiders.server.web import installer_errors as stops
from pypi_insiders.server.web.downloads import Downloads
from pypi_insiders.server.web.guard import Refusal, RequestGuard
from pypi_insiders.server.web.headers import best_media_type
from pypi_insiders.server.web.held import Held
from pypi_insiders.server.web.installer_errors import Stop
from pypi_insiders.server.web.page_cache import PageCache, send
from pypi_insiders.server.web.request import Request
from pypi_insiders.server.web.responses import (
    SAFE,
    Handler,
    Response,
    not_found,
    redirect,
    text,
    wsgi_app,
)
from pypi_insiders.server.web.snippets import base_url
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.media_types import SIMPLE_HTML, SIMPLE_JSON

_log = logging.getLogger(__name__)

# Caches are for what clients send again and again, and must not keep what a stranger makes up.
_LONGEST_REMEMBERED = 1000
# Media type that may be asked for, to that of the answer; of equals the first is preferred.
_MEDIA_TYPES = {
    pages.HTML: f"{pages.HTML}; charset=utf-8",
    SIMPLE_HTML: f"{SIMPLE_HTML}; charset=utf-8",
    "application/vnd.pypi.simple.latest+html": f"{SIMPLE_HTML}; charset=utf-8",
    SIMPLE_JSON: SIMPLE_JSON,
    "application/vnd.pypi.simple.latest+json": SIMPLE_JSON,
}
# Where uv gets 404 for other names, and goes on to its next index: a uv.lock then has the URL of
# this index for its own projects only.
_PREFIX = "/insiders"
# Renovate asks for both where the URL of the index does not end in /simple/.
_JSON = re.compile("/(?:pypi/)?(?P<name>[^/]+)/json")
_RELEASE_JSON = re.compile("/pypi/(?P<name>[^/]+)/(?P<version>[^/]+)/json")
_NETRC = "add `machine HOST login USER password PASSWORD` to ~/.netrc"


@dataclass(frozen=True)
class _Others:
    """Who answers what the index itself does not."""

    legacy: Handler
    """As pypiserver does; redirects to the fallback."""
    site: Handler
    """The pages for people."""
    take_upload: Handler | None
    """`None` refuses every method but GET and HEAD."""
    take_hook: Handler | None
    """`None`: there are no hooks."""


def make_app(  # noqa: PLR0913, PLR0917  # what an index is made of
    catalog: Catalog,
    guard: RequestGuard,
    held: Held,
    paths: Paths | None = None,
    take_upload: Handler | None = None,
    fallback_url: str | None = None,
    take_hook: Handler | None = None,
) -> WSGIApplication:
    """Make the index of a directory of distributions.

    `/simple/` and `/packages/` are as the specification says; names that are not held are
    redirected (303) to the fallback, and a held name without a release stops the client. Below
    `/insiders` is the same without fallback. `/` and `/project/NAME/` are for people, whose
    browsers get errors as pages.

    Args:
        catalog: the published files.
        guard: whom to answer; `/health` answers everybody.
        held: the names that never lead to the fallback.
        paths: where it is said what is watched; `None`: nothing is, for this catalog.
        take_upload: publishes what a request brings; `None` refuses every method but GET and HEAD.
        fallback_url: the index for all other names; `None`: PyPI; empty: none.
        take_hook: takes the hooks of forges; `None`: they are not taken.

    Source: PEP 503, PEP 691.
    """

    def make_legacy() -> Handler:
        from pypi_insiders.server.web import (
            fallback,  # a third of the start, and pages can do without
        )

        return fallback.make_handler(catalog, fallback_url)

    def make_site() -> Handler:
        from pypi_insiders.server.web.site import Site  # most indexes are asked by installers only

        return Site(catalog, held, paths, is_private=guard.is_private, loopback=guard.loopback)

    others = _Others(
        _made_when_asked(make_legacy), _made_when_asked(make_site), take_upload, take_hook
    )
    return wsgi_app(_Application(catalog, guard, held, others))


def _made_when_asked(make: Callable[[], Handler]) -> Handler:
    """Return a handler that is made when the first request comes, once."""
    # `cache` alone would let two threads make it at once.
    one_at_a_time, made = threading.Lock(), cache(make)

    def answer(request: Request) -> Response:
        with one_at_a_time:
            handler = made()
        return handler(request)

    return answer


class _Application:
    def __init__(self, catalog: Catalog, guard: RequestGuard, held: Held, others: _Others) -> None:
        self._catalog = catalog
        self._guard = guard
        self._held = held
        self._others = others
        self._downloads = Downloads(catalog, held, is_private=guard.is_private)
        self._rendered = PageCache(is_private=guard.is_private)
        self._told = set[str]()

    def __call__(self, request: Request) -> Response:
        # Here, at the only way out: an error of whatever origin is a page for who browses.
        return error_pages.shown(self._answer(request), request)

    def _answer(self, request: Request) -> Response:
        is_reading = request.method in ("GET", "HEAD")
        # Before the guard: a health check of services has no password and asks by
        # address.
        if request.path == "/health" and is_reading:
            return self._health()
        if request.method == "POST" and request.path.startswith("/hooks/"):
            # A signature takes the place of a user, and no web page has one.
            refusal = self._guard.check_host(request)
            if take_hook := self._others.take_hook:
                return take_hook(request) if refusal is None else _refuse(refusal, request)
            if refusal is None:
                self._tell_owner("hooks")
        refusal = self._guard.check(request)
        if refusal is not None:
            return _refuse(refusal, request)
        try:
            return self._read(request) if is_reading else self._change(request)
        except InsidersError as error:  # of the catalog, which has said so in the log
            return stops.answer(Stop(error.message, error.hint, 503), request)

    def _tell_owner(self, key: str) -> None:
        """Log, once, that a request needs a setting; the answer does not tell who sent it."""
        if key not in self._told:
            self._told.add(key)
            text = "%s are off: set `%s = true` under [server], and `pypi-insiders server restart`"
            _log.warning(text, key, key)

    def _health(self) -> Response:
        """Answer 200 as long as pages can be made, else 503 with the reason."""
        try:
            self._catalog.refresh()
        except InsidersError as error:
            return text("503 Service Unavailable", error.message)
        headers = [("Content-Type", "text/plain"), ("Content-Length", "2"), *SAFE]
        return Response("200 OK", headers, b"Ok")

    def _read(self, request: Request) -> Response:
        path = request.path
        has_fallback = not path.startswith(f"{_PREFIX}/")
        if not has_fallback:
            path = path.removeprefix(_PREFIX)
        # First what installers ask for, hundreds of times in a resolution.
        if path.startswith("/simple/"):
            absent = self._others.legacy if has_fallback else not_found
            return self._simple(request, path[8:], absent)
        if path.startswith("/packages/") and "/" not in path[10:] and path != "/packages/":
            return self._downloads(request, path[10:])
        if path in ("/simple", "/packages", _PREFIX):
            return redirect(f"{path.rpartition('/')[2]}/")
        if has_fallback and (answer := self._beside(path)):
            return answer(request)
        # The pages link to them, and are the same below both prefixes.
        if path.endswith("/releases.atom") and _is_for_people(path):
            return redirect("../" * path.count("/") + path[1:])
        return self._wrong_path(request)

    def _beside(self, path: str) -> Handler | None:
        """Find what answers for a path that is none of installers; `None`: nothing."""
        if _is_for_people(path):
            return self._others.site
        if path == "/packages/":
            return self._others.legacy
        match = _JSON.fullmatch(path) or _RELEASE_JSON.fullmatch(path)
        return self._json if match and _is_name(match["name"]) else None

    def _json(self, request: Request) -> Response:
        """Answer `/pypi/NAME[/VERSION]/json` and `/NAME/json`, as PyPI and pypiserver have it."""
        release = _RELEASE_JSON.fullmatch(request.path)
        # The name is before the last part in the other two forms.
        given = release["name"] if release else request.path.split("/")[-2]
        name = canonicalize_name(given)
        if given != name:
            end = f"{quote(release['version'])}/json" if release else "json"
            return redirect(f"{'../' * (end.count('/') + 1)}{name}/{end}")
        project = self._catalog.project(name)
        if project is None or not project.files:
            # As with pages: after 404 Renovate and others ask PyPI for the same name.
            missing = self._held.missing(name)
            return stops.answer(stops.of(missing), request) if missing else not_found(request)
        return self._others.site(request)

    def _wrong_path(self, request: Request) -> Response:
        """Lead from a misspelled address to the right one, or stop the client and name that."""
        path = request.path
        # After 404 an installer goes on to its next index, with the names that this one holds.
        right = _respelled(path)
        if right is not None:
            # Relative, for behind a proxy the index may lie below any path.
            return redirect("../" * (path.count("/") - 1) + right)
        index = f"the index is at {base_url(request, self._guard.loopback)}/simple/"
        if held := self._held_in(path):
            return stops.answer(Stop(f"there is no page at {path}", f"{index}{held}/"), request)
        accept = request.header("Accept") or ""
        if path.count("/") < 2 or not (path.endswith("/") or "pypi.simple" in accept):
            return not_found(request)
        return stops.answer(Stop(f"there is no index at {path}", index), request)

    def _held_in(self, path: str) -> str | None:
        """Find a held name in an address below which there is no index, as `/NAME/1.0/json`.

        Raises:
            InsidersError: nobody can know whether there is one.
        """
        parts = [part for part in path.split("/") if part]
        if len(path) > _LONGEST_REMEMBERED or parts[-1:] != ["json"]:
            return None
        names = [canonicalize_name(part) for part in parts[:-1] if _is_name(part)]
        if not names:
            return None
        held = next(filter(self._held.is_held, names), None)
        if held is None:
            self._held.missing(names[0])
        return held

    def _change(self, request: Request) -> Response:
        """Answer a request that is not for reading."""
        take_upload = self._others.take_upload
        # At the place of pypiserver, and at that of PyPI.
        is_upload = take_upload is not None and request.path in ("/", "/legacy/")
        if take_upload is None or not is_upload or request.method != "POST":
            if take_upload is None and request.method == "POST" and request.path == "/":
                self._tell_owner("uploads")
            message = "upload to /" if take_upload else "this index is read-only"
            allowed = "GET, HEAD, POST" if is_upload else "GET, HEAD"
            return text("405 Method Not Allowed", message, [("Allow", allowed)])
        refusal = self._guard.check_upload(request)
        if refusal is not None:
            return text(refusal.status, refusal.message, refusal.headers)
        return take_upload(request)

    def _simple(self, request: Request, rest: str, absent: Handler) -> Response:
        """Answer `/simple/` and `/simple/NAME/`.

        Args:
            request: for one of them.
            rest: of its path.
            absent: answers for a name that is not held.
        """
        if not rest:
            return self._send(request, "", self._catalog.projects(), pages.project_list)
        name = rest.removesuffix("/")
        # By the name as it is: of those that are normalized already nothing is to be checked.
        project = self._catalog.project(name) if name != rest else None
        if project is not None and project.files:
            self._held.learn(name)
            return self._send(request, name, project, pages.project_detail)
        try:
            normalized = canonicalize_name(name, validate=True)
        except InvalidName:
            return self._wrong_path(request)
        if rest != f"{normalized}/":
            up = "../" if name != rest else ""
            return redirect(f"{up}{normalized}/")
        missing = self._held.missing(normalized)
        return absent(request) if missing is None else self._without_release(request, missing)

    def _without_release(self, request: Request, missing: NoRelease) -> Response:
        """Have the client wait for a release that is being built; stop it if there will be none."""
        if missing.reason == Reason.BUILDING:
            location = self._held.wait(missing, request)
            if location is not None:
                headers = [("Location", location), ("Cache-Control", "no-store")]
                return text("303 See Other", missing.text, headers)
            project = self._catalog.project(missing.project)
            if project is not None and project.files:
                return self._send(request, missing.project, project, pages.project_detail)
            missing = self._held.missing(missing.project) or missing
        return stops.answer(stops.of(missing), request)

    def _send(
        self, request: Request, name: str, shows: Any, render: Callable[[Any, str], bytes]
    ) -> Response:
        """Send a page in the form that the client likes best."""
        media_type = _negotiate(request.header("Accept") or "")
        if media_type is None:
            return text("406 Not Acceptable", f"available media types: {', '.join(_MEDIA_TYPES)}")
        return send(self._rendered.page(name, media_type, shows, render), request)


def _refuse(refusal: Refusal, request: Request) -> Response:
    # Poetry 2.5 takes 401 for "not here", and asks its next index.
    if refusal.status.startswith("401") and request.client.startswith("poetry/"):
        return stops.answer(Stop("this index requires a user and a password", _NETRC), request)
    if refusal.status.startswith("421"):
        return stops.answer(Stop(refusal.message, None, 421), request)
    return text(refusal.status, refusal.message, refusal.headers)


def _is_for_people(path: str) -> bool:
    """Tell what is for people: the front page, a project's page, and what they need.

    A project may have the name `project`, and JSON as others have it. What lies deeper is none of
    it: installers ask for that where one of these is taken for the address of an index.
    """
    top, _, rest = path[1:].partition("/")
    if top == "project":
        rest = rest.removesuffix("/releases.atom").removesuffix("/")
        return "/" not in rest and path != "/project/json"
    return path == "/" or (top == "-" and "/" not in rest)


def _respelled(path: str) -> str | None:
    """Return the address that was meant, without the leading slash; `None`: it cannot be told.

    As pypiserver leads from `/NAME/` to the page of a project; and case and doubled slashes.
    """
    parts = [part for part in path.split("/") if part]
    if len(path) > _LONGEST_REMEMBERED or not path.endswith("/"):
        return None
    prefix: list[str] = []
    name: list[str]
    if len(parts) > 1 and parts[0].lower() == _PREFIX[1:]:
        prefix = [parts.pop(0).lower()]
    if len(parts) > 1 and parts[0].lower() == "simple":
        parts.pop(0)
    if parts == [_PREFIX[1:]]:
        prefix, name = parts, []
    elif [part.lower() for part in parts] == ["simple"]:
        name = []
    elif len(parts) == 1 and _is_name(parts[0]):
        name = [canonicalize_name(parts[0])]
    else:
        return None
    right = "/".join([*prefix, "simple", *name, ""])
    return right if f"/{right}" != path else None


def _is_name(text: str) -> bool:
    try:
        canonicalize_name(text, validate=True)
    except InvalidName:
        return False
    return True


def _negotiate(accept: str) -> str | None:
    """Choose the `Content-Type`; `None` where the client takes none of ours.

    Source: PEP 691, "Version + Format Selection"; RFC 9110, section 12.5.1.
    """
    choose = _choose if len(accept) <= _LONGEST_REMEMBERED else _choose.__wrapped__
    return choose(accept)


@lru_cache(maxsize=256)
def _choose(accept: str) -> str | None:
    # Who names JSON and likes HTML as much gets the one that tells more.
    offered = sorted(
        _MEDIA_TYPES, key=lambda name: _MEDIA_TYPES[name] != SIMPLE_JSON or name not in accept
    )
    wanted = best_media_type(accept or "*/*", offered)
    return None if wanted is None else _MEDIA_TYPES[wanted]
