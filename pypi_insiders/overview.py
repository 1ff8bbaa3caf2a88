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
        return Overview(Condition.STOPPED, f"{part.name}: {trouble}")
    told = _index() if part == SERVER else _runs(part, now)
    return Overview(Condition.RUNNING, f"{part.name}: {told}")


def _trouble() -> str | None:
    """Tell whether the index fails again and again: then the socket still takes connections."""
    service = systemctl.show(SERVER.service, "ActiveState", "SubState", "Result")
    if service["ActiveState"] != "failed" and service["SubState"] != "auto-restart":
        return None
    return f"failing ({service['Result']}); see `pypi-insiders server logs`"


def _index() -> str:
    """Tell the URL, from where the socket really listens: a person's drop-in may say."""
    listen = systemctl.show(SERVER.trigger, "Listen")["Listen"].split()[0]
    address, _, port = listen.rpartition(":")
    if not port.isdecimal():
        return f"running at {listen}"
    bound = ServerSettings(host=address.strip("[]"), port=int(port))
    return f"running at {bound.url}/simple/"


def _runs(part: Part, now: datetime) -> str:
    service = systemctl.show(part.service, "ActiveState", "Result", "ExecMainExitTimestamp")
    ended_s = float(service["ExecMainExitTimestamp"].lstrip("@") or 0)
    words = ["running"]
    if service["ActiveState"] in ("activating", "deactivating"):
        words.append("an update is under way")
    elif ended_s:
        outcome = "succeeded" if service["Result"] == "success" else "failed"
        words.append(f"last update {outcome} {times.span(now - times.at(ended_s, now))} ago")
    next_s = systemctl.next_run(part.trigger)
    if next_s is not None:
        at = times.at(next_s, now)
        words.append(f"next update in {times.span(at - now)} ({times.clock(at)})")
    return ", ".join(words)
