"""Follow an update of the watcher until it ends."""

import json
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from pypi_insiders.systemd import exit_codes, journalctl, systemctl
from pypi_insiders.systemd.journalctl import Position
from pypi_insiders.systemd.unit_names import WATCHER
from pypi_insiders.util import process
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.plain_text import Block

_log = logging.getLogger(__name__)

# Each poll runs systemctl; four in a second look live.
_EVERY_S = 0.25
# The manager may report the end of a unit before journald has stored its last lines.
_LAST_LINES_S = 3
# Priorities of syslog. Source: sd-daemon(3).
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


def running_since() -> int | None:
    """Return when the running update was started, in seconds of the epoch; `None` if none runs.

    Raises:
        InsidersError: the user manager does not answer.
    """
    state = _state(WATCHER.service)
    return int(state["ExecMainStartTimestamp"].lstrip("@") or 0) if _is_busy(state) else None


def follow(
    since: Position | None, show: Callable[[str], None], service: str = WATCHER.service
) -> None:
    """Wait for the end of the queued or running update, and log its log entries.

    Args:
        since: the position in the journal to start from; `None`: it cannot be read.
        show: called with the status line whenever it changes.
        service: the unit that runs it.

    Raises:
        InsidersError: the update failed or was stopped, or the user manager does not answer.

    Source: systemctl(1), "start"; org.freedesktop.systemd1(5), `Job`.
    """
    shown, invocation, is_over = "", "", False
    with journalctl.followed(WATCHER.identifier, service, since, _FIELDS) as journal:
        # A queued job does not change the state of its unit, so both are checked.
        while _is_busy(state := _state(service)):
            if state["ActiveState"] == "activating":  # before that, all is of the last update
                invocation = state["InvocationID"]
                if state["StatusText"] != shown:
                    show(shown := state["StatusText"])
            # Waiting for lines takes the place of a sleep, so that they are shown at once.
            is_over = _log_entries(journal, _EVERY_S) or is_over
        if not is_over:
            show("waiting for the last log entries")
        until_s = time.monotonic() + _LAST_LINES_S
        # Until the manager's entry with JOB_RESULT=, the last one of the job; if the journal cannot
        # be read, for a few seconds.
        while not (is_over or journal.has_ended) and time.monotonic() < until_s:
            is_over = _log_entries(journal, _EVERY_S)
    if state["Result"] != "success":
        raise InsidersError(
            f"the update failed: {_why(service, state)}", "run `pypi-insiders status`"
        )
    # systemd unloads a service that is stopped together with its timer. Its properties are then
    # those of a unit that never ran, which look like success.
    is_known = invocation in ("", state["InvocationID"])
    if state["ExecMainStatus"] != "0" or not is_known:
        raise InsidersError(
            "the update was stopped before it finished",
            "run another one: `pypi-insiders watcher start`",
        )


def _why(service: str, state: Mapping[str, str]) -> str:
    # It did not run, and its status line is that of the update before.
    if state["Result"] == "start-limit-hit":
        return "it was started too often (start-limit-hit)"
    # The most specific reason first; `Result` is just "exit-code" or the like.
    why = exit_codes.explain(service, state["ExecMainStatus"])
    return why or state["StatusText"] or state["Result"]


def _state(service: str) -> dict[str, str]:
    return systemctl.show(service, *_STATE)


def _is_busy(state: dict[str, str]) -> bool:
    return state["ActiveState"] in ("activating", "deactivating") or bool(state["Job"])


def _log_entries(journal: process.Lines, timeout_s: float) -> bool:
    """Log all available entries, after waiting for the first; return whether the job is over."""
    is_over = False
    while (line := journal.next(timeout_s)) is not None:
        # Only the first line is waited for.
        timeout_s = 0
        entry = _entry(line)
        if entry.get("SYSLOG_IDENTIFIER") == WATCHER.identifier:
            level = _LEVELS.get(str(entry.get("PRIORITY")), logging.INFO)
            # The message of a program that ends is of several lines, with its level.
            _log.log(level, "%s", Block(_text(entry.get("MESSAGE")).removeprefix("error: ")))
        is_over = is_over or ("JOB_RESULT" in entry and entry.get("JOB_TYPE") == "start")
    return is_over


def _entry(line: str) -> dict[str, Any]:
    try:
        entry = json.loads(line)
    except ValueError:
        return {}
    return entry if isinstance(entry, dict) else {}


def _text(message: Any) -> str:
    # journalctl prints a message with control characters as a list of bytes. Source: systemd.io,
    # "Journal Export Formats".
    if isinstance(message, list):
        return bytes(message).decode(errors="replace")
    return str(message or "")
