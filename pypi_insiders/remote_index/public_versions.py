"""Ask the public index which releases it has of what is watched."""

import json
import logging
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from http.client import NOT_FOUND, NOT_MODIFIED
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request

from pypi_insiders.index import distribution
from pypi_insiders.repositories.public_versions import Public, load, save
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.web import NoAnswerError, answer_to
from pypi_insiders.util.without_credentials import without_credentials

_log = logging.getLogger(__name__)

_JSON = "application/vnd.pypi.simple.v1+json"
_EVERY_S = 86400
_AT_ONCE = 8
_TIMEOUT_S = 10
_LIMIT_BYTES = 64 * 1024 * 1024


def look_up(directory: Path, index_url: str, names: Iterable[str]) -> None:
    """Ask the public index for projects of which that was not done for a day, and remember it.

    What cannot be had is asked for again next time.

    Args:
        directory: that of the state.
        index_url: the URL of its simple API.
        names: normalized.

    Raises:
        InsidersError: what was found out cannot be written.
    """
    known, now_s = load(directory), int(time.time())
    wanted = {}
    for name in names:
        url = _page_of(index_url, name)
        before = known.get(name)
        if before is None or before.url != url:
            before = Public(url, 0)
        # A time in the future is of a clock that was wrong.
        if not 0 <= now_s - before.asked_at < _EVERY_S:
            wanted[name] = before
    if not wanted:
        return
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        answers = dict(zip(wanted, pool.map(_try, wanted.values()), strict=True))
    known |= {name: answer for name, answer in answers.items() if answer}
    save(directory, known)


def has_project(index_url: str, name: str) -> bool:
    """Ask an index whether it has a project of this name, whatever releases that has.

    Args:
        index_url: the URL of its simple API.
        name: normalized.

    Raises:
        InsidersError: it does not answer, or not clearly.
    """
    try:
        return _ask(_page_of(index_url, name)).status != NOT_FOUND
    except _UnknownError as error:
        raise InsidersError(f"{without_credentials(index_url)}: {error}") from error


def _page_of(index_url: str, name: str) -> str:
    return f"{index_url.rstrip('/')}/{name}/"


@dataclass(frozen=True)
class _Answer:
    """What came for the page of a project."""

    status: int
    """200, 304 or 404."""
    etag: str | None = None
    body: bytes = b""


class _UnknownError(Exception):
    """An index did not answer, or nothing that tells whether it has a project."""


def _remember(before: Public, answer: _Answer, now_s: int) -> Public:
    """Add an answer to what was known.

    Raises:
        ValueError: it cannot be understood.
    """
    if answer.status == NOT_MODIFIED:
        return replace(before, asked_at=now_s)
    files = json.loads(answer.body)["files"] if answer.status != NOT_FOUND else []
    final, pre = _newest(files)
    is_first = before.asked_at == 0
    absent_at, appeared_at = before.absent_at, None
    if is_first and not files:
        absent_at = now_s
    # Only of a name that was free before: what always had files is the public project of that name.
    if absent_at is not None and files:
        appeared_at = before.appeared_at or now_s
    return Public(before.url, now_s, answer.etag, final, pre, absent_at, appeared_at)


def _try(before: Public) -> Public | None:
    """Ask for what is new of a project; `None` where there is no answer to be understood."""
    try:
        return _remember(before, _ask(before.url, before.etag), int(time.time()))
    except (_UnknownError, ValueError, LookupError, TypeError, AttributeError) as error:
        _log.debug("%s tells nothing: %s", without_credentials(before.url), error)
        return None


def _ask(url: str, etag: str | None = None) -> _Answer:
    """Ask for the page of a project.

    Raises:
        _UnknownError: the answer is neither that page nor that there is none.
    """
    headers = {"Accept": _JSON, **({"If-None-Match": etag} if etag else {})}
    request = Request(url, headers=headers)  # noqa: S310 - http or https
    _log.debug("GET %s", url)
    try:
        with answer_to(request, _TIMEOUT_S) as answer:
            if isinstance(answer, HTTPError):
                if answer.code in (NOT_MODIFIED, NOT_FOUND):
                    return _Answer(answer.code)
                raise _UnknownError(f"status code {answer.code}")
            return _Answer(answer.status, answer.headers["ETag"], answer.read(_LIMIT_BYTES))
    except NoAnswerError as error:
        raise _UnknownError(str(error)) from error


def _newest(files: Iterable[Any]) -> tuple[str | None, str | None]:
    """Find the newest version and the newest pre-release that are not yanked.

    Source: PEP 691, "Project Detail"; PEP 592.
    """
    # Eggs, installers and other files of old are no releases.
    names = (file["filename"] for file in files if file.get("yanked", False) is False)
    found = {version for _, _, version in distribution.releases(names)}
    final = max((version for version in found if not version.is_prerelease), default=None)
    pre = max((version for version in found if version.is_prerelease), default=None)
    return str(final) if final else None, str(pre) if pre else None
