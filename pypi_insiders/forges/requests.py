"""Send requests to the API of a forge, and say in words why it refuses."""

import json
import logging
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from http.client import HTTPResponse, IncompleteRead
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request

from pypi_insiders.forges.errors import ForgeError, NoReleaseError, PassingError
from pypi_insiders.forges.place import GITEA, Forge
from pypi_insiders.util import times
from pypi_insiders.util.redirects import Redirects
from pypi_insiders.util.silent_hosts import SilentHosts
from pypi_insiders.util.time_limit import shortened
from pypi_insiders.util.web import NoAnswerError, answer_to

_log = logging.getLogger(__name__)

_FILE, _JSON = "application/octet-stream", "application/json"
# For a read, for an answer of the API, and for a file.
_TIMEOUT_S, _JSON_S, _FILE_S = 30, 60, 900
# A release of 10,000 files, of which GitHub has 2 KB each.
_LIMIT_BYTES, _MOST_VALUES = 64 * 1024**2, 1_000_000
# Where a forge names no time, or one that is years away.
_PAUSE_S, _LONGEST_PAUSE_S = 60, 86400

# Host and token to the time until which the forge answers nothing, in seconds of the epoch: each of
# a hundred repositories would otherwise ask, which some forges punish with a longer pause.
_limited: dict[tuple[str, str | None], float] = {}
_limiting = threading.Lock()
# As many repositories are fetched at once, twice.
_hosts = SilentHosts(16)


@contextmanager
def answer_of(forge: Forge, url: str, *, is_file: bool = False) -> Iterator[HTTPResponse]:
    """Send a GET request with the token, and return the answer if its status is 200.

    Args:
        forge: whose API it is.
        url: http or https; the token goes to this host only, not to one that it redirects to.
        is_file: whether a file is wanted, and not what the API says of it.

    Raises:
        PassingError: the forge does not answer, or not now.
        NoReleaseError: it answers 404.
        ForgeError: it refuses.
    """
    with _limiting:
        until_s = _limited.get((forge.host, forge.token), 0)
    if time.time() < until_s:
        raise _of_limit(forge, until_s)
    if _hosts.is_silent(forge.host):
        raise PassingError(
            f"{forge.host} was not asked, as it has not answered {_hosts.enough} times",
            "the next update tries again",
        )
    request = Request(url, headers={"Accept": _FILE if is_file else _JSON})  # noqa: S310  # by `forge_of`
    if forge.token is not None:
        request.add_unredirected_header("Authorization", _authorization(forge.kind, forge.token))
    _log.debug("GET %s", url)
    # A redirect to http would let others on the network change what arrives.
    redirects = Redirects(url, is_secure=urlsplit(url).scheme == "https")
    try:
        total_s = shortened(_FILE_S if is_file else _JSON_S)
        with (
            _hosts.asking(forge.host, lambda error: isinstance(error, NoAnswerError)),
            answer_to(request, shortened(_TIMEOUT_S), redirects, total_s=total_s) as answer,
        ):
            if isinstance(answer, HTTPError):
                raise _refusal(forge, answer)
            if answer.status != 200:
                raise ForgeError(f"{forge.host} answers with status {answer.status}")
            yield answer
    except NoAnswerError as error:
        what = f"{forge.host} does not answer: {error}"
        if isinstance(error.cause, IncompleteRead):
            what = f"the answer of {forge.host} is incomplete"
        raise PassingError(what, "the next update tries again") from error


def read_json(forge: Forge, url: str) -> Any:
    """Read an answer of the API.

    Raises:
        PassingError, NoReleaseError, ForgeError: as `answer_of`.
    """
    with answer_of(forge, url) as answer:
        kind = answer.headers.get_content_type()
        body = answer.read(_LIMIT_BYTES + 1)
        # A value takes up to a hundred bytes of memory.
        if len(body) > _LIMIT_BYTES or sum(map(body.count, (b",", b"[", b"{"))) > _MOST_VALUES:
            raise ForgeError(f"{forge.host} sends more than a list of files")
        if answer.length:
            raise PassingError(
                f"the answer of {forge.host} is incomplete", "the next update tries again"
            )
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise not_of_api(forge, kind) from error


def not_of_api(forge: Forge, what: str) -> ForgeError:
    """Return the error of an answer that is none of this API."""
    return ForgeError(
        f"{forge.host} does not answer as {forge.kind} does ({what})",
        "if another program runs there: "
        f"`pypi-insiders repos set {forge.name} forge=gitlab`, or github, or gitea",
    )


def not_shown(forge: Forge, what: str) -> ForgeError:
    """Return the error of a repository that the forge does not show."""
    return ForgeError(
        f"{forge.host} does not show {forge.path} {what} (404)",
        "name a file with a token that can read its contents: "
        f"`pypi-insiders repos set {forge.name} token-file=FILE`",
    )


def _authorization(kind: str, token: str) -> str:
    """Return the header for a token.

    Source: docs.github.com, "Authenticating to the REST API"; docs.gitlab.com, "REST API
    authentication". Gitea and Forgejo take a token as the password of any user, and take no other
    form for `/attachments/`.
    """
    if kind == GITEA:
        return f"Basic {b64encode(f'x-access-token:{token}'.encode()).decode()}"
    return f"Bearer {token}"


def _refusal(forge: Forge, answer: HTTPError) -> ForgeError:
    """Return the error of an answer with status 300 and above."""
    host, status = forge.host, answer.code
    # First, as GitHub answers 403 for a limit, too.
    if (until_s := _limit_of(answer)) is not None:
        with _limiting:
            _limited[host, forge.token] = until_s
        return _of_limit(forge, until_s)
    set_token = f"`pypi-insiders repos set {forge.name} token-file=FILE`"
    if status == 401 and forge.token is None:
        return ForgeError(f"{host} requires a token for its API (401)", set_token)
    if status == 403:
        return ForgeError(
            f"{host} gives no access to the releases (403)",
            f"let the token read the contents of the repository, or name another: {set_token}",
        )
    if status == 404:
        return NoReleaseError(f"{host} answers that there is none (404)")
    return _by_status(host, status, set_token)


def _by_status(host: str, status: int, set_token: str) -> ForgeError:
    if status == 401:
        return ForgeError(
            f"{host} rejects the token (401), which may have expired",
            f"put a new one where it is now, or name its file: {set_token}",
        )
    if status >= 500:
        return PassingError(f"{host} fails (status {status})", "the next update tries again")
    return ForgeError(f"{host} answers with status {status}")


def _limit_of(answer: HTTPError) -> float | None:
    """Return until when a forge answers nothing, in seconds of the epoch; `None`: no limit.

    Source: docs.github.com, "Rate limits for the REST API"; docs.gitlab.com, "Rate limits".
    """
    headers, now_s = answer.headers, time.time()
    left = headers.get("x-ratelimit-remaining") or headers.get("RateLimit-Remaining")
    after = headers.get("Retry-After")
    if answer.code != 429 and not (answer.code == 403 and (left == "0" or after)):
        return None
    until_s = now_s + _PAUSE_S
    reset = headers.get("x-ratelimit-reset") or headers.get("RateLimit-Reset")
    # Numbers of any length: only those of a time are read.
    if after and after.isascii() and after.isdigit() and len(after) < 10:
        until_s = now_s + int(after)
    elif reset and reset.isascii() and reset.isdigit() and len(reset) < 12:
        until_s = float(reset)
    return min(max(until_s, now_s + 1), now_s + _LONGEST_PAUSE_S)


def _of_limit(forge: Forge, until_s: float) -> PassingError:
    at = times.clock(times.at(until_s, datetime.now().astimezone()))
    return PassingError(
        f"the rate limit of {forge.host} is reached until {at}",
        "the next update after that tries again",
    )
