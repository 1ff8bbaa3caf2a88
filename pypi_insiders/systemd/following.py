"""Follow the update that the watcher's service runs, to its end."""

import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pypi_insiders.systemd import exit_codes, journalctl, systemctl
from pypi_insiders.systemd.unit_names import WATCHER
from pypi_insiders.util import process
from pypi_insiders.util.errors import InsidersError

_log = logging.getLogger(__name__)

_EVERY_S = 0.25
_LAST_LINES_S = 3
# Source: sd-daemon(3), the priorities of syslog.
_LEVELS = {
    **dict.fromkeys("0123", logging.ERROR),
    "4": logging.WARNING,
    "7": logging.DEBUG,
}
_FIELDS = "MESSAGE,PRIORITY,SYSLOG_IDENTIFIER,JOB_TYPE,JOB_RESULT"
_STATE = (
    *("ActiveState", "Job", "StatusText", "InvocationID"),
    *("Result", "ExecMainStatus", "ExecMainStartTimestamp"),
)


@dataclass(frozen=True)
class JournalPosition:
    """A place in the journal."""

    cursor: str | None
    """`None`: the journal cannot be read."""


def here() -> JournalPosition:
    """Return the end of the journal as it is now."""
    return JournalPosition(journalctl.cursor())


def running_since() -> int | None:
    """Return when the update that runs was started, in seconds of the epoch; `None`: none runs.

    Raises:
        InsidersError: the manager does not answer.
    """
    state = _state()
    return int(state["ExecMainStartTimestamp"].lstrip("@") or 0) if _is_busy(state) else None


def follow(since: JournalPosition, show: Callable[[str], None]) -> None:
    """Wait for the end of the update that is queued or runs, and log what it logs.

    Args:
        since: where in the journal its lines begin.
        show: is given its status line, whenever that changes.

    Raises:
        InsidersError: the update failed or was stopped, or the manager does not answer.

    Source: systemctl(1), "start"; org.freedesktop.systemd1(5), `Job`.
    """
    shown, invocation, is_over = "", "", False
    with journalctl.followed(WATCHER.identifier, WATCHER.service, since.cursor, _FIELDS) as journal:
        while _is_busy(state := _state()):
            if state["ActiveState"] == "activating":  # before that, it tells of the last update
                invocation = state["InvocationID"]
                if state["StatusText"] != shown:
                    show(shown := state["StatusText"])
            is_over = _hand_on(journal, _EVERY_S) or is_over
        until_s = time.monotonic() + _LAST_LINES_S
        while not (is_over or journal.has_ended) and time.monotonic() < until_s:
            is_over = _hand_on(journal, _EVERY_S)
    if state["Result"] != "success":
        why = exit_codes.explain(WATCHER.service, state["ExecMainStatus"])
        told = why or state["StatusText"] or state["Result"]
        raise InsidersError(f"the update failed: {told}", "`pypi-insiders status` shows why")
    # systemd forgets a service that is stopped together with its timer.
    is_known = invocation in ("", state["InvocationID"])
    if state["ExecMainStatus"] != "0" or not is_known:
        raise InsidersError(
            "the update was stopped before its end", "`pypi-insiders watcher start` runs another"
        )


def _state() -> dict[str, str]:
    return systemctl.show(WATCHER.service, *_STATE)


def _is_busy(state: dict[str, str]) -> bool:
    return state["ActiveState"] in ("activating", "deactivating") or bool(state["Job"])


def _hand_on(journal: process.Lines, timeout_s: float) -> bool:
    """Log the entries that have come, or come in this time; return whether the job is over."""
    is_over = False
    while (line := journal.next(timeout_s)) is not None:
        timeout_s = 0
        entry = _entry(line)
        if entry.get("SYSLOG_IDENTIFIER") == WATCHER.identifier:
            level = _LEVELS.get(str(entry.get("PRIORITY")), logging.INFO)
            _log.log(level, "%s", _text(entry.get("MESSAGE")))
        is_over = is_over or ("JOB_RESULT" in entry and entry.get("JOB_TYPE") == "start")
    return is_over


def _entry(line: str) -> dict[str, Any]:
    try:
        entry = json.loads(line)
    except ValueError:
        return {}
    return entry if isinstance(entry, dict) else {}


def _text(message: Any) -> str:
    """Read a message, which is a list of bytes if it is no plain text.

    Source: systemd.io, "Journal Export Formats".
    """
    if isinstance(message, list):
        return bytes(message).decode(errors="replace")
    return str(message or "")
