"""The WSGI application of the index."""

import threading
from collections.abc import Callable, Iterable
from functools import cache, lru_cache
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from packaging.utils import InvalidName, canonicalize_name, is_normalized_name

from pypi_insiders.config.paths import Paths
from pypi_insiders.index.catalog import Catalogue
from pypi_insiders.repositories.no_release import NoRelease, Reason
from pypi_insiders.server.web import pages
from pypi_insiders.server.web import stop as stops
from pypi_insiders.server.web.downloads import Downloads
from pypi_insiders.server.web.guard import Guard
from pypi_insiders.server.web.headers import best_media_type
from pypi_insiders.server.web.held import Held
from pypi_insiders.server.web.rendered import Rendered, send
from pypi_insiders.server.web.replies import SAFE, not_found, redirect, text
from pypi_insiders.server.web.snippets import base_url
from pypi_insiders.server.web.stop import Stop
from pypi_insiders.util.errors import InsidersError

_LONGEST_REMEMBERED = 1000
# Media type that may be asked for, to that of the answer; of equals the first is preferred.
_MEDIA_TYPES = {
    pages.HTML: f"{pages.HTML}; charset=utf-8",
    "application/vnd.pypi.simple.v1+html": "application/vnd.pypi.simple.v1+html; charset=utf-8",
    "application/vnd.pypi.simple.latest+html": "application/vnd.pypi.simple.v1+html; charset=utf-8",
    pages.JSON: pages.JSON,
    "application/vnd.pypi.simple.latest+json": pages.JSON,
}
_PREFIX = "/insiders"
_NETRC = "give them by `machine HOST login USER password PASSWORD` in ~/.netrc"

TakeUpload = Callable[[WSGIEnvironment], tuple[str, str]]
"""Publish what a request brings; tell status line and message."""
_Answer = Callable[[str, WSGIEnvironment, StartResponse], Iterable[bytes]]


def make_app(  # noqa: PLR0913, PLR0917  # what an index is made of
    catalogue: Catalogue,
    guard: Guard,
    held: Held,
    paths: Paths | None = None,
    take_upload: TakeUpload | None = None,
    fallback_url: str | None = None,
) -> WSGIApplication:
    """Make the index of a directory of distributions.

    `/simple/` and `/packages/` are as the specification says; names that are not held are
    redirected (303) to the fallback, and a held name without a release stops the client. Below
    `/insiders` is the same without fallback. `/` and `/project/NAME/` are for people.

    Args:
        catalogue: what there is.
        guard: whom to answer; `/health` answers everybody.
        held: the names that never lead to the fallback.
        paths: where it is said what is watched; `None`: nothing is, for this catalogue.
        take_upload: publishes what a request brings; `None` refuses every method but GET and HEAD.
        fallback_url: the index for all other names; by default pypiserver's own, which is PyPI.

    Source: PEP 503, PEP 691.
    """

    @cache
    def make_others() -> WSGIApplication:
        from pypi_insiders.server.web import (
            legacy,  # a third of the start, and pages can do without
        )

        return legacy.make_app(catalogue, fallback_url)

    def others(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        return make_others()(environ, start_response)

    one_at_a_time = threading.Lock()

    @cache
    def make_site() -> _Answer:
        from pypi_insiders.server.web.site import Site  # most indexes are asked by installers only

        return Site(catalogue, held, paths, is_private=guard.is_private)

    def site(path: str, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        with one_at_a_time:
            answer = make_site()
        return answer(path, environ, start_response)

    return _Application(catalogue, guard, held, take_upload, others, site)


class _Application:
    def __init__(  # noqa: PLR0913, PLR0917  # as `make_app`
        self,
        catalogue: Catalogue,
        guard: Guard,
        held: Held,
        take_upload: TakeUpload | None,
        others: WSGIApplication,
        site: _Answer,
    ) -> None:
        self._catalogue = catalogue
        self._guard = guard
        self._held = held
        self._take_upload = take_upload
        self._others = others
        self._site = site
        self._downloads = Downloads(catalogue, held, is_private=guard.is_private)
        self._rendered = Rendered(is_private=guard.is_private)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        is_reading = environ["REQUEST_METHOD"] in ("GET", "HEAD")
        if environ["PATH_INFO"] == "/health" and is_reading:
            return self._health(environ, start_response)
        refusal = self._guard.check(environ)
        if refusal is not None and refusal.status.startswith("401") and _goes_on(environ):
            stop = Stop("this index needs a user and a password", _NETRC)
            return stops.answer(stop, environ, start_response)
        if refusal is not None and refusal.status.startswith("421"):
            return stops.answer(Stop(refusal.message, None, 421), environ, start_response)
        if refusal is not None:
            return text(refusal.status, refusal.message, environ, start_response, refusal.headers)
        answer = self._read if is_reading else self._change
        try:
            return answer(environ["PATH_INFO"], environ, start_response)
        except InsidersError as error:  # of the catalogue, which has said so in the log
            return stops.answer(
                Stop(error.message, error.hint, 503),
                environ,
                start_response,
            )

    def _health(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer 200 as long as pages can be made, else 503 with the reason."""
        try:
            self._catalogue.refresh()
        except InsidersError as error:
            return text("503 Service Unavailable", error.message, environ, start_response)
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2"), *SAFE])
        return () if environ["REQUEST_METHOD"] == "HEAD" else (b"Ok",)

    def _read(
        self, path: str, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        """Answer a request for something to read."""
        has_fallback = not path.startswith(f"{_PREFIX}/")
        if not has_fallback:
            path = path.removeprefix(_PREFIX)
        if path.startswith("/simple/"):
            others = self._others if has_fallback else not_found
            return self._simple(path[8:], others, environ, start_response)
        if path.startswith("/packages/") and path != "/packages/":
            return self._downloads(path[10:], environ, start_response)
        if path in ("/simple", "/packages", _PREFIX):
            return redirect(f"{path.rpartition('/')[2]}/", environ, start_response)
        if has_fallback and _is_for_people(path):
            return self._site(path, environ, start_response)
        if has_fallback and _is_legacy(path):
            return self._legacy(path, environ, start_response)
        return self._wrong_path(environ["PATH_INFO"], environ, start_response)

    def _legacy(
        self, path: str, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        """Answer as pypiserver does, but for a held name without a release."""
        name = path[1:].removesuffix("/json")
        project = self._catalogue.project(name)
        if path.endswith("/json") and (project is None or not project.files):
            missing = self._held.missing(name)
            if missing is not None:
                return stops.answer(stops.of(missing), environ, start_response)
        return self._others(environ, start_response)

    def _wrong_path(
        self, path: str, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        """Lead from a misspelled address to the right one, or stop the client and name that.

        After 404 an installer goes on to its next index, with the names that this one holds.
        """
        right = _respelled(path)
        if right is not None:
            return redirect("../" * (path.count("/") - 1) + right, environ, start_response)
        if held := self._held_in(path):
            hint = f"the index is at {base_url(environ)}/simple/{held}/"
            return stops.answer(Stop(f"there is no page at {path}", hint), environ, start_response)
        accept = environ.get("HTTP_ACCEPT", "")
        if path.count("/") < 2 or not (path.endswith("/") or "pypi.simple" in accept):
            return not_found(environ, start_response)
        url = base_url(environ)
        return stops.answer(
            Stop(f"there is no index at {path}", f"the index is at {url}/simple/"),
            environ,
            start_response,
        )

    def _held_in(self, path: str) -> str | None:
        """Find a held name in an address below which there is no index, as `/NAME/VERSION/json`.

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

    def _change(
        self, path: str, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        """Answer a request that is not for reading."""
        take = self._take_upload if path in ("/", "/legacy/") else None
        if take is None or environ["REQUEST_METHOD"] != "POST":
            message = "upload to /" if self._take_upload else "this index is read-only"
            headers = [("Allow", "GET, HEAD, POST" if take else "GET, HEAD")]
            return text("405 Method Not Allowed", message, environ, start_response, headers)
        refusal = self._guard.check_upload(environ)
        if refusal is not None:
            return text(refusal.status, refusal.message, environ, start_response, refusal.headers)
        return text(*take(environ), environ, start_response)

    def _simple(
        self,
        rest: str,
        others: WSGIApplication,
        environ: WSGIEnvironment,
        start_response: StartResponse,
    ) -> Iterable[bytes]:
        """Answer `/simple/` and `/simple/NAME/`; a name that is not held is left to others."""
        if not rest:
            names = self._catalogue.projects()
            return self._send("", names, pages.project_list, environ, start_response)
        name = rest.removesuffix("/")
        project = self._catalogue.project(name) if name != rest else None
        if project is not None and project.files:
            return self._send(name, project, pages.project_detail, environ, start_response)
        try:
            normalized = canonicalize_name(name, validate=True)
        except InvalidName:
            return self._wrong_path(environ["PATH_INFO"], environ, start_response)
        if rest != f"{normalized}/":
            up = "../" if name != rest else ""
            return redirect(f"{up}{normalized}/", environ, start_response)
        missing = self._held.missing(normalized)
        if missing is None:
            return others(environ, start_response)
        return self._without_release(missing, environ, start_response)

    def _without_release(
        self, missing: NoRelease, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        """Have the client wait for a release that is being built; stop it if there will be none."""
        if missing.reason == Reason.BUILDING:
            location = self._held.wait(missing, environ)
            if location is not None:
                headers = [("Location", location), ("Cache-Control", "no-store")]
                status = "303 See Other"
                return text(status, missing.text, environ, start_response, headers)
            project = self._catalogue.project(missing.project)
            if project is not None and project.files:
                render = pages.project_detail
                return self._send(missing.project, project, render, environ, start_response)
            missing = self._held.missing(missing.project) or missing
        return stops.answer(stops.of(missing), environ, start_response)

    def _send(
        self,
        name: str,
        shows: Any,
        render: Callable[[Any, str], bytes],
        environ: WSGIEnvironment,
        start_response: StartResponse,
    ) -> Iterable[bytes]:
        """Send a page in the form that the client likes best."""
        media_type = _negotiate(environ.get("HTTP_ACCEPT", ""))
        if media_type is None:
            offered = ", ".join(_MEDIA_TYPES)
            return text("406 Not Acceptable", f"there is {offered}", environ, start_response)
        page = self._rendered.page(name, media_type, shows, render)
        return send(page, environ, start_response)


def _is_for_people(path: str) -> bool:
    """Tell what is for people: the front page, a project's page, and what they need.

    A project may have the name `project`, and JSON as others have it.
    """
    return path == "/" or (path.startswith(("/project/", "/-/")) and path != "/project/json")


def _is_legacy(path: str) -> bool:
    """Tell what pypiserver answers: the list of packages, `/NAME/json`."""
    if path == "/packages/":
        return True
    name = path[1:].removesuffix("/json")
    return path == f"/{name}/json" and is_normalized_name(name)


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


def _goes_on(environ: WSGIEnvironment) -> bool:
    """Tell whether the client takes 401 for "not here" and asks its next index, as Poetry 2.5."""
    return bool(environ.get("HTTP_USER_AGENT", "").startswith("poetry/"))


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
        _MEDIA_TYPES, key=lambda name: _MEDIA_TYPES[name] != pages.JSON or name not in accept
    )
    wanted = best_media_type(accept or "*/*", offered)
    return None if wanted is None else _MEDIA_TYPES[wanted]
