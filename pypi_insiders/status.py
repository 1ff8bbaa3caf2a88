"""Tell the state of everything: the services, and each watched repository."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Any

from pypi_insiders import distribution, overview, standing, times
from pypi_insiders.errors import InsidersError
from pypi_insiders.files import list_names
from pypi_insiders.overview import Condition, Overview
from pypi_insiders.paths import Paths
from pypi_insiders.standing import Standing
from pypi_insiders.units import SERVER, WATCHER
from pypi_insiders.words import counted


class Health(IntEnum):
    """How all is, as the exit status of `status`."""

    WELL = 0
    FAILING = 1
    STOPPED = 3


@dataclass(frozen=True)
class Status:
    """The state of everything."""

    server: Overview | None
    """`None`: there is no user manager to ask."""
    watcher: Overview | None
    no_manager: InsidersError | None
    """Why there is none."""
    projects: int
    files: int
    repositories: list[Standing]

    @property
    def health(self) -> Health:
        """How all is: what fails counts more than what is stopped."""
        found = [_health(look) for look in (self.server, self.watcher) if look]
        if Health.FAILING in found or any(item.errors for item in self.repositories):
            return Health.FAILING
        return Health.STOPPED if not found or Health.STOPPED in found else Health.WELL


def take(paths: Paths, now: datetime) -> Status:
    """Find out the state of everything.

    Args:
        paths: where everything lies.
        now: for "in 12 min"; with a time zone, in which times are told.

    Raises:
        InsidersError: `repos.toml` or the distributions cannot be read.
    """
    server = watcher = no_manager = None
    try:
        server, watcher = overview.look(SERVER, now), overview.look(WATCHER, now)
    except InsidersError as error:
        no_manager = error
    names = list_names(paths.distributions)
    found = [project for _, project, _ in distribution.releases(names)]
    return Status(server, watcher, no_manager, len(set(found)), len(found), standing.of_all(paths))


def summary(status: Status, now: datetime) -> Iterator[tuple[Health, str, str]]:
    """Tell people of the services and the index, one line each: how it is, its name, and words."""
    for look in (status.server, status.watcher):
        if look is not None:
            yield _health(look), look.part.name, ", ".join(_words(look, now))
    if status.no_manager is not None:
        yield Health.STOPPED, "server", f"not known: {status.no_manager.message}"
    held = f"{counted(status.projects, 'project')}, {counted(status.files, 'file')}"
    yield Health.WELL, "index", held


def _health(look: Overview) -> Health:
    if look.has_failed:
        return Health.FAILING
    return Health.WELL if look.condition == Condition.RUNNING else Health.STOPPED


def _words(look: Overview, now: datetime) -> Iterator[str]:
    since = f" since {times.told(look.since, now)}" if look.part == SERVER and look.since else ""
    yield f"{look.told}{since}"
    if look.condition == Condition.NOT_INSTALLED:
        yield f"`pypi-insiders {look.part.name} enable`"
    elif look.condition == Condition.STOPPED:
        if not look.has_failed:
            yield f"`pypi-insiders {look.part.name} start`"
    elif look.part == SERVER and not look.is_working:
        yield "idle until somebody asks"
    elif look.memory_bytes is not None:
        yield f"{look.memory_bytes / 1024**2:.0f} MiB"


COLUMNS = ("repository", "distribution", "version", "tag", "built", "public", "checked")


def row(item: Standing, now: datetime) -> tuple[str, ...]:
    """Write how a repository stands for people, in the order of `COLUMNS`."""
    newest, check = item.newest, item.check
    return (
        item.name,
        item.distribution or "-",
        newest.version if newest else "-",
        newest.tag if newest else "-",
        _ago(newest.built_at if newest else None, now),
        item.public or "-",
        _ago(check.checked_at, now) if check.checked_at else "never",
    )


def notes(item: Standing, now: datetime) -> Iterator[tuple[str, str]]:
    """Tell what there is to be known of a repository: `error`, `warning` or `note`, and a line."""
    for line in item.errors:
        yield "error", line
    if item.check.unreachable_since is not None:
        since = times.told(item.check.unreachable_since, now)
        yield "warning", f"its host is out of reach since {since}"
    for line in item.warnings:
        yield "warning", line
    if item.advice:
        yield "note", item.advice


def _ago(epoch_s: int | None, now: datetime) -> str:
    return "-" if epoch_s is None else f"{times.span(now - times.at(epoch_s, now))} ago"


def as_json(status: Status) -> str:
    """Write the state of everything for scripts; what nobody knows is `null`."""
    content = {
        "health": status.health.name.lower(),
        "manager": status.no_manager.message if status.no_manager else None,
        "server": status.server and service(status.server),
        "projects": status.projects,
        "files": status.files,
        "watcher": status.watcher and service(status.watcher),
        "repositories": [_repository(item) for item in status.repositories],
    }
    return json.dumps(content, indent=2)


def service(look: Overview) -> dict[str, Any]:
    """Tell scripts of one service."""
    told: dict[str, Any] = {"condition": _condition(look), "since": _time(look.since)}
    if look.part == SERVER:
        return told | {
            "url": f"{look.url}/simple/" if look.url else None,
            "is_idle": look.condition == Condition.RUNNING and not look.is_working,
            "memory_bytes": look.memory_bytes,
        }
    return told | {
        "is_updating": look.is_working,
        "progress": look.progress,
        "last_run": _time(look.last_run),
        "last_run_failed": look.has_failed,
        "next_run": _time(look.next_run),
    }


def _condition(look: Overview) -> str:
    return "failing" if look.has_failed else look.condition.name.lower().replace("_", " ")


def _repository(item: Standing) -> dict[str, Any]:
    newest, check = item.newest, item.check
    return {
        "name": item.name,
        "distribution": item.distribution,
        "version": newest.version if newest else None,
        "tag": newest.tag if newest else None,
        "commit": newest.commit if newest else None,
        "built_at": _time(newest.built_at if newest else None),
        "public_version": item.public,
        "public_asked_at": _time(item.public_asked_at),
        "superseded_by": item.superseded_by,
        "checked_at": _time(check.checked_at),
        "unreachable_since": _time(check.unreachable_since),
        "errors": item.errors,
        "warnings": item.warnings,
    }


def _time(epoch_s: float | None) -> str | None:
    return None if epoch_s is None else times.rfc3339(epoch_s)
