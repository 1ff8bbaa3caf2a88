"""Show errors to browsers as pages; installers get text and problem details."""

import base64
import hashlib
from dataclasses import replace
from functools import cache
from html import escape
from importlib.resources import files
from string import Template
from urllib.parse import quote

from pypi_insiders.server.web import code_spans
from pypi_insiders.server.web.headers import best_media_type
from pypi_insiders.server.web.request import Request
from pypi_insiders.server.web.responses import SAFE, Response

_HTML = "text/html"
_TITLES = {
    "400": "Bad request",
    "401": "Password required",
    "403": "Not allowed",
    "404": "Page not found",
    "405": "Method not allowed",
    "409": "Nothing is served here",
    "410": "File not found",
    "421": "Unknown host name",
    "429": "Too many password checks",
    "503": "The index cannot answer",
}
# After these, the same address may be answered another time.
_PASSING = ("401", "429", "503")


def shown(response: Response, request: Request) -> Response:
    """Return an error as a page if a browser asks; any other answer as it is."""
    if response.error is None or not is_browser(request):
        return response
    body, policy = _page(response, request)
    described = {
        **dict(SAFE),
        "Content-Type": f"{_HTML}; charset=utf-8",
        "Content-Length": str(len(body)),
        "Content-Security-Policy": policy,
        "Cache-Control": "no-store",
        "Vary": "Accept, User-Agent",
    }
    # `WWW-Authenticate`, `Allow` and `Retry-After` mean the same on a page.
    kept = [item for item in response.headers if item[0] not in described]
    return replace(response, headers=[*kept, *described.items()], body=body)


def is_browser(request: Request) -> bool:
    """Check whether a request prefers HTML, and is none of an installer.

    Source: PEP 691, "Version + Format Selection"; pip before 22.2 asks for `text/html` alone.
    """
    accept = request.header("Accept") or ""
    # `*/*` alone is what curl and most installers send: they get what they always got.
    if _HTML not in accept or "pypi.simple" in accept or request.client.startswith("pip/"):
        return False
    return best_media_type(accept, (_HTML, "application/json", "*/*")) == _HTML


def _page(response: Response, request: Request) -> tuple[bytes, str]:
    """Return the page and its Content-Security-Policy."""
    message, hint = response.error or ("", None)
    code = response.status[:3]
    template, policy = _template()
    told = "".join(f"<p>{code_spans.html(line)}</p>\n" for line in message.splitlines())
    if hint:
        told += f"<p>{code_spans.html(hint)}</p>\n"
    again = '<a href="">Load this page again</a>' if code in _PASSING else ""
    # Only values are foreign, and `substitute` does not look into them again.
    page = template.substitute(
        code=code,
        title=escape(_TITLES.get(code, "Error")),
        told=told,
        again=again,
        root=_root(request),
    )
    return page.encode(errors="replace"), policy


def _root(request: Request) -> str:
    """Return the front page relative to what was asked for: right below any path of a proxy."""
    # As the client has sent it, where `%2F` begins no other directory.
    raw = str(request.environ.get("REQUEST_URI", "")).partition("?")[0]
    if not raw.startswith("/"):  # a proxy may send the whole URL
        raw = quote(request.path)
    return "../" * (raw.count("/") - 1) or "./"


@cache
def _template() -> tuple[Template, str]:
    """Read the page, which brings its own style: while an index refuses, it sends nothing else."""
    directory = files("pypi_insiders.server.web")
    style = (directory / "assets" / "error.css").read_text(encoding="utf-8")
    icon = base64.b64encode((directory / "assets" / "icon.svg").read_bytes()).decode()
    page = (directory / "templates" / "error.html").read_text(encoding="utf-8")
    # By its hash, and not 'unsafe-inline': a text that slipped through could still bring no style.
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return Template(Template(page).safe_substitute(style=style, icon=icon)), policy
