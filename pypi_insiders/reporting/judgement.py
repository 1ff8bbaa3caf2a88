"""Judge a snapshot: what is a problem, what a warning, what only worth knowing."""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from enum import IntEnum, StrEnum
from pathlib import Path

from pypi_insiders.builder import sandbox
from pypi_insiders.reporting.snapshot import Snapshot
from pypi_insiders.repositories import comparison
from pypi_insiders.repositories.comparison import Difference, Kind
from pypi_insiders.repositories.model import add_command
from pypi_insiders.repositories.no_release import NoRelease, Reason
from pypi_insiders.repositories.status import Standing
from pypi_insiders.systemd import exit_codes, unit_files
from pypi_insiders.systemd.service_status import Condition, Overview, Services
from pypi_insiders.systemd.unit_files import SERVER, WATCHER
from pypi_insiders.systemd.unit_state import UnitState
from pypi_insiders.util import times
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.urls import without_any_credentials
from pypi_insiders.util.words import listed

CONFIG, REPOSITORIES, INDEX, STATE = "config.toml", "repos.toml", "index", "state"
BUILDS, PASSWORDS = "builds", "passwords"
_OVERDUE = 3
"""Intervals."""
_OTHER_PORT = "end it, or set another `port` under [server]"
_LOGS = "see why: `pypi-insiders server logs`"
_SHOWN = 3
"""Files that are named; the rest is counted."""


class Health(IntEnum):
    """How everything is, as the exit status of `status`."""

    WELL = 0
    FAILING = 1
    STOPPED = 3


class Severity(StrEnum):
    """How grave an item is."""

    PROBLEM = "problem"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True)
class Item:
    """One line of the judgement."""

    severity: Severity
    subject: str
    """What it is about: `NS/PROJ`, a project, `server`, `watcher`, `index`, `config.toml` ..."""
    text: str
    hint: str | None = None
    """The next command to type."""
    kind: str = ""
    """The same as long as it is the same problem; empty where there can be but one."""
    is_stopped: bool = False
    """It says that a service does not run, which may be as it should be."""

    @property
    def line(self) -> str:
        """What a person reads of it."""
        return f"{self.subject}: {self.text}"


@dataclass(frozen=True)
class Judgement:
    """What there is to know of a snapshot, in the order in which to read it."""

    problems: tuple[Item, ...] = ()
    warnings: tuple[Item, ...] = ()
    notes: tuple[Item, ...] = ()

    @property
    def items(self) -> tuple[Item, ...]:
        """All of them, the gravest first."""
        return (*self.problems, *self.warnings, *self.notes)

    @property
    def health(self) -> Health:
        """How everything is: a problem counts more than what is stopped."""
        if self.problems:
            return Health.FAILING
        is_stopped = any(item.is_stopped for item in self.warnings)
        return Health.STOPPED if is_stopped else Health.WELL

    def about(self, subjects: Iterable[str | None]) -> tuple[Item, ...]:
        """Pick the items about some subjects."""
        wanted = set(subjects)
        return tuple(item for item in self.items if item.subject in wanted)


def judge(snapshot: Snapshot) -> Judgement:
    """Judge a snapshot; the same snapshot always gets the same judgement."""
    found: dict[Severity, list[Item]] = {severity: [] for severity in Severity}
    for item in _all(snapshot):
        shown = replace(item, text=clean(item.text), hint=item.hint and clean(item.hint))
        if shown not in found[item.severity]:
            found[item.severity].append(shown)
    return Judgement(*(tuple(found[severity]) for severity in Severity))


def _all(snapshot: Snapshot) -> Iterator[Item]:
    yield from _read(snapshot)
    yield from _server(snapshot)
    yield from _index(snapshot)
    yield from _watcher(snapshot)
    yield from _builds(snapshot)
    for state in snapshot.units:
        yield from _units(state)
    for standing in snapshot.standings:
        yield from _repository(snapshot, standing)
    yield from _strangers(snapshot)
    yield from _other_names(snapshot)
    yield from _aside(snapshot)


def clean(text: str) -> str:
    """Take out credentials, and what a terminal would not show as it is."""
    text = "".join(character if character.isprintable() else " " for character in text)
    return without_any_credentials(text)


def _of(severity: Severity) -> Callable[..., Item]:
    def make(subject: str, text: str, hint: str | None = None, kind: str = "") -> Item:
        return Item(severity, subject, text, hint, kind)

    return make


_problem, _warning, _note = map(_of, Severity)


def _read(snapshot: Snapshot) -> Iterator[Item]:
    """Judge the files that could not be read."""
    for name, part in ((CONFIG, snapshot.settings), (REPOSITORIES, snapshot.watched)):
        if isinstance(part, InsidersError):
            yield _problem(name, part.message, part.hint)
    if isinstance(snapshot.files, InsidersError):
        yield _problem(INDEX, snapshot.files.message, snapshot.files.hint, "directory")
    if snapshot.passwords is not None:
        yield _problem(PASSWORDS, snapshot.passwords.message, snapshot.passwords.hint)
    for error in snapshot.errors:
        yield _problem(STATE, error.message, error.hint, error.message)
    for path in snapshot.closed:
        yield _problem(STATE, f"no update can write in {path}", f"`chmod u+rwx {path}`", str(path))


def _server(snapshot: Snapshot) -> Iterator[Item]:
    services = snapshot.services
    if isinstance(services, InsidersError):
        text = f"not known: {services.message}"
        yield Item(Severity.WARNING, SERVER.name, text, services.hint, is_stopped=True)
    elif services is not None:
        if services.server.has_failed:
            yield _problem(SERVER.name, services.server.told, _LOGS)
        else:
            yield from _stopped(services.server)


def _stopped(seen: Overview) -> Iterator[Item]:
    """Tell what does not run, and does not fail."""
    if seen.condition == Condition.RUNNING:
        return
    verb = "enable" if seen.condition == Condition.NOT_INSTALLED else "start"
    hint = f"`pypi-insiders {seen.part.name} {verb}`"
    yield Item(Severity.WARNING, seen.part.name, seen.told, hint, is_stopped=True)


def _index(snapshot: Snapshot) -> Iterator[Item]:
    """Judge what came of asking the index as a client does."""
    fetched, services = snapshot.fetched, snapshot.services
    if fetched is None:
        return
    if snapshot.passwords is not None and (fetched.needs_password or fetched.refused_user):
        return  # no password would do
    is_listening = isinstance(services, Services) and (
        services.server.condition == Condition.RUNNING or services.server.url is not None
    )
    if fetched.error is not None:
        if not fetched.is_answering and not is_listening:
            return  # nothing listens, as the line of the server says
        if fetched.is_other:  # and this one does not run, as the line of the server says
            yield _warning(INDEX, fetched.error, _OTHER_PORT)
            return
        if fetched.refused_user:
            hint = f"correct ~/.netrc, or `pypi-insiders server password {fetched.refused_user}`"
            yield _problem(INDEX, fetched.error, hint)
            return
        is_foreign = fetched.is_answering and not fetched.is_index
        yield _problem(INDEX, fetched.error, _OTHER_PORT if is_foreign else _LOGS)
    elif fetched.needs_password:
        yield _note(
            INDEX,
            f"no page of {fetched.url}/simple/ was fetched: it asks for a password, and ~/.netrc "
            "has none for it",
            "see `machine` in netrc(5); `pypi-insiders server password USER` sets a password",
        )


def _watcher(snapshot: Snapshot) -> Iterator[Item]:
    services = snapshot.services
    if not isinstance(services, Services):
        return
    seen = services.watcher
    yield from _stopped(seen)
    if seen.condition != Condition.RUNNING:
        return
    if not seen.is_working and seen.next_run is None:
        yield _problem(
            WATCHER.name,
            f"no next update: {WATCHER.trigger} is active, but does not elapse any more",
            f"see its OnCalendar=: `systemctl --user cat {WATCHER.trigger}`",
            "timer",
        )
    elif overdue := _overdue(snapshot, services):
        yield _warning(WATCHER.name, overdue, "see why: `pypi-insiders watcher logs`")
    if seen.has_failed and not _is_explained(snapshot, services):
        has = services.units[WATCHER.service]
        why = exit_codes.explain(WATCHER.service, has["ExecMainStatus"]) or has["Result"]
        hint = "see why: `pypi-insiders watcher logs`"
        yield _problem(WATCHER.name, f"the last update failed ({why})", hint)


def _builds(snapshot: Snapshot) -> Iterator[Item]:
    """Judge in what builds run."""
    settings, found = snapshot.settings, snapshot.sandboxing
    if isinstance(settings, InsidersError):
        return
    wanted = settings.build.sandbox
    if wanted == "off":
        yield _note(
            BUILDS, 'not sandboxed, as `sandbox = "off"` says: they run with your permissions'
        )
    elif found.trouble is not None and (wanted == "required" or found.had_at is not None):
        yield _problem(BUILDS, f"nothing is built: {found.trouble}", sandbox.LOST)
    elif found.trouble is not None:
        yield _warning(
            BUILDS,
            f"not sandboxed, they run with your permissions: {found.trouble}",
            "see `pypi-insiders doctor`; watch only repositories that you trust",
        )


def _is_explained(snapshot: Snapshot, services: Services) -> bool:
    """Tell whether other lines say why the last update failed, or a later one did not.

    That repositories fail is why it exits with 1.
    """
    if isinstance(snapshot.settings, InsidersError) or isinstance(snapshot.watched, InsidersError):
        return True
    if services.units[WATCHER.service]["ExecMainStatus"] != "1" or not snapshot.standings:
        return False
    checked = [item.check.checked_at or 0 for item in snapshot.standings]
    return any(item.errors for item in snapshot.standings) or (
        min(checked) > (services.watcher.last_run or 0)
    )


def _overdue(snapshot: Snapshot, services: Services) -> str | None:
    """Tell for how long nothing was updated, where that is too long."""
    timer, service = (services.units[unit] for unit in WATCHER.units)
    if unit_files.own_drop_ins(timer["DropInPaths"]) or isinstance(
        snapshot.settings, InsidersError
    ):
        return None  # then the interval need not be that of the settings
    seen = services.watcher
    if seen.is_working:
        what = "the running update began"
        at_s = float(service["InactiveExitTimestamp"].lstrip("@") or 0)
    else:
        what = "the last update ended"  # or none did, since the timer is active
        at_s = max(seen.last_run or 0, seen.since or 0)
    interval_s = snapshot.settings.watcher.interval_s
    if not at_s or snapshot.now.timestamp() - at_s <= _OVERDUE * interval_s:
        return None
    at = times.clock(times.at(at_s, snapshot.now))
    return f"{what} at {at}, more than {_OVERDUE} intervals ago"


def _units(state: UnitState) -> Iterator[Item]:
    """Judge the units of one service."""
    subject = f"{state.part.name} units"
    restart = f"`pypi-insiders {state.part.name} restart`"
    for error in state.errors:
        yield _problem(subject, error.message, error.hint, error.message)
    for name in state.missing:
        yield _problem(subject, f"{name} is missing", restart, name)
    for name, word in state.bad:
        hint = f"see why: `systemd-analyze --user verify {name}`"
        yield _problem(subject, f"systemd cannot load {name} ({word})", hint, name)
    if state.stale:
        what = ", ".join(state.stale)
        text = f"out of date, as after an upgrade or a change of settings: {what}"
        yield _warning(subject, text, restart)
    if state.unconfined:
        yield _warning(
            subject,
            f"not confined, run with your permissions: {', '.join(state.unconfined)} is missing",
            f"{restart} tries again, and tells why that fails",
        )
    if state.edited:
        yield _warning(
            subject,
            f"not as this version writes them, so probably edited: {', '.join(state.edited)}",
            "the next `start` overwrites that; keep it by `systemctl --user edit "
            f"{state.edited[0]}`",
        )
    for name in state.not_reloaded:
        text = f"{name} has changed on disk since systemd read it"
        yield _warning(subject, text, "`systemctl --user daemon-reload`")


def _repository(snapshot: Snapshot, item: Standing) -> Iterator[Item]:
    """Judge one watched repository, and the release that its project should have."""
    show = f"`pypi-insiders show {item.name}`"
    errors = list(item.errors)
    if missing := _missing(snapshot, item):
        yield _without_release(item, missing)
        errors = [error for error in errors if not missing.text.endswith(error)]
    elif item.distribution is not None:
        yield from _public_meanwhile(snapshot, item)
    if item.distribution is None and item.name not in snapshot.held.values():
        yield _warning(
            item.name,
            "project name unknown; until the first build, installers can get a public package of "
            "that name",
            f"`pypi-insiders repos set {item.name} distribution=PROJECT`",
        )
    for error in errors:
        yield _problem(item.name, error, item.hints.get(error, show), kind_of(error))
    if not missing or missing.reason not in (Reason.LOST, Reason.REJECTED, Reason.BUILDING):
        for release, differing in _differences(snapshot, item.name).items():
            yield _differs(snapshot, item.name, release, differing)
    if item.check.unreachable_since is not None and not item.errors:
        at = times.clock(times.at(item.check.unreachable_since, snapshot.now))
        yield _warning(item.name, f"its host is unreachable since {at}", show)
    for warning in item.warnings:
        yield _warning(item.name, warning, show)
    if not missing and item.distribution and _all_yanked(snapshot, item.distribution):
        hint = f"`pypi-insiders unyank {item.distribution} VERSION`, or publish another release"
        yield _problem(item.name, f"every release of {item.distribution} is yanked", hint, "yanked")
    yield from _public(snapshot, item)


def _without_release(item: Standing, missing: NoRelease) -> Item:
    """Judge that a watched repository has no release."""
    if missing.reason == Reason.BUILDING:
        return _note(item.name, missing.text, missing.hint)
    is_failing = missing.reason == Reason.FAILING and item.errors
    kind = kind_of(item.errors[0]) if is_failing else missing.reason
    # The line begins with the repository.
    text = missing.text.replace(f": {item.name}: ", ": ", 1)
    return _problem(item.name, text, missing.hint, kind)


def _public_meanwhile(snapshot: Snapshot, item: Standing) -> Iterator[Item]:
    """Tell that clients get the public releases until there is one, as the user has set."""
    watched = {} if isinstance(snapshot.watched, InsidersError) else snapshot.watched
    if watched[item.name].public_until_built and not item.known.files:
        what = item.distribution or "its project"
        text = f"{what} has no release yet, and public-until-built is set: "
        text += f"clients get that of {_fallback(snapshot)}"
        yield _warning(item.name, text, f"`pypi-insiders update {item.name}`")


def kind_of(error: str) -> str:
    """Tell which problem an error of a repository is.

    Counts, times and commits do not make it another one; nor does how a tag fails.
    """
    if match := re.match(r"tag [^ :]+(?=: )", error):
        return match[0]
    return re.sub(r"\b[0-9a-f]*\d[0-9a-f]*\b|\d+", "0", error)


def why_unserved(snapshot: Snapshot, item: Standing) -> str | None:
    """Tell why a repository has no release that installers take; `None`: it has one."""
    if item.newest is not None:
        return None
    if missing := _missing(snapshot, item):
        return clean(missing.text)
    if item.distribution and _all_yanked(snapshot, item.distribution):
        return "every release is yanked"
    return f"the releases of {item.distribution} that are served were not built from {item.name}"


def _missing(snapshot: Snapshot, item: Standing) -> NoRelease | None:
    """Find why a watched repository has no release; `None`: it has one."""
    if item.distribution is not None:
        if item.known.builds and not any(build.local for build in item.known.builds):
            return None  # only another index is to have them
        return snapshot.missing.get(item.distribution)
    update = f"`pypi-insiders update {item.name}`"
    if item.name in snapshot.pending:
        reason, text = Reason.BUILDING, "an update is running"
    elif item.errors:
        reason, text = Reason.FAILING, item.errors[0]
        update = item.hints.get(text, update)
    elif item.check.unreachable_since is not None:
        reason, text = Reason.UNREACHABLE, "its host cannot be reached"
    elif item.check.checked_at is None:
        reason, text = Reason.UNBUILT, "it was not built"
    else:
        reason, text = Reason.UNBUILT, "no tag of it is a release"
    return NoRelease("", item.name, reason, f"no release yet: {text}", update)


def _differences(snapshot: Snapshot, repository: str | None) -> dict[str, list[Difference]]:
    """Find what differs of a repository, or of no watched one: the release to its files."""
    watched = {item.name.casefold() for item in snapshot.standings}
    found: dict[str, list[Difference]] = {}
    for item in snapshot.differences:
        owner = (item.repository or "").casefold()
        is_wanted = owner not in watched if repository is None else owner == repository.casefold()
        if is_wanted:
            found.setdefault(f"{item.project} {item.version}", []).append(item)
    return found


def _differs(snapshot: Snapshot, subject: str, release: str, differing: list[Difference]) -> Item:
    repository = next((item.repository for item in differing if item.build), None)
    hint = comparison.hint(differing[0])
    if repository == subject:
        hint = f"`pypi-insiders update {repository}` builds it again from the same tag"
    elif repository is not None:
        add = add_command(repository, snapshot.remotes.get(repository), subject)
        hint = f"{add}, then `pypi-insiders update`"
    return _problem(subject, f"{release}: {_named_files(differing)}", hint, release)


def _named_files(differing: list[Difference]) -> str:
    found = []
    for kind, one, many in (
        (Kind.MISSING, "is missing", "are missing"),
        (Kind.CHANGED, "differs from what was published", "differ from what was published"),
        (Kind.UNREADABLE, "cannot be read", "cannot be read"),
    ):
        names = [item.file for item in differing if item.kind == kind]
        if names:
            found.append(f"{listed(names, _SHOWN)} {one if len(names) == 1 else many}")
    return ", ".join(found)


def _all_yanked(snapshot: Snapshot, project: str) -> bool:
    yanked = snapshot.yanked.get(project)
    if not yanked or isinstance(snapshot.files, InsidersError):
        return False
    return yanked.issuperset(snapshot.files.versions(project))


def _public(snapshot: Snapshot, item: Standing) -> Iterator[Item]:
    """Tell what the fallback index has of a project: a fact, or a stranger."""
    project = item.distribution
    known = snapshot.public.get(project or "")
    where = _fallback(snapshot)
    appeared_at = known.appeared_at if known else None
    if known is not None and appeared_at is not None:
        at = times.clock(times.at(appeared_at, snapshot.now))
        yield _warning(
            item.name,
            f"{where} has {project} since {at}, and had none when {item.name} was added; "
            "this index keeps serving yours",
            f"look who published it: {known.url}",
        )
    elif item.public_newer:
        yield _note(item.name, f"{where} has {project} {item.public_newer}")


def _fallback(snapshot: Snapshot) -> str:
    settings = snapshot.settings
    if isinstance(settings, InsidersError) or settings.server.fallback_url is None:
        return "PyPI"
    return "the fallback index"


def _strangers(snapshot: Snapshot) -> Iterator[Item]:
    """Judge files that no known build made, beside what was built."""
    for item in snapshot.strangers:
        hint = item.hint(snapshot.paths.distributions)
        yield _problem(item.repository, item.text, hint, f"stranger {item.release}")


def _other_names(snapshot: Snapshot) -> Iterator[Item]:
    """Judge the held names that no watched repository has."""
    told = {item.distribution for item in snapshot.standings}
    for name, missing in snapshot.missing.items():
        if name not in told:
            yield _problem(name, missing.text, missing.hint, missing.reason)
    for release, differing in _differences(snapshot, None).items():
        if (project := differing[0].project) not in snapshot.missing:
            yield _differs(snapshot, project, release, differing)
    if isinstance(snapshot.watched, InsidersError):
        return
    watched = {name.casefold() for name in snapshot.watched} | snapshot.removed
    for repository in sorted(set(filter(None, snapshot.held.values()))):
        if repository.casefold() not in watched:
            yield _warning(
                REPOSITORIES,
                f"{repository} is no longer in it, and nobody removed it: it gets no updates",
                f"{add_command(repository, snapshot.remotes.get(repository))}, or "
                f"`pypi-insiders repos remove {repository}`",
                repository,
            )


def _aside(snapshot: Snapshot) -> Iterator[Item]:
    for path in snapshot.set_aside:
        yield _warning(
            STATE,
            f"{_original(path)} was damaged, and is set aside as {path.name}",
            f"what it had is found again where possible; look at {path}, then remove it",
        )


def _original(path: Path) -> str:
    return path.name.partition(".damaged")[0]
