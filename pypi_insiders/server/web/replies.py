"""Answer requests: the few forms that all answers have."""

from collections.abc import Iterable
from wsgiref.types import StartResponse, WSGIEnvironment

from pypi_insiders.server.web.headers import has_entity_tag

Headers = list[tuple[str, str]]

# Foreign text (a file name, a reason) must never become a page with a will of its own.
SAFE: tuple[tuple[str, str], ...] = (
    ("X-Content-Type-Options", "nosniff"),
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Referrer-Policy", "no-referrer"),
)


def text(
    status: str,
    message: str,
    environ: WSGIEnvironment,
    start_response: StartResponse,
    headers: Iterable[tuple[str, str]] = (),
) -> Iterable[bytes]:
    """Answer with one line."""
    body = f"{message}\n".encode()
    start_response(
        status,
        [
            ("Content-Type", "text/plain; charset=utf-8"),
            ("Content-Length", str(len(body))),
            *SAFE,
            *headers,
        ],
    )
    return () if environ["REQUEST_METHOD"] == "HEAD" else (body,)


def not_found(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer that there is no such thing."""
    return text("404 Not Found", "not found", environ, start_response)


def redirect(
    location: str, environ: WSGIEnvironment, start_response: StartResponse
) -> Iterable[bytes]:
    """Answer that it is elsewhere for ever; a relative location works behind any proxy."""
    headers = [("Location", location)]
    return text("301 Moved Permanently", location, environ, start_response, headers)


def not_modified(headers: Headers, start_response: StartResponse) -> Iterable[bytes]:
    """Answer that the client has it already. Source: RFC 9110, section 15.4.5."""
    start_response("304 Not Modified", [item for item in headers if item[0] != "Content-Length"])
    return ()


def is_unwanted(environ: WSGIEnvironment, etag: str) -> bool:
    """Tell whether the client wants only what has another entity tag.

    Source: RFC 9110, section 13.1.1.
    """
    wanted = environ.get("HTTP_IF_MATCH")
    return wanted is not None and not has_entity_tag(wanted, etag, is_strong=True)


def unwanted(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer that there is another one now. Source: RFC 9110, section 15.5.13."""
    return text("412 Precondition Failed", "this is another one now", environ, start_response)


def is_known(environ: WSGIEnvironment, etag: str) -> bool:
    """Tell whether the client has what has this entity tag. Source: RFC 9110, section 13.1.2."""
    given = environ.get("HTTP_IF_NONE_MATCH")
    if given is None:
        return False
    return has_entity_tag(given, etag)
