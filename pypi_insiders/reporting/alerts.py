"""Decide which problems the user is notified of: once when new, and once when they have ended."""

import contextlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from pypi_insiders.config.paths import Paths
from pypi_insiders.reporting.delivery import Message
from pypi_insiders.systemd.unit_names import SERVER, WATCHER
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import remove, write_atomic
from pypi_insiders.util.formatting import listed
from pypi_insiders.util.json_fields import shaped, written
from pypi_insiders.util.own_files import recall

_DAY_S = 86400
# Desktops show a few lines, and a command may send them as a text message.
_LINES = 20
_SUBJECTS = 3
_PARTS = (SERVER.name, WATCHER.name)
_FLAPPING = "comes and goes; no further message about it for a day"


class AlertStatus(StrEnum):
    """Of what the user was notified about a problem."""

    NEW = "new"
    """Nothing yet."""
    NOTIFIED = "notified"
    RECOVERED = "recovered"
    """Its end; remembered for a day."""


@dataclass(frozen=True)
class Alert:
    """A problem, and of what the user was notified; points in time are seconds of the epoch."""

    subject: str
    """As in an item of the judgement: `NS/PROJ`, `server`, `config.toml` ..."""
    kind: str
    """The same for the same problem; empty for a subject with one kind of problem."""
    text: str
    """One line."""
    status: AlertStatus = AlertStatus.NEW
    since: int = 0
    notified_at: int | None = None
    """When the user was last notified, of the problem or of its end."""
    is_flapping: bool = False
    """Whether it came back within a day of its end; then no notification is sent for a day."""

    @property
    def key(self) -> str:
        """The key by which it is stored."""
        return f"{self.subject}: {self.kind}" if self.kind else self.subject

    @property
    def line(self) -> str:
        """The line in the message."""
        return f"{self.subject}: {self.text}"

    def is_recent(self, now_s: int) -> bool:
        """Return whether the user was notified within the last day."""
        # A time to come is of a clock that was wrong, and must not silence a problem for years.
        return self.notified_at is not None and 0 <= now_s - self.notified_at < _DAY_S


Alerts = Mapping[str, Alert]
"""Alerts by their keys."""


@dataclass(frozen=True)
class Found:
    """The problems that were found at one moment."""

    alerts: tuple[Alert, ...]
    subjects: frozenset[str]
    """All subjects that were checked, and whose state is known."""
    watched: frozenset[str] | None = None
    """The watched repositories; `None`: unknown."""

    def is_gone(self, subject: str) -> bool:
        """Return whether a repository is no longer watched."""
        return "/" in subject and self.watched is not None and subject not in self.watched


@dataclass(frozen=True)
class AlertChanges:
    """The changes of which the user is to be notified."""

    new: tuple[Alert, ...]
    recovered: tuple[Alert, ...]
    before: Alerts
    """The alerts to store before the message is sent."""
    after: Alerts
    """The alerts to store after it."""


def step(alerts: Alerts, found: Found, now_s: int) -> AlertChanges:
    """Compare the stored alerts with the problems that were found.

    A problem that comes back within a day of its end is notified once more; then nothing is sent
    for a day, not even its end, so that the last message about it is that it is a problem.
    """
    before: dict[str, Alert] = {}
    after: dict[str, Alert] = {}
    there = {alert.key: alert for alert in found.alerts}
    for key, alert in alerts.items():
        if found.is_gone(alert.subject):
            continue  # its problem has not ended, but is no longer the user's
        # What was not checked may still be a problem: that nothing was found is no recovery.
        lasts = key in there or alert.subject not in found.subjects
        until_notified, then = _next(alert, now_s, lasts=lasts)
        before |= {key: until_notified} if until_notified else {}
        after |= {key: then} if then else {}
    recovered = tuple(
        alert
        for key, alert in before.items()
        if alert.status == AlertStatus.NOTIFIED and after[key].status == AlertStatus.RECOVERED
    )
    for key, alert in there.items():
        known = before.get(key)
        # The time of its end is forgotten after a day, so that what comes back later is new.
        if known is None or known.status == AlertStatus.RECOVERED:
            before[key] = replace(alert, since=now_s, is_flapping=known is not None)
    new = tuple(alert for alert in before.values() if alert.status == AlertStatus.NEW)
    # Only after the message: if it cannot be sent, the next call finds them new again.
    for alert in new:
        after[alert.key] = replace(alert, status=AlertStatus.NOTIFIED, notified_at=now_s)
    return AlertChanges(new, recovered, before, after)


def _next(alert: Alert, now_s: int, *, lasts: bool) -> tuple[Alert | None, Alert | None]:
    """Return the alert to store before the message and after it; `None`: forget it."""
    if alert.status == AlertStatus.NEW:
        if lasts or not alert.is_flapping:
            return (alert, None) if lasts else (None, None)
        # The message of its return was never sent: for the user it is recovered as before.
        alert = replace(alert, status=AlertStatus.RECOVERED, notified_at=alert.since)
    if alert.status == AlertStatus.RECOVERED:
        kept = alert if alert.is_recent(now_s) else None
        return kept, kept
    # For a day after its return neither its end nor another return is sent.
    is_quiet = alert.is_flapping and alert.is_recent(now_s)
    if lasts or is_quiet:
        return alert, replace(alert, is_flapping=is_quiet)
    return alert, replace(alert, status=AlertStatus.RECOVERED, notified_at=now_s)


def message(step: AlertChanges) -> Message | None:
    """Return one message about all changes; `None`: nothing has changed."""
    # One message, not one a problem: a network that is down makes one of each repository.
    lines = [f"{alert.line}{f' ({_FLAPPING})' if alert.is_flapping else ''}" for alert in step.new]
    lines += [f"recovered: {alert.line}" for alert in step.recovered]
    if not lines:
        return None
    # The new ones name the message: that something has ended is less urgent.
    subjects = dict.fromkeys(alert.subject for alert in step.new or step.recovered)
    if len(lines) > _LINES:
        lines[_LINES:] = [f"and {len(lines) - _LINES} more"]
    text = "\n".join(lines)
    what = "problem with" if step.new else "recovered:"
    return Message(
        f"pypi-insiders: {what} {listed(subjects, _SUBJECTS)}",
        f"{text}\n`pypi-insiders status` shows the state of everything.\n",
    )


def load(paths: Paths) -> Alerts:
    """Read the stored alerts; none if they are lost, or were damaged and moved away."""
    # Without them each problem is notified again, which is better than none at all.
    found: dict[str, Alert] = {}
    with contextlib.suppress(InsidersError):
        found |= recall(_recovered(paths), _parse_recovered) or {}
    for part in _PARTS:
        with contextlib.suppress(InsidersError):
            found |= recall(_open(paths, part), _parse_open) or {}
    return found


def _parse_open(text: str) -> dict[str, Alert]:
    found = [_parse_alert(item) for item in json.loads(text)]
    return {alert.key: alert for alert in found}


def _parse_alert(item: dict[str, Any]) -> Alert:
    if "trouble" not in item:
        return shaped(Alert, {**item, "status": AlertStatus(item["status"])})
    # As versions before 2.1 wrote it. Without this an upgrade would notify of each problem again.
    at = item["told_at"]
    status = AlertStatus.NEW if at is None else AlertStatus.NOTIFIED
    rest = {"status": status, "since": at or 0, "notified_at": at, "is_flapping": item["again"]}
    return shaped(Alert, {**item["trouble"], **rest})


def _parse_recovered(text: str) -> dict[str, Alert]:
    found = {}
    for key, at in json.loads(text).items():
        subject, _, kind = key.partition(": ")
        found[key] = Alert(subject, kind, "", AlertStatus.RECOVERED, int(at), int(at))
    return found


def save(paths: Paths, alerts: Alerts) -> None:
    """Store the alerts; without any, no file is left.

    Raises:
        InsidersError: they cannot be written.
    """
    for part in _PARTS:
        items = [
            asdict(alert)
            for alert in alerts.values()
            if alert.status != AlertStatus.RECOVERED
            # Two files, as ExecStopPost= of the server tests only for its own.
            and (alert.subject == SERVER.name) == (part == SERVER.name)
        ]
        _put(_open(paths, part), items)
    ended = {
        key: alert.notified_at
        for key, alert in alerts.items()
        if alert.status == AlertStatus.RECOVERED
    }
    _put(_recovered(paths), ended)
    # Empty, it is removed with the last problem; otherwise rmdir(2) fails, as it should.
    with contextlib.suppress(OSError):
        paths.troubles.rmdir()


def _open(paths: Paths, part: str) -> Path:
    # The units check by themselves whether these exist, which costs less than to start Python.
    return paths.troubles / f"{part}.json"


def _recovered(paths: Paths) -> Path:
    return paths.state / "troubles-over.json"


def _put(path: Path, content: list[dict[str, Any]] | dict[str, int | None]) -> None:
    if content:
        write_atomic(path, written(content, indent=1))
    else:
        remove(path)
