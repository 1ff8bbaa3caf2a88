"""Answers that stop an installer and tell its user why.

An installer that is told 404 takes the project from another index, or says that there is no such
project. Which answer stops it, and which part of it is shown, differs:

uv 0.13 prints title and detail of `application/problem+json`, and the reason phrase; Poetry 2.5 the
reason phrase; pip 26 nothing but the media type of a page that it does not understand; PDM 2.29
nothing but a location that is no URL.
"""

import json
import re
from dataclasses import dataclass, replace
from urllib.parse import quote

from pypi_insiders.repositories.no_release import NoRelease
from pypi_insiders.server.web.request import Request
from pypi_insiders.server.web.responses import SAFE, Headers, Response
from pypi_insiders.util.errors import cut

_LOCATION_SAFE = " ;,.()=+'"
# Poetry 2.5 waits so long five times before it shows the reason.
_RETRY_AFTER_S = 1


@dataclass(frozen=True)
class Stop:
    """Why there is no page."""

    title: str
    """What is wrong with which project, in one line."""
    detail: str | None = None
    """What to do about it, in one line."""
    number: int = 409
    """The status code; 503: it may be better in a moment without anybody doing anything."""


def answer(stop: Stop, request: Request, *, is_page: bool = True) -> Response:
    """Answer with an error, in the form that the client shows.

    Args:
        stop: why there is no page.
        request: by the client that is to show it.
        is_page: whether it is a page of the simple API, and not a file, that is asked for.

    Source: RFC 9457 (problem details); RFC 9110, section 15.
    """
    client = request.client
    # It may repeat what the client asked for, which can be as long as a request.
    stop = replace(stop, title=cut(stop.title))
    headers: Headers = [("Cache-Control", "no-store"), ("Vary", "User-Agent"), *SAFE]
    words = _plain(f"{stop.title}; {stop.detail}" if stop.detail else stop.title)
    number, media_type, body = stop.number, "text/plain; charset=utf-8", words
    if is_page and client.startswith("pip/"):
        number, media_type = 200, f'{media_type}; reason="{words}"'
    elif is_page and client.startswith(("pdm/", "unearth/")):
        number = 303
        # unearth raises for a port that is no number, and prints it.
        port = quote(words.replace(": ", ", "), safe=_LOCATION_SAFE)
        headers.append(("Location", f"http://index:{port}/"))
    else:
        media_type, body = "application/problem+json", json.dumps(problem(stop))
        if number == 503:
            headers.append(("Retry-After", str(_RETRY_AFTER_S)))
    content = f"{body}\n".encode()
    headers += [("Content-Type", media_type), ("Content-Length", str(len(content)))]
    error = stop.title, stop.detail
    return Response(f"{number} {_plain(stop.title)}", headers, content, error=error)


def of(missing: NoRelease) -> Stop:
    """Return the answer about a project without a release."""
    return Stop(missing.text, missing.hint, 503 if missing.is_passing else 409)


def problem(stop: Stop) -> dict[str, str | int]:
    """Describe an error for programs. Source: RFC 9457."""
    content: dict[str, str | int] = {
        "type": "about:blank",
        "title": stop.title,
        "status": stop.number,
    }
    return content | {"detail": stop.detail} if stop.detail else content


def _plain(text: str) -> str:
    """Make a text fit for a status line and a quoted parameter. Source: RFC 9110, section 5.6.4."""
    return re.sub(r"[^ !#-\[\]-~]", "?", text.replace('"', "'").replace("`", "'"))
