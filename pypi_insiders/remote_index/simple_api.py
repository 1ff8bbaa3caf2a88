"""Ask an index which files it has of a project, by its simple API.

Source: https://packaging.python.org/en/latest/specifications/simple-repository-api/
"""

import base64
import hashlib
import http.client
import json
import logging
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import IO, TypeVar
from urllib.error import HTTPError
from urllib.parse import quote, unquote, urljoin, urlsplit

from pypi_insiders.remote_index.credentials import Credentials
from pypi_insiders.remote_index.errors import PublishError, failure
from pypi_insiders.util.web import NoAnswerError, answer_to
from pypi_insiders.util.without_credentials import without_credentials

_Found = TypeVar("_Found")

_log = logging.getLogger(__name__)

_JSON = "application/vnd.pypi.simple.v1+json"
_ACCEPT = f"{_JSON}, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"
_TIMEOUT_S = 60
_LIMIT_BYTES = 64 * 1024 * 1024
_BLOCK_BYTES = 1024 * 1024
# Some indexes list links with spaces, which http.client refuses; `%` stays, as most are quoted.
_IN_URL = "%/:?&=+,;@!$'()*[]~"


@dataclass(frozen=True)
class Listed:
    """A file as a page names it."""

    url: str
    sha256: str | None
    """Hexadecimal; `None` where the page does not tell."""


@dataclass(frozen=True)
class Page:
    """What an index has of a project, file name to file."""

    url: str
    files: dict[str, Listed]


class _NotThereError(PublishError):
    """The index answers that it has no such thing."""


def ask(simple_url: str, project: str, credentials: Credentials | None) -> Page:
    """Ask for the page of a project; a project that the index does not know has no files.

    Some indexes send whoever asks for a project that they do not know to PyPI. The page says by
    its URL who answered.

    Args:
        simple_url: the URL of the simple API, with a slash at its end.
        project: normalized.
        credentials: who asks; `None` for anybody.

    Raises:
        PublishError: there is no answer, or none of an index.
    """
    url = f"{simple_url}{project}/"
    try:
        kind, place, body = _get(url, credentials, _whole)
    except _NotThereError:
        return Page(url, {})
    try:
        return Page(place, _files(kind, body, place))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise PublishError(
            f"{without_credentials(url)} is no page of an index ({kind})",
            "check index-url under [publish], and set check-url to the URL of its simple API",
        ) from error


def hash_of(listed: Listed, credentials: Credentials | None, limit_bytes: int) -> str | None:
    """Find out the sha256 of a file whose page does not tell it, by getting the file.

    Returns:
        Hexadecimal; `None` if it has more bytes than the limit.

    Raises:
        PublishError: it cannot be had.
    """

    def read(answer: http.client.HTTPResponse) -> str | None:
        digest = hashlib.sha256()
        left_bytes = limit_bytes
        # A limit of what is expected: an index must not be able to send for ever.
        while block := answer.read(_BLOCK_BYTES):
            digest.update(block)
            left_bytes -= len(block)
            if left_bytes < 0:
                return None
        _see_the_end(answer)
        return digest.hexdigest()

    return _get(listed.url, credentials, read)


def _whole(answer: http.client.HTTPResponse) -> tuple[str, str, bytes]:
    """Read a page: its type, from where it came in the end, and its content."""
    body = answer.read(_LIMIT_BYTES + 1)
    if len(body) > _LIMIT_BYTES:
        raise ValueError("the page is too large")
    _see_the_end(answer)
    return answer.headers.get_content_type(), answer.url, body


def _see_the_end(answer: http.client.HTTPResponse) -> None:
    """Refuse an answer that was cut off; read in parts, it is not said to be."""
    if answer.length:
        raise http.client.IncompleteRead(b"", answer.length)


def _get(
    url: str, credentials: Credentials | None, read: Callable[[http.client.HTTPResponse], _Found]
) -> _Found:
    """Get a URL; user and password go to its host alone, wherever that sends us.

    Raises:
        PublishError: there is no answer, or none to read.
    """
    redirects = _Redirects(url)
    _log.debug("GET %s", without_credentials(url))
    try:
        with answer_to(_request(url, credentials), _TIMEOUT_S, redirects) as answer:
            if not isinstance(answer, HTTPError):
                return read(answer)
            kind = _NotThereError if answer.code == http.client.NOT_FOUND else PublishError
            text = f"status code {answer.code} {answer.reason}"
    except NoAnswerError as error:
        kind, text = PublishError, str(error)
    password = credentials.password if credentials else None
    raise failure(f"cannot ask {without_credentials(redirects.url)}", text, password, kind)


def _request(url: str, credentials: Credentials | None) -> urllib.request.Request:
    request = urllib.request.Request(  # noqa: S310  # http or https, by the settings
        quote(url, safe=_IN_URL),
        headers={
            "Accept": _ACCEPT,
            "Cache-Control": "no-cache",  # what was uploaded a moment ago is looked for
        },
    )
    if credentials and credentials.password:
        both = base64.b64encode(f"{credentials.user}:{credentials.password}".encode()).decode()
        # A header of the request itself would be sent to the host of each redirect.
        request.add_unredirected_header("Authorization", f"Basic {both}")
    return request


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follow redirects over HTTP, and take user and password along on the same host only."""

    def __init__(self, url: str) -> None:
        self.url = url

    def redirect_request(  # noqa: PLR0913, PLR0917  # the signature is that of urllib
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        """Make the next request of a redirect."""
        request = super().redirect_request(req, fp, code, msg, headers, newurl)
        if request is None:
            return None
        # urllib would follow to ftp as well.
        if request.type not in ("http", "https"):
            raise ValueError(f"a redirect to {request.type}")
        if _origin(request.full_url) == _origin(req.full_url) and (
            authorization := req.get_header("Authorization")
        ):
            request.add_unredirected_header("Authorization", authorization)
        self.url = newurl
        return request


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc


def is_of(url: str, other: str) -> bool:
    """Tell whether two URLs are of one server."""
    return _origin(url) == _origin(other)


def _files(kind: str, body: bytes, place: str) -> dict[str, Listed]:
    """Read a page.

    Raises:
        ValueError, LookupError, TypeError, AttributeError, RecursionError: it is none.
    """
    # Some indexes answer JSON under the plain type.
    if kind in (_JSON, "application/json"):
        return {
            file["filename"]: Listed(urljoin(place, file["url"]), file["hashes"].get("sha256"))
            for file in json.loads(body)["files"]
        }
    if kind in ("text/html", "application/vnd.pypi.simple.v1+html"):
        links = _Links()
        links.feed(body.decode(errors="replace"))
        links.close()
        return dict(_listed(urljoin(place, link)) for link in links.found)
    raise ValueError("another type")


def _listed(link: str) -> tuple[str, Listed]:
    url, _, fragment = link.partition("#")
    name = unquote(urlsplit(url).path.rpartition("/")[2])
    algorithm, _, digest = fragment.partition("=")
    return name, Listed(url, digest.lower() if algorithm == "sha256" else None)


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take what an anchor leads to."""
        if tag == "a":
            self.found += [value for name, value in attrs if name == "href" and value]
