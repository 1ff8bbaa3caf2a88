"""Find out in what state the two services are."""

from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum

from pypi_insiders import systemctl, times, units
from pypi_insiders.config import ServerSettings
from pypi_insiders.units import SERVER, Part


class Condition(IntEnum):
    """The condition of a service; the number is the exit status of `systemctl status`.

    Source: systemctl(1), "EXIT STATUS".
    """

    RUNNING = 0
    STOPPED = 3
    NOT_INSTALLED = 4


@dataclass(frozen=True)
class Overview:
    """What one look tells about a service."""

    condition: Condition
    line: str
    has_failed: bool = False
    """Whether what it did last, or does now, fails."""


def look(part: Part, now: datetime) -> Overview:
    """Look at a service.

    Args:
        part: the service.
        now: for "in 12 min"; with a time zone, in which times are told.

    Raises:
        InsidersError: there is no user manager.
    """
    if not units.is_installed(systemctl.manager().unit_directory, part):
        return Overview(Condition.NOT_INSTALLED, f"{part.name}: not installed")
    if systemctl.show(part.trigger, "ActiveState")["ActiveState"] != "active":
        return Overview(Condition.STOPPED, f"{part.name}: stopped")
    if part == SERVER and (trouble := _trouble()):
        return Overview(Condition.STOPPED, f"{part.name}: {trouble}", has_failed=True)
    if part == SERVER:
        return Overview(Condition.RUNNING, f"{part.name}: {_index()}")
    told, has_failed = _runs(part, now)
    return Overview(Condition.RUNNING, f"{part.name}: {told}", has_failed)


def _trouble() -> str | None:
    """Tell whether the index fails again and again: then the socket still takes connections."""
    service = systemctl.show(SERVER.service, "ActiveState", "SubState", "Result")
    if service["ActiveState"] != "failed" and service["SubState"] != "auto-restart":
        return None
    return f"failing ({service['Result']}); see `pypi-insiders server logs`"


def _index() -> str:
    url = index_url()
    return f"running at {url}/simple/" if url else f"running at {_listen()}"


def index_url() -> str | None:
    """Tell the URL of the index, from where its socket really listens: a drop-in may say.

    Returns:
        The URL up to the port; `None` if that is no TCP port.

    Raises:
        InsidersError: the manager does not answer.
    """
    address, _, port = _listen().rpartition(":")
    if not port.isdecimal():
        return None
    return ServerSettings(host=address.strip("[]"), port=int(port)).url


def _listen() -> str:
    return systemctl.show(SERVER.trigger, "Listen")["Listen"].split()[0]


def _runs(part: Part, now: datetime) -> tuple[str, bool]:
    """Tell of the last run and of the next one, and whether the last one failed."""
    service = systemctl.show(part.service, "ActiveState", "Result", "ExecMainExitTimestamp")
    ended_s = float(service["ExecMainExitTimestamp"].lstrip("@") or 0)
    words, has_failed = ["running"], False
    if service["ActiveState"] in ("activating", "deactivating"):
        words.append("an update is under way")
    elif ended_s:
        has_failed = service["Result"] != "success"
        outcome = "failed" if has_failed else "succeeded"
        words.append(f"last update {outcome} {times.span(now - times.at(ended_s, now))} ago")
    next_s = systemctl.next_run(part.trigger)
    if next_s is not None:
        at = times.at(next_s, now)
        words.append(f"next update in {times.span(at - now)} ({times.clock(at)})")
    return ", ".join(words), has_failed
