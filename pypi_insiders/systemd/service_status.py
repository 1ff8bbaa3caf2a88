"""Find out in what state the two services are."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from pathlib import Path

from pypi_insiders.config.settings import ServerSettings
from pypi_insiders.systemd import exit_codes, systemctl, unit_files, unit_names
from pypi_insiders.systemd.systemctl import Manager
from pypi_insiders.systemd.unit_names import PARTS, REQUESTS, SERVER, WATCHER, Part
from pypi_insiders.util import times

PROPERTIES = (
    "LoadState", "NeedDaemonReload", "DropInPaths",
    "ActiveState", "SubState", "Result", "NRestarts",
    "ActiveEnterTimestamp", "ActiveExitTimestamp", "InactiveEnterTimestamp",
    "InactiveExitTimestamp",
    "ExecMainExitTimestamp", "ExecMainExitTimestampMonotonic", "ExecMainStatus",
    "Listen", "MainPID", "MemoryCurrent", "StatusText",
    "NextElapseUSecRealtime", "NextElapseUSecMonotonic",
)  # fmt: skip
_NO_ACCOUNT = 2**64 - 1
_MANY_RESTARTS = 3
_SETTLED_AFTER_S = 60
"""Longer than it takes the watchdog to notice that a server hangs."""
_PAUSE_S = 2
"""`RestartSec=` of the server, and what ends it."""


class Condition(IntEnum):
    """The condition of a service; the number is the exit status of `systemctl status`.

    Source: systemctl(1), "EXIT STATUS".
    """

    RUNNING = 0
    STOPPED = 3
    NOT_INSTALLED = 4


@dataclass(frozen=True)
class Overview:
    """What one look tells about a service; points in time are seconds of the epoch."""

    part: Part
    condition: Condition
    told: str
    """In words."""
    has_failed: bool = False
    """Whether what it did last, or does now, fails."""
    since: float | None = None
    """Since when it listens, or waits for its time."""
    url: str | None = None
    """Of the index, up to the port."""
    memory_bytes: int | None = None
    """What the index uses; `None`: nobody knows, or it runs only when somebody asks."""
    is_working: bool = False
    """Whether its service runs at this moment."""
    progress: str | None = None
    """What the update that is under way does, in words."""
    last_run: float | None = None
    """When the last update ended."""
    next_run: float | None = None
    """When the timer elapses next."""

    @property
    def line(self) -> str:
        """What a person reads of it."""
        return f"{self.part.name}: {self.told}"


@dataclass(frozen=True)
class Services:
    """What one look tells about both services, and their units as systemd has them."""

    manager: Manager
    server: Overview
    watcher: Overview
    units: Mapping[str, Mapping[str, str]]
    """Name of the unit to its properties, those of `PROPERTIES`."""

    def of(self, part: Part) -> Overview:
        """Return what is known of one of them."""
        return self.server if part == SERVER else self.watcher


def look(part: Part, now: datetime, manager: Manager | None = None) -> Overview:
    """Look at a service.

    Args:
        part: the service.
        now: for "in 12 min"; with a time zone, in which times are told.
        manager: found before.

    Raises:
        InsidersError: there is no user manager.
    """
    return observe(now, manager).of(part)


def observe(now: datetime, manager: Manager | None = None) -> Services:
    """Look at both services at once, with two processes, or one where the manager is known.

    Args:
        now: for "in 12 min"; with a time zone, in which times are told.
        manager: found before.

    Raises:
        InsidersError: there is no user manager.
    """
    manager = manager or systemctl.manager()
    wanted = (*SERVER.units, *WATCHER.units, REQUESTS)
    found = dict(zip(wanted, systemctl.show_each(wanted, *PROPERTIES), strict=True))
    looks = []
    for part in PARTS:
        trigger, service = found[part.trigger], found[part.service]
        if not unit_files.is_installed(manager.unit_path, part):
            looks.append(Overview(part, Condition.NOT_INSTALLED, "not installed"))
        elif part == SERVER:
            looks.append(_server(trigger, service, now))
        elif trigger["ActiveState"] != "active":
            looks.append(Overview(part, Condition.STOPPED, "stopped"))
        else:
            looks.append(_watcher(trigger, service, now))
    return Services(manager, looks[0], looks[1], found)


def _server(trigger: dict[str, str], service: dict[str, str], now: datetime) -> Overview:
    # While the service fails again and again, its socket still takes connections.
    if reason := failure(trigger, service, now):
        is_listening = trigger["ActiveState"] == "active"
        return Overview(
            SERVER, Condition.STOPPED, reason, has_failed=True,
            url=_url(_first(trigger["Listen"])) if is_listening else None,
        )  # fmt: skip
    if trigger["ActiveState"] != "active" and unit_names.gone().is_file():
        told = "stopped: its program could not be run"
        return Overview(SERVER, Condition.STOPPED, told, has_failed=True)
    if trigger["ActiveState"] != "active":
        return Overview(SERVER, Condition.STOPPED, "stopped")
    listens_at = _first(trigger["Listen"])
    url = _url(listens_at)
    return Overview(
        SERVER,
        Condition.RUNNING,
        f"running at {f'{url}/simple/' if url else listens_at}"
        if listens_at
        else "running, masked",
        since=_time(trigger["ActiveEnterTimestamp"]),
        url=url,
        memory_bytes=_memory(service),
        is_working=service["ActiveState"] == "active" or service["SubState"] == "start-post",
    )


def failure(trigger: Mapping[str, str], service: Mapping[str, str], now: datetime) -> str | None:
    """Tell why a service that is restarted when it fails does fail; `None`: it does not.

    Between two failures it looks well for a moment. Whether it is depends on whether it ever became
    ready, and how long ago that was.
    """
    restarts = int(service["NRestarts"] or 0)
    often = f", restarted {'once' if restarts == 1 else f'{restarts} times'}" if restarts else ""
    if trigger["ActiveState"] == "failed":
        return f"failing ({trigger['Result']})"
    is_ending = service["ActiveState"] == "deactivating" and service["Result"] != "success"
    is_over = service["ActiveState"] == "failed" or service["SubState"].startswith("auto-restart")
    if is_ending or is_over:
        why = exit_codes.explain(SERVER.service, service["ExecMainStatus"])
        return f"failing ({why or service['Result']}{often})"
    is_starting = service["ActiveState"] == "activating"
    is_ready = service["ActiveState"] == "active" or service["SubState"] == "start-post"
    if is_starting and not is_ready and service["StatusText"]:
        return f"failing ({service['StatusText']}{often})"  # only what refuses tells so early
    if is_starting and restarts and not is_ready:
        return f"failing (not ready{often})"
    ready, begun, ended = (
        _time(service[name]) or 0
        for name in ("ActiveEnterTimestamp", "InactiveEnterTimestamp", "ActiveExitTimestamp")
    )
    is_new = is_ready and (is_starting or now.timestamp() - ready < _SETTLED_AFTER_S)
    # Of the run before: it was ready, and ended just before this one began.
    was_ready = 0 <= begun - ended <= _PAUSE_S
    if restarts >= _MANY_RESTARTS and is_new and was_ready:
        return f"failing (running for less than a minute{often})"
    return None


def _watcher(trigger: dict[str, str], service: dict[str, str], now: datetime) -> Overview:
    is_working = service["ActiveState"] in ("activating", "deactivating")
    last_run = _time(service["ExecMainExitTimestamp"])
    next_run = systemctl.next_run(WATCHER.trigger, trigger)
    progress = service["StatusText"] if is_working else None
    has_failed = not is_working and last_run is not None and service["Result"] != "success"

    def words() -> Iterator[str]:
        yield "running"
        if is_working:
            yield "an update is running" + (f": {progress}" if progress else "")
        elif last_run is not None:
            outcome = "failed" if has_failed else "succeeded"
            yield f"last update {outcome} {times.span(now - times.at(last_run, now))} ago"
        if next_run is not None:
            at = times.at(next_run, now)
            yield f"next update in {times.span(at - now)} ({times.clock(at)})"

    return Overview(
        WATCHER,
        Condition.RUNNING,
        ", ".join(words()),
        has_failed,
        since=_time(trigger["ActiveEnterTimestamp"]),
        is_working=is_working,
        progress=progress or None,
        last_run=last_run,
        next_run=next_run,
    )


def index_url() -> str | None:
    """Tell the URL of the index, from where its socket really listens: a drop-in may say.

    Returns:
        The URL up to the port; `None` if that is no TCP port.

    Raises:
        InsidersError: the manager does not answer.
    """
    return _url(_first(systemctl.show(SERVER.trigger, "Listen")["Listen"]))


def _first(listen: str) -> str:
    """Tell the first address of a socket; systemd 257 knows none of one that was masked since."""
    return next(iter(listen.split()), "")


def _url(listens_at: str) -> str | None:
    address, _, port = listens_at.rpartition(":")
    if not port.isdecimal():
        return None
    return ServerSettings(host=address.strip("[]"), port=int(port)).url


def _time(stamp: str) -> float | None:
    """Read `@` and seconds of the epoch; `None` where that never was."""
    return float(stamp.lstrip("@") or 0) or None


def _memory(service: dict[str, str]) -> int | None:
    """Tell what a service uses, in bytes; without an account of it, what its process does.

    Source: proc_pid_statm(5), "resident".
    """
    told = service["MemoryCurrent"]
    if told.isdecimal() and int(told) < _NO_ACCOUNT:
        return int(told)
    try:
        pages = Path("/proc", service["MainPID"], "statm").read_text(encoding="ascii").split()[1]
    except OSError:
        return None  # no process, or none that we may look at
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
