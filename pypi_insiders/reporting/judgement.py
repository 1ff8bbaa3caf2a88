"""Judge a snapshot: what is a problem, a warning or a note."""

from collections.abc import Iterator
from pathlib import Path

from pypi_insiders.reporting.judge_own_units import judge_own_units
from pypi_insiders.reporting.judge_repositories import judge_repositories
from pypi_insiders.reporting.judge_services import judge_services
from pypi_insiders.reporting.snapshot import Snapshot
from pypi_insiders.reporting.verdict import (
    ALL_YANKED,
    CONFIG,
    INDEX,
    PASSWORDS,
    REPOSITORIES,
    STATE,
    Item,
    Judgement,
    Severity,
    clean,
    problem,
    warning,
)
from pypi_insiders.repositories.no_release import Reason
from pypi_insiders.systemd.service_status import Condition, Services
from pypi_insiders.util.errors import InsidersError


def judge(snapshot: Snapshot) -> Judgement:
    """Judge a snapshot; the same snapshot always gets the same judgement."""
    # Nothing is read here, so that status, page, doctor and notifications cannot differ.
    found: dict[Severity, list[Item]] = {severity: [] for severity in Severity}
    for item in _all(snapshot):
        shown = _shown(item)
        # Two repositories may have one and the same problem, such as a lost list.
        if shown not in found[item.severity]:
            found[item.severity].append(shown)
    return Judgement(*(tuple(found[severity]) for severity in Severity))


def unserved(snapshot: Snapshot) -> tuple[Item, ...]:
    """Return the problems of repositories and projects because of which an update fails."""
    # What the user unpublished or yanked is missing on purpose; settings fail it before.
    found = (*_read(snapshot), *judge_repositories(snapshot))
    return tuple(
        _shown(item)
        for item in found
        if item.severity == Severity.PROBLEM
        and item.subject not in (CONFIG, PASSWORDS)
        and item.kind not in (Reason.UNPUBLISHED, ALL_YANKED)
    )


def _shown(item: Item) -> Item:
    # Once for all readers: errors of git and builds have URLs with tokens, and control characters.
    return item._replace(
        subject=clean(item.subject),
        # Of control characters only, as a program may print them, nothing is left.
        text=clean(item.text) or "no reason given",
        hint=item.hint and clean(item.hint),
    )


def _all(snapshot: Snapshot) -> Iterator[Item]:
    yield from _read(snapshot)
    yield from judge_services(snapshot)
    yield from judge_own_units(snapshot)
    yield from judge_repositories(snapshot)
    yield from _unannounced(snapshot)
    yield from _aside(snapshot)


def _read(snapshot: Snapshot) -> Iterator[Item]:
    """Judge the files that could not be read, and directories that cannot be written."""
    for name, part in ((CONFIG, snapshot.settings), (REPOSITORIES, snapshot.watched)):
        if isinstance(part, InsidersError):
            yield problem(name, part.message, part.hint)
    if isinstance(snapshot.files, InsidersError):
        yield problem(INDEX, snapshot.files.message, snapshot.files.hint, "directory")
    if snapshot.passwords is not None:
        yield problem(PASSWORDS, snapshot.passwords.message, snapshot.passwords.hint)
    for error in snapshot.errors:
        yield problem(STATE, error.message, error.hint, error.message)
    for path, hint in snapshot.closed.items():
        yield problem(STATE, f"updates cannot write in {path}", hint, str(path))


def _unannounced(snapshot: Snapshot) -> Iterator[Item]:
    services = snapshot.services
    # Without the unit it runs at the end of the update, and not in the journal.
    conditions = (
        {services.server.condition, services.watcher.condition}
        if isinstance(services, Services)
        else set()
    )
    for item in snapshot.unannounced:
        text = f"release-command failed for {item.project} {item.version}: {item.error}; "
        hint = "`journalctl --user -t pypi-insiders-released`"
        if conditions == {Condition.NOT_INSTALLED}:
            hint = f"`pypi-insiders released {item.project}`"
        if item.is_given_up:
            hint = item.retry
        yield warning(item.repository, text + item.outlook, hint)


def _aside(snapshot: Snapshot) -> Iterator[Item]:
    for path in snapshot.set_aside:
        yield warning(
            STATE,
            f"{_original(path)} was damaged, and moved to {path.name}",
            f"its content is restored where possible; check {path}, then remove it",
        )


def _original(path: Path) -> str:
    return path.name.partition(".damaged")[0]
