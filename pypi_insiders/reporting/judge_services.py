"""Judge the two services, their units, and the answers of the index to clients."""

from collections.abc import Iterator

from pypi_insiders.builder.errors import SANDBOX_LOST
from pypi_insiders.reporting.snapshot import Snapshot
from pypi_insiders.reporting.verdict import BUILDS, INDEX, Item, Severity, note, problem, warning
from pypi_insiders.systemd import exit_codes, unit_files, unit_names
from pypi_insiders.systemd.index_address import OTHER_PORT
from pypi_insiders.systemd.service_status import Condition, Overview, Services, seconds
from pypi_insiders.systemd.unit_names import REQUESTS, SERVER, WATCHER
from pypi_insiders.systemd.unit_state import UnitState
from pypi_insiders.util import times
from pypi_insiders.util.errors import InsidersError

# One may be missed while the machine sleeps, and another by a long update.
_OVERDUE = 3
"""Intervals."""
_LOGS = "see why: `pypi-insiders server logs`"


def judge_services(snapshot: Snapshot) -> Iterator[Item]:
    """Judge the services, the index and the sandbox of builds."""
    yield from _server(snapshot)
    yield from _index(snapshot)
    yield from _watcher(snapshot)
    if isinstance(snapshot.services, Services):
        yield from _not_enabled(snapshot.services)
    yield from _builds(snapshot)
    for state in snapshot.units:
        yield from _units(state, is_elsewhere=snapshot.elsewhere is not None)


def _server(snapshot: Snapshot) -> Iterator[Item]:
    services = snapshot.services
    if isinstance(services, InsidersError):
        text = f"unknown: {services.message}"
        # No problem: in a container all else works without.
        yield Item(Severity.WARNING, SERVER.name, text, services.hint, is_stopped=True)
    elif services is not None:
        if services.server.has_failed:
            yield problem(SERVER.name, services.server.summary, _LOGS)
        else:
            yield from _stopped(services.server)
        if snapshot.elsewhere is not None:
            yield warning(SERVER.name, *snapshot.elsewhere, "address")
        # Without any address there is a line that the index does not answer.
        if services.server.closed and services.server.listens:
            closed = ", ".join(services.server.closed)
            text = f"{SERVER.trigger} does not listen at {closed} yet"
            yield problem(SERVER.name, text, "`pypi-insiders server restart`", "sockets")
        yield from _requests(services)


def _requests(services: Services) -> Iterator[Item]:
    """Judge the path unit by which the server requests notifications."""
    # The server sees neither the bus nor the desktop: it writes a file, and this unit reacts to it.
    has, server = services.units[REQUESTS], services.units[SERVER.service]
    # It runs with the server, and is inactive beside it only if stopped by hand or by its limit of
    # starts.
    is_missed = has["ActiveState"] == "inactive" and server["ActiveState"] == "active"
    if has["LoadState"] == "loaded" and (has["ActiveState"] == "failed" or is_missed):
        state = f"failed ({has['Result']})" if has["ActiveState"] == "failed" else "is stopped"
        yield problem(
            SERVER.name,
            f"failures are not notified: {REQUESTS} {state}",
            f"`pypi-insiders server start`; see why: `journalctl --user -u {REQUESTS}`",
            "notifications",
        )


def _stopped(seen: Overview) -> Iterator[Item]:
    """Report a service that is stopped, or not installed."""
    if seen.condition == Condition.RUNNING:
        return
    verb = "enable" if seen.condition == Condition.NOT_INSTALLED else "start"
    hint = f"`pypi-insiders {seen.part.name} {verb}`"
    yield Item(Severity.WARNING, seen.part.name, seen.summary, hint, is_stopped=True)


def _not_enabled(services: Services) -> Iterator[Item]:
    """Report a service that runs, and would silently be stopped after the next boot."""
    for seen in (services.server, services.watcher):
        unit = seen.part.trigger
        # `start` means it so; a `systemctl disable` and a lost link show nowhere else.
        if seen.condition == Condition.RUNNING and not unit_files.is_enabled(
            services.manager.unit_path, unit, services.units[unit]
        ):
            yield note(
                seen.part.name,
                "not enabled: it does not start again after a logout or a reboot",
                f"`pypi-insiders {seen.part.name} enable`",
            )


def _index(snapshot: Snapshot) -> Iterator[Item]:
    """Judge the answers of the index to a client."""
    fetched, services = snapshot.fetched, snapshot.services
    if fetched is None:
        return
    if snapshot.passwords is not None and (fetched.needs_password or fetched.refused_user):
        return  # no password is accepted at all, which is a problem of its own
    is_listening = isinstance(services, Services) and (
        services.server.condition == Condition.RUNNING or services.server.url is not None
    )
    if fetched.error is not None:
        if not fetched.is_answering and not is_listening:
            return  # the server is stopped, which has a line already
        # A warning, as the index of this user does not run anyway.
        if fetched.is_other:
            yield warning(INDEX, fetched.error, OTHER_PORT)
            return
        if fetched.refused_user:
            hint = f"correct ~/.netrc, or `pypi-insiders server password {fetched.refused_user}`"
            yield problem(INDEX, fetched.error, hint)
            return
        is_foreign = fetched.is_answering and not fetched.is_index
        # systemd calls a socket active that it has closed, see `is_socket_closed`.
        hint = "`pypi-insiders server restart`" if fetched.is_refused else _LOGS
        yield problem(INDEX, fetched.error, OTHER_PORT if is_foreign else hint)
    elif fetched.needs_password:
        yield note(
            INDEX,
            f"not checked: {fetched.url}/simple/ requires a password, and ~/.netrc has none for it",
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
    # As by a drop-in whose OnCalendar= is a date in the past.
    if not seen.is_working and seen.next_run is None:
        yield problem(
            WATCHER.name,
            f"no next update: {WATCHER.trigger} is active, but never elapses",
            f"see its OnCalendar=: `systemctl --user cat {WATCHER.trigger}`",
            "timer",
        )
    elif overdue := _overdue(snapshot, services):
        yield warning(WATCHER.name, overdue, "see why: `pypi-insiders watcher logs`")
    else:
        yield from _unchecked(snapshot, services)
    if seen.has_failed and not _is_explained(snapshot, services):
        has = services.units[WATCHER.service]
        why = exit_codes.explain(WATCHER.service, has["ExecMainStatus"]) or has["Result"]
        hint = "see why: `pypi-insiders watcher logs`"
        yield problem(WATCHER.name, f"the last update failed ({why})", hint)


def _builds(snapshot: Snapshot) -> Iterator[Item]:
    settings, found = snapshot.settings, snapshot.sandboxing
    if isinstance(settings, InsidersError):
        return
    wanted = settings.build.sandbox
    if wanted == "off":
        yield note(BUILDS, 'not sandboxed (`sandbox = "off"`), builds run with your permissions')
    # Where builds had a sandbox once, updates do not go on without: that is for the user to decide.
    elif found.trouble is not None and (wanted == "required" or found.had_at is not None):
        yield problem(BUILDS, f"nothing is built: {found.trouble}", SANDBOX_LOST)
    elif found.trouble is not None:
        yield warning(
            BUILDS,
            f"not sandboxed, builds run with your permissions: {found.trouble}",
            "see `pypi-insiders doctor`; watch only repositories that you trust",
        )


def _is_explained(snapshot: Snapshot, services: Services) -> bool:
    """Return whether other lines have why the last update failed, or a later one succeeded."""
    if isinstance(snapshot.settings, InsidersError) or isinstance(snapshot.watched, InsidersError):
        # Both are problems of their own, and each update fails because of them.
        return True
    # It exits with 1 if a repository fails; with any other status its program does.
    if services.units[WATCHER.service]["ExecMainStatus"] != "1" or not snapshot.standings:
        return False
    # A manual update may have succeeded since: the unit keeps the result of its own last run.
    checked = [item.check.checked_at or 0 for item in snapshot.standings]
    return any(item.errors for item in snapshot.standings) or (
        min(checked) > (services.watcher.last_run or 0)
    )


def _interval_s(snapshot: Snapshot, services: Services) -> int | None:
    """Return the interval of updates; `None`: it is unknown."""
    # A drop-in may set another interval than config.toml.
    is_own = unit_names.own_drop_ins(services.units[WATCHER.trigger]["DropInPaths"])
    settings = snapshot.settings
    return None if is_own or isinstance(settings, InsidersError) else settings.watcher.interval_s


def _unchecked(snapshot: Snapshot, services: Services) -> Iterator[Item]:
    """Report repositories that updates leave out, as a drop-in with another command does."""
    seen, interval_s = services.watcher, _interval_s(snapshot, services)
    if seen.is_working or interval_s is None or isinstance(snapshot.watched, InsidersError):
        return
    # Until then there was no update of what was added last.
    since_s = max(seen.since or 0, snapshot.listed_at)
    for item in snapshot.standings:
        # With a timer of its own it is updated with the others only when that has missed three.
        longest_s = max(interval_s, snapshot.watched[item.name].interval_s or 0)
        at_s = max(item.check.tried_at or 0, since_s)
        if at_s and snapshot.now.timestamp() - at_s > (_OVERDUE + 1) * longest_s:
            at = times.clock(times.at(at_s, snapshot.now))
            yield warning(
                item.name,
                f"updates run, but have not checked it since {at}",
                f"see their command: `systemctl --user cat {WATCHER.service}`, and "
                "`pypi-insiders doctor`",
                "unchecked",
            )


def _overdue(snapshot: Snapshot, services: Services) -> str | None:
    """Return that the last update is too long ago; `None`: it is not."""
    interval_s, service = _interval_s(snapshot, services), services.units[WATCHER.service]
    if interval_s is None:
        return None
    seen = services.watcher
    if seen.is_working:
        what = "the running update began at"
        at_s = seconds(service["InactiveExitTimestamp"])
    else:
        # Before the first update ends, the timer is as old as the wait.
        what = "no update has ended since"
        at_s = max(seen.last_run or 0, seen.since or 0)
    # A clock that was set back makes the time negative, and nothing overdue.
    if not at_s or snapshot.now.timestamp() - at_s <= _OVERDUE * interval_s:
        return None
    at = times.clock(times.at(at_s, snapshot.now))
    return f"{what} {at}, more than {_OVERDUE} intervals ago"


def _units(state: UnitState, *, is_elsewhere: bool) -> Iterator[Item]:
    subject = f"{state.part.name} units"
    restart = f"`pypi-insiders {state.part.name} restart`"
    # Each a line of its own, with its name as its kind: one that is repaired ends by itself.
    for error in state.errors:
        yield problem(subject, error.message, error.hint, error.message)
    for name in state.missing:
        yield problem(subject, f"{name} is missing", restart, name)
    for name, word in state.bad:
        hint = f"see why: `systemd-analyze --user verify {name}`"
        yield problem(subject, f"systemd cannot load {name} ({word})", hint, name)
    # Of a socket that listens elsewhere there is a line already, perhaps with another hint.
    stale = [it for it in state.stale if not (is_elsewhere and it.startswith(SERVER.trigger))]
    if stale:
        what = ", ".join(stale)
        text = f"out of date (upgrade or changed settings): {what}"
        yield warning(subject, text, restart)
    if state.unconfined:
        yield warning(
            subject,
            f"not confined, run with your permissions: {', '.join(state.unconfined)} is missing",
            f"{restart} tries again, and reports why it fails",
        )
    if state.edited:
        yield warning(
            subject,
            f"changed since they were installed: {', '.join(state.edited)}",
            "the next `start` overwrites the change; keep it with `systemctl --user edit "
            f"{state.edited[0]}`",
        )
    for name in state.not_reloaded:
        text = f"{name} has changed on disk since systemd read it"
        yield warning(subject, text, "`systemctl --user daemon-reload`")
