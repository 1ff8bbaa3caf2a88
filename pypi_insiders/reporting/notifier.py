"""Look for problems, and notify the user of what is new of them."""

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
    """Look for problems, and notify the user of those that are new and those that have ended.

    Returns:
        What was done, in one line; `None`: there is nothing new.

    Raises:
        InsidersError: there is no user manager to ask, or no notification could be sent; the next
            call tries that again.
    """
    # Both services may fail in the same moment, and each has a notifier: one after the other, or
    # the user is told twice.
    with locked(paths.locks.troubles):
        command = notify_command(paths)
        known = alerts.load(paths)
        subjects = {item.subject for item in known.values() if item.status != AlertStatus.RECOVERED}
        step = alerts.step(known, look(paths, subjects), int(time.time()))
        message = alerts.message(step)
        if message is None or command == ():
            if step.after != known:
                alerts.save(paths, step.after)
            return None
        # Before it is sent: if that fails, or this is killed, the next look knows what is still to
        # be told.
        alerts.save(paths, step.before)
        program = delivery.send(message, command)
        if program is None:
            return f"no notification was sent ({_NO_WAY}): {message.subject}"
        alerts.save(paths, step.after)
        return f"sent by {program}: {message.subject}"


def look(paths: Paths, known: Iterable[str] = ()) -> Found:
    """Look for problems.

    Not at repositories while an update is running, which may end their problems; nor at a service
    that has not run since the last login, of which nobody knows whether it would fail. An idle
    index is not started only to be looked at.

    Args:
        paths: where everything is.
        known: the subjects of the problems that the user knows.

    Raises:
        InsidersError: there is no user manager to ask.
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
    # In start-post the update is over: it is this look that ExecStartPost= has started.
    is_updating = bool(seen.pending) or not (
        watcher["ActiveState"] in ("inactive", "failed") or watcher["SubState"] == "start-post"
    )
    watched: frozenset[str] | None = None
    if not isinstance(seen.watched, InsidersError):
        watched = frozenset(seen.watched)
    # While an update is running nobody knows how these are.
    by_updates = {WATCHER.name, *(watched or ()), *filter(None, seen.held.values()), *seen.held}
    subjects = {CONFIG, PASSWORDS, REPOSITORIES, STATE, *(f"{part.name} units" for part in PARTS)}
    if seen.fetched is not None and not seen.fetched.needs_password:
        subjects.add(INDEX)
    # A service that restarts again and again is neither well nor failed: nothing is said of its
    # end.
    if _is_well(services.units[SERVER.service]):
        subjects.add(SERVER.name)
    if not is_updating:
        subjects |= by_updates - {WATCHER.name}
        if _failure(watcher) or _is_well(watcher):
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
    if isinstance(services, Services) and not is_known:
        server = services.server
        if server.condition == Condition.RUNNING and not server.is_working:
            return None
    return observation.fetch_as_client(files, services, settings)


def _failure(unit: Mapping[str, str]) -> bool:
    is_ending = unit["ActiveState"] == "deactivating" and unit["Result"] != "success"
    return unit["ActiveState"] == "failed" or is_ending


def _is_well(unit: Mapping[str, str]) -> bool:
    """Tell whether a service runs, or has run to a good end."""
    if unit["ActiveState"] == "active" or unit["SubState"] == "start-post":
        return True
    has_run = unit["ExecMainExitTimestampMonotonic"] not in ("", "0")
    return unit["ActiveState"] == "inactive" and has_run and unit["Result"] == "success"


def send_test(paths: Paths) -> str:
    """Send a notification of nothing; return the program that took it.

    Raises:
        InsidersError: it could not be sent, or the settings turn notifications off.
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

    While `config.toml` cannot be read it is what it was when the units were installed.
    """
    try:
        return load_settings(paths.settings).watcher.notify_command
    except InsidersError:
        told = os.environ.get(NOTIFY_VARIABLE)
        return None if told is None else tuple(shlex.split(told))
