"""Read the state of the two services."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

from pypi_insiders.config.settings import ServerSettings
from pypi_insiders.systemd import exit_codes, systemctl, unit_files, unit_names
from pypi_insiders.systemd.systemctl import Manager
from pypi_insiders.systemd.unit_names import HOOKS, PARTS, REQUESTS, SERVER, WATCHER, Part
from pypi_insiders.util import listeners, times

# Read for all units at once: each `systemctl show` is a process, and `status` is called often.
PROPERTIES = (
    "LoadState", "NeedDaemonReload", "DropInPaths", "UnitFileState", "WantedBy",
    "ActiveState", "SubState", "Result", "NRestarts",
    "ActiveEnterTimestamp", "ActiveExitTimestamp", "InactiveEnterTimestamp",
    "InactiveExitTimestamp", "ActiveEnterTimestampMonotonic", "InactiveEnterTimestampMonotonic",
    "ExecMainExitTimestamp", "ExecMainExitTimestampMonotonic", "ExecMainStatus",
    "Listen", "MainPID", "MemoryCurrent", "StatusText",
    "NextElapseUSecRealtime", "NextElapseUSecMonotonic",
)  # fmt: skip
# The limit of the type: no account is kept, as where the memory controller is not delegated.
_NO_ACCOUNT = 2**64 - 1
# The first restarts may be an upgrade, or a watchdog once in a year; NRestarts= counts from the
# last `start` on.
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


class Overview(NamedTuple):
    """The state of one service at one moment; points in time are seconds of the epoch."""

    part: Part
    condition: Condition
    state: str
    """The condition as text, with the address or the reason: `running at URL`, `stopped`."""
    details: tuple[str, ...] = ()
    """What the service does, as text."""
    has_failed: bool = False
    """Whether its last run failed, or it fails to start now."""
    since: float | None = None
    """When the socket began to listen, or the timer to wait."""
    url: str | None = None
    """The URL of the index, up to the port."""
    listens: tuple[str, ...] = ()
    """The addresses of the socket."""
    closed: tuple[str, ...] = ()
    """Its addresses at which nothing listens until it is started again."""
    process_since: float | None = None
    """When the process of the index became ready."""
    memory_bytes: int | None = None
    """The memory of the index; `None`: unknown, or it has no process."""
    is_working: bool = False
    """Whether its service runs at this moment."""
    progress: str | None = None
    """The current step of a running update, as text."""
    last_run: float | None = None
    """When the last update ended."""
    last_result: str | None = None
    """`succeeded`, `failed`, `interrupted` or `skipped`; `None`: an update runs, or none has."""
    next_run: float | None = None
    """When the timer elapses next."""

    @property
    def summary(self) -> str:
        """Return the state and the details on one line."""
        return ", ".join((self.state, *self.details))

    @property
    def line(self) -> str:
        """Return the line that commands print."""
        return f"{self.part.name}: {self.summary}"


class Services(NamedTuple):
    """The state of both services, and the properties of their units."""

    manager: Manager
    server: Overview
    watcher: Overview
    units: Mapping[str, Mapping[str, str]]
    """Name of the unit to its properties, those of `PROPERTIES`."""

    def of(self, part: Part) -> Overview:
        """Return the state of one service."""
        return self.server if part == SERVER else self.watcher


def look(part: Part, now: datetime, manager: Manager | None = None) -> Overview:
    """Read the state of a service.

    Args:
        part: the service.
        now: for "in 12 min"; its time zone is that of all times.
        manager: the user manager, if it is known already.

    Raises:
        InsidersError: no user manager is running.
    """
    return observe(now, manager).of(part)


def observe(
    now: datetime,
    manager: Manager | None = None,
    own_timers: Iterable[str] = (),
    others: Iterable[str] = (),
) -> Services:
    """Read the state of both services, with two processes, or one if the manager is known.

    Args:
        now: for "in 12 min"; its time zone is that of all times.
        manager: the user manager, if it is known already.
        own_timers: the repositories with timers of their own, whose timers are read too.
        others: further units to read.

    Raises:
        InsidersError: no user manager is running.
    """
    manager = manager or systemctl.manager()
    own = [unit for name in own_timers for unit in unit_names.of_repository(name).units]
    wanted = (*SERVER.units, *WATCHER.units, REQUESTS, *HOOKS.units, *own, *others)
    # Those that were started for a push or by hand too, as far as systemd still knows how they
    # ended. It prints the matches of a pattern after all that is named.
    shown = systemctl.show_each((*wanted, unit_names.OWN_SERVICES), "Id", *PROPERTIES)
    found = {has["Id"]: has for has in shown[len(wanted) :]}
    found |= dict(zip(wanted, shown, strict=False))
    looks = []
    for part in PARTS:
        trigger, service = found[part.trigger], found[part.service]
        # By the files, as LoadState= is `loaded` for units that were removed while they are in use.
        if not unit_files.is_installed(manager.unit_path, part):
            looks.append(Overview(part, Condition.NOT_INSTALLED, _not_installed(trigger, service)))
        elif part == SERVER:
            looks.append(_server(trigger, service, now))
        elif trigger["ActiveState"] != "active":
            looks.append(Overview(part, Condition.STOPPED, "stopped"))
        else:
            looks.append(_watcher(part, trigger, service, now))
    return Services(manager, looks[0], looks[1], found)


def look_at_one(name: str, now: datetime) -> Overview:
    """Read the state of the units that update one repository.

    Raises:
        InsidersError: no user manager is running.
    """
    part, manager = unit_names.of_repository(name), systemctl.manager()
    trigger, service = systemctl.show_each(part.units, *PROPERTIES)
    if not unit_files.is_installed(manager.unit_path, unit_names.ONE):
        return Overview(part, Condition.NOT_INSTALLED, "not installed")
    found = _watcher(part, trigger, service, now)
    if trigger["ActiveState"] == "active":
        return found
    # Without its own timer it may still be updated by hand, or after a push.
    return found._replace(condition=Condition.STOPPED, state="no timer of its own", next_run=None)


def is_left_running(unit: Mapping[str, str]) -> bool:
    """Return whether a unit runs, by its properties; its file may be gone."""
    return unit["ActiveState"] not in ("inactive", "failed")


def _not_installed(*units: Mapping[str, str]) -> str:
    # systemd ends nothing because its file is gone.
    if any(map(is_left_running, units)):
        return "still running, but not installed: a unit file is gone"
    return "not installed"


def _server(trigger: dict[str, str], service: dict[str, str], now: datetime) -> Overview:
    # The notifier has stopped both, and the service may have failed once more before its stop.
    if trigger["ActiveState"] not in ("active", "failed") and unit_names.gone().is_file():
        state = "stopped: its program could not be run"
        return Overview(SERVER, Condition.STOPPED, state, has_failed=True)
    # While the service fails again and again, its socket still takes connections.
    if reason := failure(trigger, service, now):
        listens = addresses(trigger["Listen"]) if trigger["ActiveState"] == "active" else ()
        return Overview(
            SERVER, Condition.STOPPED, reason, has_failed=True,
            url=url(listens), listens=listens,
        )  # fmt: skip
    if trigger["ActiveState"] != "active":
        return Overview(SERVER, Condition.STOPPED, "stopped")
    listens, closed = addresses(trigger["Listen"]), unopened(trigger)
    is_working = service["ActiveState"] == "active" or service["SubState"] == "start-post"
    at, found = next(iter(listens), ""), url(listens)
    return Overview(
        SERVER,
        Condition.RUNNING,
        f"running at {f'{found}/simple/' if found else at}" if at else "running, masked",
        since=_time(trigger["ActiveEnterTimestamp"]),
        url=found,
        listens=tuple(it for it in listens if it not in closed),
        closed=closed,
        process_since=_time(service["ActiveEnterTimestamp"]) if is_working else None,
        memory_bytes=_memory(service),
        is_working=is_working,
    )


def failure(trigger: Mapping[str, str], service: Mapping[str, str], now: datetime) -> str | None:
    """Return why a service fails that systemd restarts after each failure; `None`: it runs well.

    Between two failures it looks well for a moment. Whether it runs well depends on whether it ever
    became ready, and on how long ago that was.
    """
    restarts = int(service["NRestarts"] or 0)
    often = f", restarted {'once' if restarts == 1 else f'{restarts} times'}" if restarts else ""
    # A socket fails when its service comes to a limit of starts, or when it cannot listen.
    if trigger["ActiveState"] == "failed":
        return f"failing ({trigger['Result']})"
    is_ending = service["ActiveState"] == "deactivating" and service["Result"] != "success"
    # Of a socket that was started later, the next request starts the service once more.
    has_failed = service["ActiveState"] == "failed" and not _is_before(service, trigger)
    if is_ending or has_failed or service["SubState"].startswith("auto-restart"):
        why = exit_codes.explain(SERVER.service, service["ExecMainStatus"])
        return f"failing ({why or service['Result']}{often})"
    is_starting = service["ActiveState"] == "activating"
    # In start-post READY=1 was sent: ExecStartPost= runs, and requests are answered already.
    is_ready = service["ActiveState"] == "active" or service["SubState"] == "start-post"
    # STATUS= stays after the process ends, but a new process clears it.
    if is_starting and not is_ready and service["StatusText"]:
        return f"failing ({service['StatusText']}{often})"  # a STATUS= this early is a refusal
    if is_starting and restarts and not is_ready:
        return f"failing (not ready{often})"
    ready, begun, ended = (
        _time(service[name]) or 0
        for name in ("ActiveEnterTimestamp", "InactiveEnterTimestamp", "ActiveExitTimestamp")
    )
    is_new = is_ready and (is_starting or now.timestamp() - ready < _SETTLED_AFTER_S)
    # Of the run before: it was ready, and ended just before this one began.
    was_ready = 0 <= begun - ended <= _PAUSE_S
    # A server that hangs after each start becomes ready each time: only the watchdog ends it, 30 s
    # later, and without this rule it would be well for most of the time.
    if restarts >= _MANY_RESTARTS and is_new and was_ready:
        return f"failing (running for less than a minute{often})"
    return None


def _is_before(service: Mapping[str, str], trigger: Mapping[str, str]) -> bool:
    ended_us = int(service["InactiveEnterTimestampMonotonic"] or 0)
    return ended_us < int(trigger["ActiveEnterTimestampMonotonic"] or 0)


def is_updating(service: Mapping[str, str]) -> bool:
    """Return whether a service of the watcher is running an update."""
    # A oneshot is never `active`: it goes from activating to inactive. Source: systemd.service(5).
    # In the last steps the update is over, and its result is known.
    is_busy = service["ActiveState"] in ("activating", "deactivating")
    return is_busy and service["SubState"] not in ("start-post", "stop-post")


def _watcher(
    part: Part, trigger: dict[str, str], service: dict[str, str], now: datetime
) -> Overview:
    is_working = is_updating(service)
    has_failed = not is_working and exit_codes.is_failure(service["Result"])
    # Of the main process: ActiveExitTimestamp= is empty for a oneshot, which never was active. If a
    # step before it failed, such as a credential, there was none.
    last_run = _time(service["ExecMainExitTimestamp"])
    if last_run is None and has_failed:
        last_run = _time(service["InactiveEnterTimestamp"])
    is_active = trigger["ActiveState"] == "active"
    next_run = systemctl.next_run(part.trigger, trigger) if is_active else None
    # The last STATUS= stays after the end, and would look like an update that still runs.
    progress = service["StatusText"] if is_working else None
    result = None if is_working else _result(service, last_run)

    def details() -> Iterator[str]:
        if is_working:
            yield "an update is running" + (f": {progress}" if progress else "")
        elif result == "skipped":
            yield "last update skipped by its ExecCondition="
        elif last_run is not None:
            yield f"last update {result} {times.span(now - times.at(last_run, now))} ago"
        if next_run is not None:
            at = times.at(next_run, now)
            yield f"next update in {times.span(at - now)} ({times.clock(at)})"

    return Overview(
        part,
        Condition.RUNNING,
        "running",
        tuple(details()),
        has_failed,
        since=_time(trigger["ActiveEnterTimestamp"]),
        is_working=is_working,
        progress=progress or None,
        last_run=last_run,
        last_result=result,
        next_run=next_run,
    )


def _result(service: Mapping[str, str], last_run: float | None) -> str | None:
    if service["Result"] == exit_codes.SKIPPED:
        return "skipped"
    if exit_codes.is_failure(service["Result"]):
        return "failed"
    if last_run is None:
        return None
    return "interrupted" if was_interrupted(service) else "succeeded"


def was_interrupted(service: Mapping[str, str]) -> bool:
    """Return whether SIGTERM ended the last update, as of `stop` and a logout: no failure."""
    return service["ExecMainStatus"] in ("15", "143")


def index_url() -> str | None:
    """Return the URL of the index by the address of its socket, which a drop-in can change.

    Returns:
        The URL up to the port; `None` if the socket does not listen on TCP.

    Raises:
        InsidersError: the user manager does not answer.
    """
    return url(addresses(systemctl.show(SERVER.trigger, "Listen")["Listen"]))


def addresses(listen: str) -> tuple[str, ...]:
    """Return the addresses of a socket, in the order of its unit."""
    # `127.0.0.1:31411 (Stream)`, one a line. systemd 257 knows none of a socket that was masked
    # while it was active.
    return tuple(word for word in listen.split() if not word.startswith("("))


def unopened(socket: Mapping[str, str]) -> tuple[str, ...]:
    """Return the TCP addresses of a socket unit at which nothing listens, although it is active.

    systemd opens those that a drop-in adds only at the next start of the socket. And it closes a
    socket for good if it reloads while the unit is masked or its file gone (257).
    """
    if socket["ActiveState"] != "active":
        return ()
    # `127.0.0.1:31411`, `[::1]:31411` or `[fe80::1]:31411%eth0`; not `/run/a:1` or `vsock:1:2`.
    form = r"(?m)^((?:\[([\da-f:.]+)\]|([\d.]+)):(\d+)(?:%\S+)?) \(Stream\)$"
    streams = re.finditer(form, socket["Listen"])
    return tuple(it[1] for it in streams if not listeners.on(int(it[4]), (it[2] or it[3],)))


def is_socket_closed() -> bool:
    """Return whether the socket unit of the index is active and nothing listens."""
    has = systemctl.show(SERVER.trigger, "ActiveState", "Listen")
    return has["ActiveState"] == "active" and len(unopened(has)) == len(addresses(has["Listen"]))


def url(listens: Sequence[str]) -> str | None:
    """Return the URL of the index, up to the port; `None` if it does not listen on TCP."""
    # Of several addresses the first is that of config.toml; the others lead to the same index.
    address, _, port = next(iter(listens), "").rpartition(":")
    if not port.isdecimal():
        return None
    return ServerSettings(host=address.strip("[]"), port=int(port)).url


def seconds(stamp: str) -> float:
    """Parse a property such as `@1000000`: seconds of the epoch; 0 where it never happened."""
    return float(stamp.lstrip("@") or 0)


def _time(stamp: str) -> float | None:
    return seconds(stamp) or None


def _memory(service: dict[str, str]) -> int | None:
    """Return the memory of a service in bytes, or that of its process where no cgroup counts it.

    Source: proc_pid_statm(5), "resident".
    """
    current = service["MemoryCurrent"]
    if current.isdecimal() and int(current) < _NO_ACCOUNT:
        return int(current)
    try:
        pages = Path("/proc", service["MainPID"], "statm").read_text(encoding="ascii").split()[1]
    except OSError:
        return None  # no process, or one of another user
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
