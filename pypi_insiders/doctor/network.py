"""Check whether the fallback index answers, and compare the clock with its own."""

import email.utils
import ssl
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from email.message import Message
from urllib.parse import urlsplit
from urllib.request import Request

from pypi_insiders.config.addresses import is_loopback
from pypi_insiders.doctor.finding import Finding, ok, problem, warning
from pypi_insiders.util import times
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.media_types import SIMPLE_JSON
from pypi_insiders.util.process import run
from pypi_insiders.util.web import NoAnswerError, answer_to
from pypi_insiders.util.without_credentials import without_credentials

_TIMEOUT_S = 10
_SLOW_S = 3
_PROJECT = "pip"  # every index that stands in for PyPI has it
# As much as Kerberos allows.
_WRONG_S = 300
_VERY_WRONG_S = 86400
# Source: verify(1ssl), "X509_V_ERR_CERT_NOT_YET_VALID" and "X509_V_ERR_CERT_HAS_EXPIRED".
_WRONG_TIME = (9, 10)


@dataclass(frozen=True)
class TimedAnswer:
    """The answer to one small request, and how long it took."""

    took_s: float = 0
    status: int | None = None
    """`None`: no answer came."""
    reason: str = ""
    """Why no answer came."""
    ahead_s: float | None = None
    """By how much this clock is ahead of the server's; `None`: its answer has no date."""
    is_time_doubted: bool = False
    """Whether its certificate is not valid at the time of this clock."""


def ask(url: str) -> TimedAnswer:
    """Request the head of one page of an index by the proxies of this shell, as installers do."""
    request = Request(  # noqa: S310 - config.toml takes http and https only
        f"{url.rstrip('/')}/{_PROJECT}/",
        # proxpi answers 406 to who does not say what it takes.
        headers={"Accept": f"{SIMPLE_JSON}, text/html;q=0.1"},
        # The page of pip has hundreds of kilobytes.
        method="HEAD",
    )
    began, began_at = time.monotonic(), time.time()
    try:
        with answer_to(request, _TIMEOUT_S, total_s=2 * _TIMEOUT_S) as answer:
            took_s = time.monotonic() - began
            # The date was written about half way between the question and the answer.
            ahead_s = _ahead(answer.headers, began_at + took_s / 2)
            return TimedAnswer(took_s, answer.status, ahead_s=ahead_s)
    except NoAnswerError as error:
        why, is_time_doubted = str(error), False
        # A certificate that is out of date is mostly right, and the clock is wrong: after a
        # suspended virtual machine, or with an empty battery.
        if isinstance(error.cause, ssl.SSLCertVerificationError):
            why = error.cause.verify_message
            is_time_doubted = error.cause.verify_code in _WRONG_TIME
        return TimedAnswer(time.monotonic() - began, reason=why, is_time_doubted=is_time_doubted)


def _ahead(headers: Message, at_s: float) -> float | None:
    """Return by how much this clock is ahead; `None`: the answer has no date.

    Source: RFC 9110, section 6.6.1; RFC 9111, section 5.1.
    """
    date = headers.get("Date")
    if not date:
        return None
    with suppress(ValueError, OverflowError):
        theirs_s = email.utils.parsedate_to_datetime(date).timestamp()
        age = headers.get("Age", "")  # a cache keeps the date with the answer
        return at_s - theirs_s - (int(age) if age.isdecimal() else 0)
    return None


def look(url: str, answer: TimedAnswer) -> Iterator[Finding]:
    """Return the findings about the fallback index and about the clock."""
    shown = without_credentials(url)
    yield _fallback(shown, answer)
    yield clock(shown, answer.ahead_s, is_kept=is_kept())


def without_fallback() -> Iterator[Finding]:
    """Return the findings where there is no fallback index, as the settings say."""
    yield ok("fallback", "none, as `fallback-url` is empty: only projects of this index are found")
    yield clock("", None, is_kept=is_kept())


def _fallback(url: str, answer: TimedAnswer) -> Finding:
    if answer.is_time_doubted:
        message = f"the certificate of {url} is not valid at this time ({answer.reason})"
        return warning("fallback", message, "check the clock: `timedatectl`")
    if answer.status is None:
        message = f"no answer at {url} ({answer.reason}): only projects of this index can be "
        message += "installed"
        is_here = is_loopback(urlsplit(url).hostname or "")
        hint = (
            "start it, or set another `fallback-url` under [server]"
            if is_here
            else "check `https_proxy` and `SSL_CERT_FILE` in this shell"
        )
        return warning("fallback", message, hint)
    # 405 and 501 are about HEAD, and mirrors that refuse it do answer GET.
    if answer.status >= 400 and answer.status not in (405, 501):
        hint = "check `fallback-url` under [server]"
        message = f"{url} answers {answer.status} for the page of {_PROJECT}"
        return warning("fallback", message, hint)
    message = f"{url} answers ({answer.took_s:.1f} s)"
    if answer.took_s > _SLOW_S:
        return warning("fallback", message, "installers are slow for all other projects")
    return ok("fallback", message)


def clock(url: str, ahead_s: float | None, *, is_kept: bool | None) -> Finding:
    """Return the finding about the clock.

    Args:
        url: of the index whose clock it was compared with.
        ahead_s: by how many seconds it is ahead; `None`: it was not compared.
        is_kept: whether it is synchronized; `None`: unknown.
    """
    kept = {True: ", synchronized", False: ", not synchronized", None: ""}[is_kept]
    if ahead_s is None:
        return ok("clock", f"not compared{kept}")
    away_s = abs(ahead_s)
    if away_s <= _WRONG_S:
        return ok("clock", f"the same as at {url}{kept}")
    direction = "ahead of" if ahead_s > 0 else "behind"
    message = f"{times.span(timedelta(seconds=away_s))} {direction} that of {url}{kept}"
    hint = "certificates, timers and upload times depend on it: `timedatectl set-ntp true`"
    return (problem if away_s >= _VERY_WRONG_S else warning)("clock", message, hint)


def is_kept() -> bool | None:
    """Return whether the clock is synchronized; `None`: unknown. Source: timedatectl(1)."""
    argv = ("timedatectl", "show", "--property=NTPSynchronized", "--value")
    try:
        result = run(argv, timeout_s=_TIMEOUT_S)
    except InsidersError:
        return None
    return {"yes": True, "no": False}.get(result.stdout.strip())
