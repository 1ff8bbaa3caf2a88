"""What requests are answered with: the few forms that all answers have."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from io import FileIO
from typing import cast
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from pypi_insiders.server.web.headers import has_entity_tag
from pypi_insiders.server.web.request import Request

_BLOCK_BYTES = 32768

Headers = list[tuple[str, str]]

# Foreign text (a file name, a reason) must never become a page with a will of its own.
SAFE: tuple[tuple[str, str], ...] = (
    ("X-Content-Type-Options", "nosniff"),
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Referrer-Policy", "no-referrer"),
)


# Not werkzeug's: with its Request and Response, a project page kept 0.67 of its rate.
@dataclass(slots=True)
class Response:
    """What a request is answered with; to HEAD, without the body."""

    status: str
    """The code and the reason phrase."""
    headers: Headers
    body: bytes = b""
    file: FileIO | None = None
    """In place of a body: sent from where it is, up to the length that the headers promise."""
    error: tuple[str, str | None] | None = None
    """What went wrong, in lines, and what to do; `None`: nothing."""


Handler = Callable[[Request], Response]


def wsgi_app(answer: Handler) -> WSGIApplication:
    """Make a WSGI application of what answers requests."""

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        response = answer(Request(environ))
        start_response(response.status, response.headers)
        file, is_head = response.file, environ["REQUEST_METHOD"] == "HEAD"
        if file is None:
            return () if is_head or not response.body else (response.body,)
        if is_head:
            file.close()
            return ()
        return cast("Iterable[bytes]", environ["wsgi.file_wrapper"](file, _BLOCK_BYTES))

    return app


def text(status: str, message: str, headers: Iterable[tuple[str, str]] = ()) -> Response:
    """Answer with one line; of an error, browsers get a page that shows it."""
    body = f"{message}\n".encode()
    described = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))]
    # Redirects have a text too, which nobody sees.
    error = (message, None) if status >= "400" else None
    return Response(status, [*described, *SAFE, *headers], body, error=error)


def not_found(request: Request, error: str | None = None) -> Response:
    """Answer that there is no such page.

    Args:
        request: for it.
        error: what to show a browser in place of the address.
    """
    # Installers print this text: to them, a path is no news.
    response = text("404 Not Found", "not found")
    response.error = error or f"There is no page at {request.path}.", None
    return response


def redirect(location: str) -> Response:
    """Answer that it is elsewhere for ever; a relative location works behind any proxy."""
    return text("301 Moved Permanently", location, [("Location", location)])


def precondition(request: Request, etag: str, headers: Headers) -> Response | None:
    """Answer 412 or 304 to who wants only another entity tag, or has this one; `None`: neither.

    Args:
        request: with `If-Match` or `If-None-Match`, perhaps.
        etag: of what would be sent, without the quotation marks.
        headers: of what would be sent.

    Source: RFC 9110, sections 13.1 and 15.4.5.
    """
    # Weak tags never match here, and do below. Source: RFC 9110, section 8.8.3.2.
    wanted = request.header("If-Match")
    if wanted is not None and not has_entity_tag(wanted, etag, is_strong=True):
        return text("412 Precondition Failed", "the entity tag is another one now")
    known = request.header("If-None-Match")
    if known is not None and has_entity_tag(known, etag):
        kept = [item for item in headers if item[0] != "Content-Length"]
        return Response("304 Not Modified", kept)
    return None
