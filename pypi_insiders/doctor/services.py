"""Look at both services: the index and its port, the watcher and its runs."""

import http.client
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit

from pypi_insiders import overview, systemctl, times, units
from pypi_insiders.config import ServerSettings, Settings, WatcherSettings, addresses
from pypi_insiders.doctor import listeners
from pypi_insiders.doctor.finding import Finding, Verdict, ok, problem, warning
from pypi_insiders.errors import InsidersError
from pypi_insiders.overview import Condition, Overview
from pypi_insiders.units import SERVER, WATCHER

_TIMEOUT_S = 30
_OVERDUE = 3  # intervals
_OTHER_PORT = "end it, or set another `port` under [server]"


@dataclass(frozen=True)
class Server:
    """The service of the index."""

    url: str | None
    """Where it should answer, up to the port; `None`: it does not listen on TCP."""
    is_listening: bool
    """Whether its socket takes connections, even if the service fails."""
    finding: Finding | None = None
    """`None`: there is no user manager."""


def server(settings: ServerSettings, now: datetime, *, has_manager: bool) -> Server:
    """Look at the service of the index, and where it listens: a drop-in may say."""
    if not has_manager:
        return Server(settings.url, is_listening=False)
    try:
        seen = overview.look(SERVER, now)
        is_listening = seen.condition == Condition.RUNNING or seen.has_failed
        url = overview.index_url() if is_listening else settings.url
    except InsidersError as error:
        found = problem(SERVER.name, error.message, error.hint)
        return Server(settings.url, is_listening=False, finding=found)
    return Server(url, is_listening, _service(seen))


def look(
    found: Server, settings: Settings, now: datetime, *, has_manager: bool
) -> Iterator[Finding]:
    """Look at the port, the index and the watcher.

    Args:
        found: the service of the index.
        settings: those of `config.toml`.
        now: for "12 min ago"; with a time zone.
        has_manager: whether there is a user manager, without which there is no watcher.
    """
    answer = health(found.url) if found.url else None
    if answer:
        yield _port(found, settings.server, answer)
    if found.finding:
        yield found.finding
    if answer:
        yield _index(found, answer)
    if has_manager:
        yield _watcher(settings.watcher, now)


def _watcher(settings: WatcherSettings, now: datetime) -> Finding:
    """Look at the watcher: whether it runs, will run, and has run."""
    try:
        seen = overview.look(WATCHER, now)
        return _runs(seen, settings, now) or _service(seen)
    except InsidersError as error:
        return problem(WATCHER.name, error.message, error.hint)


def _service(seen: Overview) -> Finding:
    part = seen.part.name
    command = f"pypi-insiders {part}"
    if seen.condition == Condition.NOT_INSTALLED:
        return warning(part, seen.told, f"`{command} enable`")
    if seen.has_failed:
        verdict = Verdict.PROBLEM if seen.condition == Condition.STOPPED else Verdict.WARNING
        return Finding(part, verdict, seen.told, f"see why: `{command} logs`")
    if seen.condition == Condition.STOPPED:
        return warning(part, seen.told, f"`{command} start`")
    return ok(part, seen.told)


def _runs(seen: Overview, settings: WatcherSettings, now: datetime) -> Finding | None:
    """Tell what is wrong with the runs of a timer, if it is active and anything is."""
    if seen.condition != Condition.RUNNING:
        return None
    if not seen.is_working and seen.next_run is None:
        return problem(
            WATCHER.name,
            f"no next update: {WATCHER.trigger} is active, but does not elapse any more",
            f"see its OnCalendar=: `systemctl --user cat {WATCHER.trigger}`",
        )
    timer, service = systemctl.show_each(WATCHER.units, "DropInPaths", "InactiveExitTimestamp")
    if units.own_drop_ins(timer["DropInPaths"]):
        return None  # then the interval need not be that of the settings
    if seen.is_working:
        what = "the update that is under way began"
        at_s = float(service["InactiveExitTimestamp"].lstrip("@") or 0)
    else:
        what = "the last update ended"  # or none did, since the timer is active
        at_s = max(seen.last_run or 0, seen.since or 0)
    if not at_s or now.timestamp() - at_s <= _OVERDUE * settings.interval_s:
        return None
    message = f"{what} {times.told(at_s, now)}, more than {_OVERDUE} intervals ago"
    return warning(WATCHER.name, message, "see why: `pypi-insiders watcher logs`")


@dataclass(frozen=True)
class Health:
    """What came of asking a server whether it is well."""

    status: int | None = None
    """`None`: it does not answer."""
    is_well: bool = False
    reason: str = ""
    """Why there is no answer."""


def health(url: str) -> Health:
    """Ask an index at its URL, up to the port, without any proxy."""
    place = urlsplit(url)
    try:
        connection = http.client.HTTPConnection(
            place.hostname or "", place.port, timeout=_TIMEOUT_S
        )
        connection.request("GET", "/health")
        answer = connection.getresponse()
        return Health(answer.status, (answer.status, answer.read(16)) == (200, b"Ok"))
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        return Health(reason=reason or str(error))


def _port(found: Server, settings: ServerSettings, answer: Health) -> Finding:
    """Tell who listens where the index should."""
    place = urlsplit(found.url or "")
    port = place.port or settings.port
    stranger = listeners.stranger("port", port, addresses(settings.host), _OTHER_PORT)
    if stranger and (answer.is_well or found.is_listening):
        return stranger
    if found.is_listening:
        return ok("port", f"{port} is held by {SERVER.trigger}")
    holders = [item.holder for item in listeners.on(port, addresses(settings.host))]
    if not holders:
        return ok("port", f"{port} is free")
    who = " and ".join(sorted(set(holders)))
    if answer.is_well:
        return ok("port", f"{port} is held by {who}, an index")
    message = f"{port} is held by {who}, so the index cannot listen there"
    return problem("port", message, _OTHER_PORT)


def _index(found: Server, answer: Health) -> Finding:
    url = found.url or ""
    if answer.is_well:
        return ok("index", f"answers at {url}/simple/")
    if answer.status is None:
        message = f"no answer at {url}/simple/ ({answer.reason})"
        if found.is_listening:
            return problem("index", message, "see why: `pypi-insiders server logs`")
        return warning("index", message, "`pypi-insiders server enable`, or `server run`")
    if found.is_listening:
        message = f"what answers at {url} is not well ({answer.status})"
        return problem("index", message, "see why: `pypi-insiders server logs`")
    message = f"what answers at {url} is another server ({answer.status})"
    return problem("index", message, _OTHER_PORT)
