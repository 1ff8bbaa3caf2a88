"""Read the files of a project from the simple API of an index.

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
from typing import TypeVar
from urllib.error import HTTPError
from urllib.parse import quote, unquote, urljoin, urlsplit

from pypi_insiders.remote_index.credentials import Credentials
from pypi_insiders.remote_index.errors import PublishError, failure
from pypi_insiders.util.media_types import SIMPLE_HTML, SIMPLE_JSON
from pypi_insiders.util.redirects import Redirects
from pypi_insiders.util.web import NoAnswerError, answer_to
from pypi_insiders.util.without_credentials import without_credentials

_Found = TypeVar("_Found")

_log = logging.getLogger(__name__)

# JSON first, as it has the hash of each file; HTML for indexes without it.
_ACCEPT = f"{SIMPLE_JSON}, {SIMPLE_HTML};q=0.2, text/html;q=0.1"
_TIMEOUT_S = 60
# A response of any length must not fill the memory.
_LIMIT_BYTES = 64 * 1024 * 1024
_BLOCK_BYTES = 1024 * 1024
# Characters that quote() leaves: some indexes list links with spaces, which http.client rejects.
# `%` stays, as most links are quoted already.
_IN_URL = "%/:?&=+,;@!$'()*[]~"


@dataclass(frozen=True)
class Listed:
    """A file on the page of a project."""

    url: str
    sha256: str | None
    """Hexadecimal; `None`: the page has none."""


@dataclass(frozen=True)
class Page:
    """The files of a project on an index, by file name."""

    url: str
    files: dict[str, Listed]


class _NotThereError(PublishError):
    """The index answers 404."""


def ask(simple_url: str, project: str, credentials: Credentials | None) -> Page:
    """Read the page of a project; an unknown project has no files.

    Some indexes redirect unknown projects to PyPI: the URL of the page is that of the index that
    answered.

    Args:
        simple_url: the URL of the simple API, with a slash at its end.
        project: the normalized name.
        credentials: user and password; `None`: read anonymously.

    Raises:
        PublishError: the index is unreachable, or its response is not a page of a simple API.
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
            f"{without_credentials(url)} is not a page of a simple API ({kind})",
            "check index-url under [publish], and set check-url to the URL of its simple API",
        ) from error


def hash_of(listed: Listed, credentials: Credentials | None, limit_bytes: int) -> str | None:
    """Return the sha256 of a file that its page has without one, by downloading the file.

    Returns:
        Hexadecimal; `None` if the file has more bytes than the limit.

    Raises:
        PublishError: the file cannot be downloaded.
    """

    def read(answer: http.client.HTTPResponse) -> str | None:
        digest = hashlib.sha256()
        left_bytes = limit_bytes
        # The limit is the size of the local file: a larger one differs, whatever its hash, and an
        # index must not be able to send without end.
        while block := answer.read(_BLOCK_BYTES):
            digest.update(block)
            left_bytes -= len(block)
            if left_bytes < 0:
                return None
        _see_the_end(answer)
        return digest.hexdigest()

    return _get(listed.url, credentials, read)


def _whole(answer: http.client.HTTPResponse) -> tuple[str, str, bytes]:
    """Return the type of a page, its URL after redirects, and its content."""
    body = answer.read(_LIMIT_BYTES + 1)
    if len(body) > _LIMIT_BYTES:
        raise ValueError("the page is too large")
    _see_the_end(answer)
    return answer.headers.get_content_type(), answer.url, body


def _see_the_end(answer: http.client.HTTPResponse) -> None:
    # http.client raises for a truncated response when it is read as a whole, not in blocks.
    if answer.length:
        raise http.client.IncompleteRead(b"", answer.length)


def _get(
    url: str, credentials: Credentials | None, read: Callable[[http.client.HTTPResponse], _Found]
) -> _Found:
    """Send a GET request, with the credentials for this host only, not for those of redirects.

    Raises:
        PublishError: there is no response, or it cannot be read.
    """
    redirects = Redirects(url)
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
    raise failure(f"cannot read {without_credentials(redirects.url)}", text, password, kind)


def _request(url: str, credentials: Credentials | None) -> urllib.request.Request:
    request = urllib.request.Request(  # noqa: S310  # http or https, by the settings
        quote(url, safe=_IN_URL),
        headers={
            "Accept": _ACCEPT,
            "Cache-Control": "no-cache",  # a cached page lacks the file uploaded a moment ago
        },
    )
    if credentials and credentials.password:
        both = base64.b64encode(f"{credentials.user}:{credentials.password}".encode()).decode()
        # A header of the request itself would be sent to the host of each redirect.
        request.add_unredirected_header("Authorization", f"Basic {both}")
    return request


def _files(kind: str, body: bytes, place: str) -> dict[str, Listed]:
    """Parse a page.

    Raises:
        ValueError, LookupError, TypeError, AttributeError, RecursionError: it is not valid.
    """
    # Some indexes send JSON with the plain type.
    if kind in (SIMPLE_JSON, "application/json"):
        return {
            file["filename"]: Listed(
                urljoin(place, file["url"]), _hex(file["hashes"].get("sha256"))
            )
            for file in json.loads(body)["files"]
        }
    if kind in ("text/html", SIMPLE_HTML):
        links = _Links()
        links.feed(body.decode(errors="replace"))
        links.close()
        return dict(_listed(urljoin(place, link)) for link in links.found)
    raise ValueError("another type")


def _listed(link: str) -> tuple[str, Listed]:
    url, _, fragment = link.partition("#")
    name = unquote(urlsplit(url).path.rpartition("/")[2])
    # `#sha256=HEX`; other algorithms count as none. Source: PEP 503.
    algorithm, _, digest = fragment.partition("=")
    return name, Listed(url, _hex(digest) if algorithm == "sha256" else None)


def _hex(digest: str | None) -> str | None:
    # In capitals too the same file, not a different one: PEP 503 and PEP 691 say hex alone.
    return digest.lower() if digest else None


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect the link of an anchor."""
        if tag == "a":
            self.found += [value for name, value in attrs if name == "href" and value]
