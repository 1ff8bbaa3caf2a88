"""Look up the latest public versions of projects on the fallback index."""

import contextlib
import json
import logging
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import NOT_FOUND, NOT_MODIFIED
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request

from pypi_insiders.index import distribution
from pypi_insiders.repositories.public_versions import Public, load, save
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.media_types import SIMPLE_JSON
from pypi_insiders.util.silent_hosts import SilentHosts
from pypi_insiders.util.web import NoAnswerError, answer_to
from pypi_insiders.util.without_credentials import without_credentials

_log = logging.getLogger(__name__)

# Once a day: a public release of a watched project is rare, and every request names the project.
_EVERY_S = 86400
_AT_ONCE = 8
_TIMEOUT_S = 10
# A response of any length must not fill the memory.
_LIMIT_BYTES = 64 * 1024 * 1024


def look_up(directory: Path, index_url: str, names: Iterable[str]) -> None:
    """Update the public versions of the projects that were not looked up for a day.

    A failed request is repeated next time.

    Args:
        directory: the directory of the state.
        index_url: the URL of the simple API of the fallback index.
        names: normalized project names.

    Raises:
        InsidersError: the result cannot be written.
    """
    known, now_s = load(directory), int(time.time())
    wanted = {}
    for name in names:
        url = _page_of(index_url, name)
        before = known.get(name)
        if before is None or before.url != url:
            before = Public(url, 0)
        # A time in the future was written with a wrong clock, and could be years away.
        if not 0 <= now_s - before.asked_at < _EVERY_S:
            wanted[name] = before
    if not wanted:
        return
    hosts = SilentHosts(_AT_ONCE)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        found = pool.map(lambda before: _try(before, hosts), wanted.values())
        answers = dict(zip(wanted, found, strict=True))
    known |= {name: answer for name, answer in answers.items() if answer}
    save(directory, known)


def existing(index_url: str, names: Iterable[str]) -> set[str]:
    """Return the projects that an index has, of those about which it answers.

    Args:
        index_url: the URL of its simple API.
        names: normalized project names.
    """
    hosts, listed = SilentHosts(_AT_ONCE), list(names)

    def exists(name: str) -> bool:
        with contextlib.suppress(_UnknownError):
            return _has(index_url, name, hosts)
        return False

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        found = zip(listed, pool.map(exists, listed), strict=True)
        return {name for name, is_there in found if is_there}


def has_project(index_url: str, name: str) -> bool:
    """Return whether an index has a project of this name, with or without releases.

    Args:
        index_url: the URL of its simple API.
        name: normalized project name.

    Raises:
        InsidersError: the index is unreachable, or its response is neither a page nor 404.
    """
    try:
        return _has(index_url, name, SilentHosts(1))
    except _UnknownError as error:
        raise InsidersError(f"{without_credentials(index_url)}: {error}") from error


def _has(index_url: str, name: str, hosts: SilentHosts) -> bool:
    # A page without files counts: the name is registered, and its owner can publish at any time.
    return _ask(_page_of(index_url, name), None, hosts).status != NOT_FOUND


def _page_of(index_url: str, name: str) -> str:
    return f"{index_url.rstrip('/')}/{name}/"


@dataclass(frozen=True)
class _Answer:
    """The response to the request for the page of a project."""

    status: int
    """200, 304 or 404."""
    etag: str | None = None
    body: bytes = b""


class _UnknownError(Exception):
    """It is unknown whether an index has a project: no response, or an unexpected one."""


def _remember(before: Public, answer: _Answer, now_s: int) -> Public:
    """Return the public versions after a response.

    Raises:
        ValueError: the response is not valid.
    """
    if answer.status == NOT_MODIFIED:
        return before._replace(asked_at=now_s)
    # A truncated page, longer than the limit, is not valid JSON and raises here.
    files = json.loads(answer.body)["files"] if answer.status != NOT_FOUND else []
    final, pre = _newest(files)
    is_first = before.asked_at == 0
    absent_at, appeared_at = before.absent_at, None
    if is_first and not files:
        absent_at = now_s
    # Appeared means that the name was free before; a project that had files at the first lookup is
    # the public project of that name.
    if absent_at is not None and files:
        appeared_at = before.appeared_at or now_s
    return Public(before.url, now_s, answer.etag, final, pre, absent_at, appeared_at)


def _try(before: Public, hosts: SilentHosts) -> Public | None:
    """Return the new public versions of a project; `None` without a valid response."""
    # The ETag saves most downloads: the page of a large project has megabytes.
    try:
        return _remember(before, _ask(before.url, before.etag, hosts), int(time.time()))
    except (_UnknownError, ValueError, LookupError, TypeError, AttributeError) as error:
        _log.debug("no valid response from %s: %s", without_credentials(before.url), error)
        return None


def _ask(url: str, etag: str | None, hosts: SilentHosts) -> _Answer:
    """Request the page of a project.

    Raises:
        _UnknownError: the response is neither a page nor 404, or the host has not answered for
            other projects.
    """
    host = urlsplit(url).netloc
    if hosts.is_silent(host):
        raise _UnknownError("not asked, as it has not answered for others")
    headers = {"Accept": SIMPLE_JSON, **({"If-None-Match": etag} if etag else {})}
    request = Request(url, headers=headers)  # noqa: S310 - http or https
    _log.debug("GET %s", url)
    try:
        with hosts.asking(host, _is_silence), answer_to(request, _TIMEOUT_S) as answer:
            if isinstance(answer, HTTPError):
                if answer.code in (NOT_MODIFIED, NOT_FOUND):
                    return _Answer(answer.code)
                raise _UnknownError(f"status code {answer.code}")
            return _Answer(answer.status, answer.headers["ETag"], answer.read(_LIMIT_BYTES))
    except NoAnswerError as error:
        raise _UnknownError(str(error)) from error


def _is_silence(error: Exception) -> bool:
    return isinstance(error, NoAnswerError)


def _newest(files: Iterable[Any]) -> tuple[str | None, str | None]:
    """Return the latest version and the latest pre-release that are not yanked.

    Source: PEP 691, "Project Detail"; PEP 592.
    """
    # `releases` skips eggs, Windows installers and other old files, which installers ignore too.
    names = (file["filename"] for file in files if file.get("yanked", False) is False)
    found = {version for _, _, version in distribution.releases(names)}
    final = max((version for version in found if not version.is_prerelease), default=None)
    pre = max((version for version in found if version.is_prerelease), default=None)
    return str(final) if final else None, str(pre) if pre else None
