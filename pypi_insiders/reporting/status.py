"""Write the state of everything: the services, each watched repository, what is wrong."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pypi_insiders.config.paths import Paths
from pypi_insiders.reporting import observation, services_seen, snapshot
from pypi_insiders.reporting.judgement import judge
from pypi_insiders.reporting.snapshot import Snapshot
from pypi_insiders.reporting.verdict import INDEX, Health, Item, Judgement
from pypi_insiders.repositories.status import RepositoryStatus
from pypi_insiders.systemd.service_status import Condition, Overview, Services
from pypi_insiders.systemd.unit_names import SERVER
from pypi_insiders.util import times
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.formatting import counted, size


@dataclass(frozen=True)
class Status:
    """The state of everything."""

    snapshot: Snapshot
    judgement: Judgement


def take(paths: Paths, now: datetime) -> Status:
    """Find out the state of everything.

    Args:
        paths: where everything is.
        now: for "in 12 min"; with a time zone, in which times are told.
    """
    found = snapshot.take(paths, now, observation.AS_CLIENT)
    judged = judge(found)
    services_seen.remember(paths, found, judged)
    return Status(found, judged)


def summary(status: Status) -> Iterator[tuple[Health, str, str]]:
    """Tell people of the services and the index, one line each: how it is, its name, and words."""
    now, services = status.snapshot.now, status.snapshot.services
    if isinstance(services, Services):
        for look in (services.server, services.watcher):
            yield _health(look), look.part.name, ", ".join(_words(look, now))
    elif services is not None:
        yield Health.STOPPED, "server", f"not known: {services.message}"
    files = status.snapshot.files
    if isinstance(files, InsidersError):
        yield Health.FAILING, "index", files.message
        return
    held = f"{counted(len(files.projects), 'project')}, {counted(len(files.sizes), 'file')}"
    is_wrong = any(item.subject == INDEX for item in status.judgement.problems)
    yield Health.FAILING if is_wrong else Health.WELL, "index", held


def _health(look: Overview) -> Health:
    if look.has_failed:
        return Health.FAILING
    return Health.WELL if look.condition == Condition.RUNNING else Health.STOPPED


def _words(look: Overview, now: datetime) -> Iterator[str]:
    since = f" since {times.told(look.since, now)}" if look.part == SERVER and look.since else ""
    yield f"{look.told}{since}"
    if look.part == SERVER and look.condition == Condition.RUNNING:
        if not look.is_working:
            yield "idle (socket-activated)"
        elif look.memory_bytes is not None:
            yield size(look.memory_bytes)


COLUMNS = ("repository", "distribution", "version", "tag", "built", "public", "checked")


def row(item: RepositoryStatus, now: datetime) -> tuple[str, ...]:
    """Write how a repository stands for people, in the order of `COLUMNS`."""
    newest, check = item.newest, item.check
    return (
        item.name,
        item.project or "-",
        newest.version if newest else "-",
        newest.tag if newest else "-",
        _ago(newest.built_at if newest else None, now),
        item.public or "-",
        _ago(check.checked_at, now) if check.checked_at else "never",
    )


def _ago(epoch_s: int | None, now: datetime) -> str:
    return "-" if epoch_s is None else f"{times.span(now - times.at(epoch_s, now))} ago"


def as_json(status: Status) -> str:
    """Write the state of everything for scripts; what nobody knows is `null`."""
    found, judged = status.snapshot, status.judgement
    services = found.services if isinstance(found.services, Services) else None
    files = None if isinstance(found.files, InsidersError) else found.files
    content = {
        "health": judged.health.name.lower(),
        "manager": found.services.message if isinstance(found.services, InsidersError) else None,
        "server": services and service(services.server),
        "projects": len(files.projects) if files else None,
        "files": len(files.sizes) if files else None,
        "watcher": services and service(services.watcher),
        "repositories": [_repository(item) for item in found.standings],
        "problems": [_item(item) for item in judged.problems],
        "warnings": [_item(item) for item in judged.warnings],
        "notes": [_item(item) for item in judged.notes],
    }
    return json.dumps(content, indent=2)


def _item(item: Item) -> dict[str, str | None]:
    return {"subject": item.subject, "text": item.text, "hint": item.hint}


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


def _repository(item: RepositoryStatus) -> dict[str, Any]:
    newest, check = item.newest, item.check
    return {
        "name": item.name,
        "distribution": item.project,
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
