"""Fetch a page and a file from the index, as a client does."""

import contextlib
import json
import socket
from base64 import b64encode
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote, urljoin, urlsplit

from packaging.utils import canonicalize_name

from pypi_insiders.reporting.directory import Files, Sample
from pypi_insiders.util.errors import reason
from pypi_insiders.util.formatting import first_line
from pypi_insiders.util.media_types import SIMPLE_JSON

if TYPE_CHECKING:
    from http.client import HTTPConnection, HTTPResponse

_TIMEOUT_S = 2
_START_TIMEOUT_S = 15
"""For the first answer of a server that the socket has to start."""
_PAGE_BYTES = 64 * 1024 * 1024
# More would make `status` slow; the first bytes show as well whether it is the file on disk.
_WHOLE_BYTES = 256 * 1024
"""Up to this size all of a file is fetched, and its hash compared."""
_FIRST_BYTES = 4096


class Fetched(NamedTuple):
    """The answers of the index."""

    url: str
    """The URL of the index, up to the port."""
    is_refused: bool = False
    """Nothing listens there."""
    is_answering: bool = False
    is_index: bool = False
    """Whether what answers is this program."""
    is_other: bool = False
    """It is this program, and serves the files of another user."""
    needs_password: bool = False
    """It requires a password, and `~/.netrc` has none: nothing was fetched."""
    refused_user: str | None = None
    """The user of `~/.netrc` whose password is wrong."""
    projects: frozenset[str] | None = None
    """The listed projects, normalized; `None`: the list was not fetched."""
    file: str | None = None
    """The file that was fetched, with the page that links to it."""
    error: str | None = None
    """What could not be fetched, and why."""


class _WrongError(Exception):
    pass


def fetch(url: str, files: Files, *, is_idle: bool = False) -> Fetched:
    """Fetch the list of projects, and the page and the first bytes of one file.

    Args:
        url: of the index, up to the port.
        files: the files to choose from; the smallest is fetched.
        is_idle: whether the first request has to start the server.
    """
    found = Fetched(url)
    timeout_s = _START_TIMEOUT_S if is_idle else _TIMEOUT_S
    try:
        with contextlib.closing(_connected(url, timeout_s)) as connection:
            return _fetch(connection, found, files)
    # Before the first answer, so it is the connection that failed; `_fetch` has the rest.
    except (OSError, ValueError, _WrongError) as error:
        why = f"no answer at {url}/simple/ ({reason(error)})"
        return found._replace(error=why, is_refused=isinstance(error, ConnectionRefusedError))


def is_index(url: str) -> bool:
    """Return whether an index of this program answers at a URL, up to the port, without a proxy."""
    # With the longer limit, as its socket may have to start it.
    try:
        with contextlib.closing(_connected(url, _START_TIMEOUT_S)) as connection:
            return _is_well(*_get(connection, "/health", {}, _FIRST_BYTES))
    except (OSError, ValueError, _WrongError):
        return False


def _connected(url: str, timeout_s: float) -> "HTTPConnection":
    """Connect to an index.

    Raises:
        OSError: nothing listens there.
        ValueError: it has no valid port.
    """
    place = urlsplit(url)
    host = place.hostname or ""
    # Bytes, as for a text Python loads its tables of international names.
    address = (host.encode() if host.isascii() else host, place.port or 80)
    connected = socket.create_connection(address, timeout_s)  # type: ignore[arg-type]
    try:
        from http.client import HTTPConnection

        # Not urllib, which would use the proxy of this shell: this checks the server here.
        connection = HTTPConnection(host, place.port, timeout=timeout_s)
        connection.sock = connected
    except BaseException:
        connected.close()
        raise
    return connection


def _is_well(answer: "HTTPResponse", body: bytes) -> bool:
    return (answer.status, body) == (200, b"Ok")


def _fetch(connection: "HTTPConnection", found: Fetched, files: Files) -> Fetched:
    answer, body = _get(connection, "/health", {}, _FIRST_BYTES)
    found = found._replace(is_answering=True)
    # The first request may have started the server; the next ones are answered at once or never.
    if connection.sock is not None:
        connection.sock.settimeout(_TIMEOUT_S)
    if not _is_well(answer, body):
        if answer.status == 503:
            why = first_line(body.decode(errors="replace"))
            return found._replace(is_index=True, error=f"{found.url}/health is 503: {why}")
        return found._replace(error=f"{found.url} belongs to another program ({answer.status})")
    found = found._replace(is_index=True)
    path = "/simple/"
    try:
        headers = {"Accept": SIMPLE_JSON}
        answer, body = _get(connection, path, headers, _PAGE_BYTES)
        # Without a password first, as installers do: a page that needs none must not depend on one.
        if answer.status == 401:
            login = _credentials(found.url)
            if login is None:
                return found._replace(needs_password=True)
            word = b64encode(":".join(login).encode()).decode()
            headers["Authorization"] = f"Basic {word}"
            answer, body = _get(connection, path, headers, _PAGE_BYTES)
            if answer.status == 401:
                found = found._replace(refused_user=login[0])
                raise _WrongError("wrong password in ~/.netrc")
        listed = {canonicalize_name(item["name"]) for item in _page(answer, body)["projects"]}
        found = found._replace(projects=frozenset(listed))
        # A directory may have files that the index does not list yet, and the other way round.
        # That of the smallest file, so that `status` costs little.
        project = next((sample.project for sample in files.samples(listed)), None)
        if project is None:
            return found
        path = f"/simple/{project}/"
        answer, body = _get(connection, path, headers, _PAGE_BYTES)
        listed_files = {file["filename"]: file for file in _page(answer, body)["files"]}
        local = (item for item in files.samples([project]) if item.path.name in listed_files)
        if (sample := next(local, None)) is None:
            raise _WrongError("it lists none of the files in the directory")
        file = listed_files[sample.path.name]
        # By the link on the page, not by the name: that the link is right is part of the check.
        path = urlsplit(urljoin(f"{found.url}{path}", str(file["url"]))).path
        _compare(connection, path, headers, sample, file)
        return found._replace(file=sample.path.name)
    except (OSError, ValueError, LookupError, TypeError, _WrongError) as error:
        text = f"{found.url}{unquote(path)} cannot be fetched: {reason(error)}"
        return found._replace(error=text)


def _get(
    connection: "HTTPConnection", path: str, headers: Mapping[str, str], limit_bytes: int
) -> tuple["HTTPResponse", bytes]:
    from http.client import HTTPException

    try:
        connection.request("GET", path, headers=dict(headers))
        answer = connection.getresponse()
        return answer, answer.read(limit_bytes)
    except HTTPException as error:
        # A status line that is none is in its text, with its line end.
        raise _WrongError(first_line(reason(error))) from error


def _page(answer: "HTTPResponse", body: bytes) -> dict[str, Any]:
    if answer.status != 200:
        raise _WrongError(f"status {answer.status}")
    # nginx in front of an export may compress without being asked.
    if answer.headers["Content-Encoding"] == "gzip":
        import gzip

        body = gzip.decompress(body)
    try:
        content: dict[str, Any] = json.loads(body)
    except ValueError as error:
        # As pypiserver does, whose `/health` is that of this index.
        what = answer.headers.get_content_type()
        raise _WrongError(f"it is no JSON, but {what}: another program may answer") from error
    return content


def _compare(
    connection: "HTTPConnection",
    path: str,
    headers: Mapping[str, str],
    sample: Sample,
    file: Mapping[str, Any],
) -> None:
    """Fetch a file, or the beginning of a long one, and compare it with the one on disk."""
    import hashlib

    answer, body = _get(connection, path, headers, _WHOLE_BYTES)
    if answer.status != 200:
        raise _WrongError(f"status {answer.status}")
    with sample.path.open("rb") as local:
        if local.read(_FIRST_BYTES) != body[:_FIRST_BYTES]:
            raise _WrongError("its first bytes differ from the file on disk")
    digest = hashlib.sha256(body).hexdigest()
    # Of a file that is longer than what was fetched the hash is unknown.
    if len(body) == sample.size_bytes and digest != file["hashes"]["sha256"]:
        raise _WrongError("its SHA-256 differs from the one on the page")


def _credentials(url: str) -> tuple[str, str] | None:
    """Return the user and the password that clients find, in `~/.netrc`."""
    host = urlsplit(url).hostname or ""
    # Many have `machine localhost`, which clients find by a URL with that name.
    hosts = (host, "localhost") if host in ("127.0.0.1", "::1") else (host,)
    import netrc

    try:
        known = netrc.netrc().hosts
    # Clients ignore a broken file too.
    except (OSError, netrc.NetrcParseError):
        return None
    for name in hosts:
        if name in known:
            login, _account, password = known[name]
            return login, password
    return None
