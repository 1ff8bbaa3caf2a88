"""Check for problems, and notify the user of new and of ended ones."""

import os
import shlex
import time
from collections.abc import Iterable, Mapping
from datetime import datetime

from pypi_insiders.config.paths import Paths
from pypi_insiders.config.settings import NOTIFY_VARIABLE, Settings, load_settings
from pypi_insiders.reporting import alerts, delivery, observation, services_seen, snapshot
from pypi_insiders.reporting.alerts import Alert, AlertStatus, Found
from pypi_insiders.reporting.delivery import Message
from pypi_insiders.reporting.directory import Files
from pypi_insiders.reporting.index_check import Fetched
from pypi_insiders.reporting.judgement import judge
from pypi_insiders.reporting.verdict import CONFIG, INDEX, PASSWORDS, REPOSITORIES, STATE
from pypi_insiders.systemd import exit_codes, service_status
from pypi_insiders.systemd.service_status import Condition, Services
from pypi_insiders.systemd.unit_names import PARTS, SERVER, WATCHER
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import locked

_NO_WAY = "no desktop here, and no `notify-command` is set"
_TEST = Message(
    "pypi-insiders: a test",
    "pypi-insiders notifies you like this of each new problem, and when it has ended.\n",
)


def notify(paths: Paths) -> str | None:
    """Check for problems, and notify the user of new and of ended ones.

    Returns:
        What was sent, on one line; `None`: nothing has changed.

    Raises:
        InsidersError: no user manager is running, or no notification could be sent; the next call
            tries again.
    """
    # Both services may fail at the same moment, and each starts a notifier: without the lock both
    # would send the same message.
    with locked(paths.locks.troubles):
        command = notify_command(paths)
        known = alerts.load(paths)
        subjects = {item.subject for item in known.values() if item.status != AlertStatus.RECOVERED}
        step = alerts.step(known, look(paths, subjects), int(time.time()))
        message = alerts.message(step)
        # `notify-command = []` turns messages off; the alerts are stored all the same, so that old
        # problems are not sent when it is turned on again.
        if message is None or command == ():
            if step.after != known:
                alerts.save(paths, step.after)
            return None
        # Before it is sent: if sending fails, or this is killed, the next call sends it.
        alerts.save(paths, step.before)
        program = delivery.send(message, command)
        if program is None:
            return f"no notification was sent ({_NO_WAY}): {message.subject}"
        alerts.save(paths, step.after)
        return f"sent by {program}: {message.subject}"


def look(paths: Paths, known: Iterable[str] = ()) -> Found:
    """Check for problems.

    Repositories are left out while an update is running, which may end their problems, and so is a
    service that has not run since the last login. An idle index is not started for the check.

    Args:
        paths: where everything is.
        known: the subjects of the problems of which the user was notified.

    Raises:
        InsidersError: no user manager is running.
    """
    has_known = INDEX in known
    seen = snapshot.take(
        paths,
        datetime.now().astimezone(),
        observation.by(
            lambda files, services, settings: _fetch(files, services, settings, is_known=has_known)
        ),
    )
    services = seen.services
    if not isinstance(services, Services):
        raise services or InsidersError("the services were not checked")
    watcher = services.units[WATCHER.service]
    is_updating = bool(seen.pending) or service_status.is_updating(watcher)
    watched: frozenset[str] | None = None
    if not isinstance(seen.watched, InsidersError):
        watched = frozenset(seen.watched)
    # Their state is unknown while an update is running.
    by_updates = {WATCHER.name, *(watched or ()), *filter(None, seen.held.values()), *seen.held}
    subjects = {CONFIG, PASSWORDS, REPOSITORIES, STATE, *(f"{part.name} units" for part in PARTS)}
    # Without an answer, or with one that only wants a password, its state is unknown.
    if seen.fetched is not None and not seen.fetched.needs_password:
        subjects.add(INDEX)
    # Between two restarts it seems to run: that is no recovery.
    if _is_well(services.units[SERVER.service]):
        subjects.add(SERVER.name)
    if not is_updating:
        subjects |= by_updates - {WATCHER.name}
        # One that was stopped is no recovery.
        is_over = _has_run(watcher) and not service_status.was_interrupted(watcher)
        if is_over or exit_codes.is_failure(watcher["Result"]):
            subjects.add(WATCHER.name)
    judged = judge(seen)
    services_seen.remember(paths, seen, judged)
    alerts = tuple(
        Alert(item.subject, item.kind, item.text)
        for item in judged.problems
        if not (is_updating and item.subject in by_updates)
    )
    return Found(alerts, frozenset(subjects), watched)


def _fetch(
    files: Files, services: Services | InsidersError, settings: Settings | None, *, is_known: bool
) -> Fetched | None:
    # A known problem of the index ends only by an answer, for which it is started even if idle.
    if isinstance(services, Services) and not is_known:
        server = services.server
        if server.condition == Condition.RUNNING and not server.is_working:
            return None
    return observation.fetch_as_client(files, services, settings)


def _has_run(unit: Mapping[str, str]) -> bool:
    return unit["ExecMainExitTimestampMonotonic"] not in ("", "0")


def _is_well(unit: Mapping[str, str]) -> bool:
    """Return whether a server runs, or has succeeded."""
    if unit["ActiveState"] == "active" or unit["SubState"] == "start-post":
        return True
    return unit["ActiveState"] == "inactive" and _has_run(unit) and unit["Result"] == "success"


def send_test(paths: Paths) -> str:
    """Send a test message; return the program that sent it.

    Raises:
        InsidersError: it could not be sent, or notifications are turned off.
    """
    hint = f"set `notify-command` under [watcher] in {paths.settings}"
    command = notify_command(paths)
    if command == ():
        raise InsidersError("`notify-command = []` turns all messages off", hint)
    program = delivery.send(_TEST, command)
    if program is None:
        raise InsidersError(f"no notification can be sent: {_NO_WAY}", hint)
    return program


def notify_command(paths: Paths) -> tuple[str, ...] | None:
    """Return the `notify-command` of the settings, as `WatcherSettings` has it.

    While `config.toml` cannot be read, it is the one with which the units were installed.
    """
    try:
        return load_settings(paths.settings).watcher.notify_command
    except InsidersError:
        # Otherwise a broken config.toml would be the one problem without a notification.
        command = os.environ.get(NOTIFY_VARIABLE)
        return None if command is None else tuple(shlex.split(command))
