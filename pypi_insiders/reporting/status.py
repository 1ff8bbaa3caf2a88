"""Report the state of everything: the services, each watched repository, and what is wrong."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from pypi_insiders.config.paths import Paths
from pypi_insiders.reporting import (
    json_output,
    observation,
    service_report,
    services_seen,
    snapshot,
)
from pypi_insiders.reporting.json_output import moment
from pypi_insiders.reporting.judgement import judge
from pypi_insiders.reporting.snapshot import Snapshot
from pypi_insiders.reporting.verdict import INDEX, Health, Judgement
from pypi_insiders.repositories import lookup
from pypi_insiders.repositories.status import RepositoryStatus
from pypi_insiders.systemd.service_status import Condition, Overview, Services
from pypi_insiders.systemd.unit_names import SERVER
from pypi_insiders.util import times
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.formatting import counted


class Status(NamedTuple):
    """The state of everything, and its judgement."""

    snapshot: Snapshot
    judgement: Judgement


def take(paths: Paths, now: datetime, names: Iterable[str] = ()) -> Status:
    """Return the state of everything, or of some repositories and what is wrong with them.

    Args:
        paths: where everything is.
        now: for "in 12 min"; its time zone is that of all times.
        names: `NS/PROJ`, in any case; none are all.

    Raises:
        UsageError: a name is malformed.
        InsidersError: one is not watched, or `repos.toml` cannot be read.
    """
    found = snapshot.take(paths, now, observation.AS_CLIENT)
    judged = judge(found)
    # Before anything is left out: the page shows all that was seen of the services.
    services_seen.remember(paths, found, judged)
    return _only(Status(found, judged), tuple(names))


def _only(status: Status, names: Sequence[str]) -> Status:
    if not names:
        return status
    found, judged = status.snapshot, status.judgement
    # Without the list no name can be compared; all else of the status would be of other things.
    if isinstance(found.watched, InsidersError):
        raise found.watched
    wanted = {item.name for item in lookup.select(dict(found.watched), names)}
    standings = tuple(item for item in found.standings if item.name in wanted)
    # A problem is about the repository or, where no repository is known for its files, the project.
    subjects = {*wanted, *(item.project for item in standings)} - {None}
    problems, warnings, notes = (
        tuple(item for item in items if item.subject in subjects)
        for items in (judged.problems, judged.warnings, judged.notes)
    )
    return Status(found._replace(standings=standings), Judgement(problems, warnings, notes))


def summary(status: Status) -> Iterator[tuple[Health, str, str]]:
    """Return a line for each service and the index: its health, its name and its state as text."""
    # Without a user manager the index still has its line: `exec` and `server run` serve it.
    now, services = status.snapshot.now, status.snapshot.services
    if isinstance(services, Services):
        for look in (services.server, services.watcher):
            yield _health(look), look.part.name, ", ".join(_words(look, now))
    elif services is not None:
        yield Health.STOPPED, "server", f"unknown: {services.message}"
    files = status.snapshot.files
    if isinstance(files, InsidersError):
        yield Health.FAILING, "index", files.message
        return
    held = f"{counted(len(files.projects), 'project')}, {counted(len(files.sizes), 'file')}"
    # Of all other subjects the line of a service or a repository has the health.
    is_wrong = any(item.subject == INDEX for item in status.judgement.problems)
    yield Health.FAILING if is_wrong else Health.WELL, "index", held


def _health(look: Overview) -> Health:
    if look.has_failed:
        return Health.FAILING
    return Health.WELL if look.condition == Condition.RUNNING else Health.STOPPED


def _words(look: Overview, now: datetime) -> Iterator[str]:
    yield look.summary
    if look.part != SERVER or look.condition != Condition.RUNNING:
        return
    if look.since is not None:
        yield f"listening since {times.told(look.since, now)}"
    # An idle index has no process: to some users that looks as if it were stopped.
    if activity := service_report.activity(look, now):
        yield f"process {activity}" if look.is_working else activity


COLUMNS = ("repository", "project", "version", "tag", "built", "public", "checked")
GIVES_WAY = ("checked", "built", "public", "tag")
"""The columns that a narrow terminal does not show, the first one first."""


def row(item: RepositoryStatus, now: datetime) -> tuple[str, ...]:
    """Return the state of a repository as text, in the order of `COLUMNS`; `-` for nothing."""
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
    """Return the state of everything for scripts; what is unknown is `null`."""
    found, judged = status.snapshot, status.judgement
    # A script must not take an error for an index without files: unknown is `null`, not 0.
    services = found.services if isinstance(found.services, Services) else None
    files = None if isinstance(found.files, InsidersError) else found.files
    return json_output.document({
        "health": judged.health.name.lower(),
        "manager": found.services.message if isinstance(found.services, InsidersError) else None,
        "server": services and service_report.members(services.server),
        "projects": len(files.projects) if files else None,
        "files": len(files.sizes) if files else None,
        "watcher": services and service_report.members(services.watcher),
        "repositories": [_repository(item) for item in found.standings],
        "problems": [json_output.item(item) for item in judged.problems],
        "warnings": [json_output.item(item) for item in judged.warnings],
        "notes": [json_output.item(item) for item in judged.notes],
    })  # fmt: skip


def _repository(item: RepositoryStatus) -> dict[str, Any]:
    newest, check = item.newest, item.check
    version = newest.version if newest else None
    return {
        "name": item.name,
        "project": item.project,
        "served_version": version,
        "tag": newest.tag if newest else None,
        "commit": newest.commit if newest else None,
        "built_at": moment(newest.built_at if newest else None),
        "public_version": item.public,
        "public_asked_at": moment(item.public_asked_at),
        "superseded_by": item.superseded_by,
        "checked_at": moment(check.checked_at),
        "first_unreachable_at": moment(check.unreachable_since),
        # Deprecated (`help json`): what is wrong is in the lists at the top.
        "distribution": item.project,
        "version": version,
        "unreachable_since": moment(check.unreachable_since),
        "errors": item.errors,
        "warnings": item.warnings,
    }
