"""Report the state of one service: the lines of `server status`, and its JSON."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from pypi_insiders.reporting.json_output import moment
from pypi_insiders.repositories.repository import Repository
from pypi_insiders.systemd.service_status import Condition, Overview
from pypi_insiders.systemd.unit_names import SERVER
from pypi_insiders.util import times
from pypi_insiders.util.formatting import size


def head(look: Overview) -> str:
    """Return the first line: the service and its state."""
    return f"{look.part.name}: {look.state}"


def rows(look: Overview, now: datetime) -> Iterator[tuple[str, str]]:
    """Return what is known beside the state, each with its name.

    Args:
        look: the service.
        now: for "12 min ago"; its time zone is that of all times.
    """
    if look.since is not None:
        # A restart of the index starts another process; its socket listens all the while.
        name = "listening since" if look.part == SERVER else "since"
        yield name, times.told(look.since, now)
    # Also while it fails: the socket keeps requests until the next restart.
    if look.listens:
        yield "sockets", ", ".join(look.listens)
    if look.part == SERVER:
        if look.condition == Condition.RUNNING:
            yield "process", activity(look, now) or "running"
        return
    if look.is_working:
        yield "update", look.progress or "running"
    if look.last_run is not None:
        result = f", {look.last_result}" if look.last_result else ""
        yield "last update", f"{times.told(look.last_run, now)}{result}"
    if look.next_run is not None:
        yield "next update", times.told(look.next_run, now)


def activity(look: Overview, now: datetime) -> str:
    """Return that a running index is idle, or else when its process started, and its memory."""
    if not look.is_working:
        return "idle (socket-activated)"
    known = []
    if look.process_since is not None:
        known.append(f"started {times.span(now - times.at(look.process_since, now))} ago")
    if look.memory_bytes is not None:
        known.append(size(look.memory_bytes))
    return ", ".join(known)


def hint(look: Overview, repository: Repository | None = None) -> str | None:
    """Return the next command, if the service does not run as it should.

    Args:
        look: the service.
        repository: the one whose units it is about; `None`: it is about all.
    """
    name = look.part.name
    if repository is not None:
        return _hint_of_one(look, repository)
    # First, as a service that fails may be stopped as well: to start it again would not show why.
    if look.has_failed:
        return f"see why: `pypi-insiders {name} logs`"
    if look.condition == Condition.NOT_INSTALLED:
        return f"`pypi-insiders {name} enable`"
    return f"`pypi-insiders {name} start`" if look.condition == Condition.STOPPED else None


def _hint_of_one(look: Overview, repository: Repository) -> str | None:
    if look.has_failed:
        return f"see why: `pypi-insiders {look.part.name} logs {repository.name}`"
    if look.condition == Condition.RUNNING:
        return None
    # Without an interval `start` updates it, and starts no timer.
    if look.condition == Condition.STOPPED and repository.interval_s is None:
        return f"`pypi-insiders repos set {repository.name} interval=30min` gives it one"
    return f"`pypi-insiders {look.part.name} start {repository.name}`"


def members(look: Overview, repository: Repository | None = None) -> dict[str, Any]:
    """Return the members of a service for scripts, as `hint` does; what is unknown is `null`."""
    own = _of_server(look) if look.part == SERVER else _of_watcher(look)
    return {
        "state": _state(look),
        "text": look.summary,
        "hint": hint(look, repository),
        "started_at": moment(look.since),
        **own,
        # Deprecated (`help json`).
        "condition": _state(look).replace("_", " "),
        "since": moment(look.since),
    }


def _of_server(look: Overview) -> dict[str, Any]:
    is_idle = look.condition == Condition.RUNNING and not look.is_working
    return {
        # Of the socket: where a drop-in sets another address than config.toml, this one is right.
        "url": f"{look.url}/simple/" if look.url else None,
        "addresses": look.listens,
        "process_started_at": moment(look.process_since),
        "idle": is_idle,
        "memory_bytes": look.memory_bytes,
        # Deprecated (`help json`).
        "is_idle": is_idle,
    }


def _of_watcher(look: Overview) -> dict[str, Any]:
    return {
        "updating": look.is_working,
        "progress": look.progress,
        "last_update_at": moment(look.last_run),
        "last_result": look.last_result,
        "next_update_at": moment(look.next_run),
        # Deprecated, like all that follow (`help json`).
        "is_updating": look.is_working,
        "last_run": moment(look.last_run),
        "last_run_failed": look.has_failed,
        "next_run": moment(look.next_run),
    }


def _state(look: Overview) -> str:
    return "failing" if look.has_failed else look.condition.name.lower()
