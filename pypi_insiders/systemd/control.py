"""Install, start, stop and remove the units of both services."""

import logging
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from pypi_insiders.config import access
from pypi_insiders.config.paths import Paths
from pypi_insiders.config.settings import Settings
from pypi_insiders.systemd import (
    confinement,
    exit_codes,
    server_secrets,
    service_status,
    sockets,
    systemctl,
    unit_files,
    unit_names,
    unit_templates,
)
from pypi_insiders.systemd.systemctl import Manager
from pypi_insiders.systemd.unit_names import (
    HOOKS,
    OWN_PATHS,
    OWN_SERVICES,
    OWN_TIMERS,
    PARTS,
    REQUESTS,
    SERVER,
    WATCHER,
    Part,
)
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import make_directory, remove

_log = logging.getLogger(__name__)


class Setup(NamedTuple):
    """The input of unit files."""

    paths: Paths
    settings: Settings
    manager: Manager
    intervals: Mapping[str, int] = {}
    """Watched repository to its own interval, in seconds."""


class Installation(NamedTuple):
    """Installed units and their former state."""

    change: unit_files.Change
    states: Mapping[str, Mapping[str, str]]
    """Unit to its properties before the installation."""

    def was_active(self, *units: str) -> bool:
        """Return whether all these units were active."""
        return all(_is_active_in(self.states[unit]) for unit in units)


def start(part: Part, setup: Setup, *, at_login: bool) -> None:
    """Install or update the units and start a service; undo everything if that fails.

    A running service is restarted only if its units or settings have changed.

    Raises:
        InsidersError: the user manager is unavailable, a unit cannot be installed, the index would
            be reachable without a password, or the service does not start.
    """
    with installation(part, setup) as installed:
        changed = installed.change.units
        if part.trigger in changed or unit_files.own_timers(changed):
            # A socket unit cannot start while its service runs. A running update may go on.
            systemctl.call("stop", *(part.units if part == SERVER else (part.trigger,)))
        # `restart`, not `stop` and `start`: the socket keeps listening, and clients wait in its
        # backlog.
        elif part == SERVER and part.service in changed and installed.was_active(part.service):
            _call_of_server("restart")
        # Starting the watcher always runs an update, even if its timer is active.
        paths = (REQUESTS, HOOKS.trigger) if setup.settings.server.hooks else (REQUESTS,)
        is_running = part == SERVER and installed.was_active(*part.units, *paths)
        if changed or not is_running:
            _start(part, setup)
        if at_login:
            # Last: `enable --now` enables a unit even if it then fails to start.
            systemctl.call("enable", part.trigger)


def restart(part: Part, setup: Setup) -> None:
    """Restart a service; clients of the index wait meanwhile, unless its address changes.

    Raises:
        InsidersError: as `start`.
    """
    with installation(part, setup) as installed:
        if part.trigger in installed.change.units or part != SERVER:
            systemctl.call("stop", *part.units)
        elif installed.was_active(part.trigger):
            _call_of_server("restart")
        _start(part, setup)


def _start(part: Part, setup: Setup) -> None:
    if part != SERVER:
        systemctl.call("start", part.trigger)
        start_update(part)
        return
    # Otherwise the notifier would start the socket again, as after the program was reinstalled.
    remove(unit_names.gone())
    try:
        systemctl.call("start", part.trigger)
    except InsidersError as error:
        raise _port_taken(setup) or error from error
    # The path units start with the server, but not again while the server runs.
    _start_path(REQUESTS, unit_names.NOTIFIERS)
    if setup.settings.server.hooks:
        _start_path(*HOOKS.units)
    else:
        systemctl.try_call("stop", HOOKS.trigger, OWN_PATHS)
    # Although the socket would start it on the first request: errors show here. `restart` if it is
    # not active: a process that is just failing, for a reason that may be fixed, would make a
    # `start` that waits for it fail.
    _call_of_server("start" if _is_active(SERVER.service) else "restart")


def _start_path(path: str, services: str) -> None:
    if not _is_active(path):
        # A unit at its start limit cannot be started until it is reset.
        systemctl.try_call("reset-failed", services, path)
        systemctl.try_call("start", path)


def start_update(part: Part) -> None:
    """Start an update, and do not wait for its end, as `start` of a oneshot does."""
    systemctl.call("start", "--no-block", part.service)


def _call_of_server(verb: str) -> None:
    """Start or restart the server.

    Raises:
        InsidersError: it does not start.
    """
    try:
        try:
            systemctl.call(verb, SERVER.service)
        except InsidersError:
            if not service_status.is_socket_closed():
                raise
            systemctl.call("stop", *SERVER.units)
            systemctl.call("start", SERVER.trigger, SERVER.service)
    except InsidersError as error:
        # systemctl prints the same line for every failure; the status names the failed step.
        status = systemctl.show(SERVER.service, "ExecMainStatus")["ExecMainStatus"]
        why = exit_codes.explain(SERVER.service, status)
        if why is None:
            raise InsidersError(error.message, "see why: `pypi-insiders server logs`") from error
        hint = "check its settings: `systemctl --user cat pypi-insiders-server.service`"
        raise InsidersError(why, hint) from error


@contextmanager
def installation(part: Part, setup: Setup) -> Iterator[Installation]:
    """Install the units; undo that if the context fails."""
    if part == SERVER:
        # The server checks it, too, but only after its units have been changed.
        access.demand_auth(setup.settings.server.auth, [setup.settings.server])
    units = (*part.units, REQUESTS, HOOKS.trigger)
    found = systemctl.show_each(units, "ActiveState", "NeedDaemonReload", "Listen", "DropInPaths")
    states = dict(zip(units, found, strict=True))
    if part == SERVER:
        _demand_port(setup, states[part.trigger])
    texts = _confined(part, setup, states)
    change = unit_files.install(setup.manager.unit_directory, texts, part)
    change = _reloaded(part, setup, change, states)
    try:
        # A confined server sees only directories that exist when it starts.
        make_directory(setup.paths.config)
        yield Installation(change, states)
        # The caller has stopped them.
        kept = {unit_names.of_repository(name).trigger for name in setup.intervals}
        forget_elapses(set(unit_files.own_timers(change.units)) - kept)
    # BaseException includes KeyboardInterrupt: Ctrl-C must not leave half of the units.
    except BaseException:
        was_active = [unit for unit in part.units if _is_active_in(states[unit])]
        # Stopped before the old files are restored, with which systemd may not know these units.
        if change.before:
            systemctl.try_each("stop", (*part.units, unit_names.NOTIFIERS))
            change.undo()
            systemctl.try_call("daemon-reload")
            systemctl.try_call("reset-failed", *part.units, unit_names.NOTIFIERS)
            systemctl.try_each("start", was_active)
        elif not was_active:
            systemctl.try_each("stop", part.units)
        raise


def _confined(part: Part, setup: Setup, states: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Render the units, confined if possible."""
    texts = wanted(setup)
    # A service that runs with these units proves it, and saves the time of the probe.
    is_proven = _is_active_in(states[part.service]) and unit_files.are_current(
        setup.manager.unit_directory, texts, part
    )
    if is_proven or (problem := confinement.trouble()) is None:
        return texts
    _log.warning("the services are not confined, they run with your permissions: %s", problem)
    return wanted(setup, is_confined=False)


def _reloaded(
    part: Part, setup: Setup, change: unit_files.Change, states: Mapping[str, Mapping[str, str]]
) -> unit_files.Change:
    """Reload systemd; undo the change of units if the server could not start with them."""
    # Units that were changed with an editor, without `systemctl edit` and its reload.
    edited = {unit for unit in part.units if states[unit]["NeedDaemonReload"] == "yes"}
    try:
        if change.before or edited:
            # A socket whose addresses have changed stops listening after a reload.
            systemctl.call("daemon-reload")
            change = change._replace(units=change.units | (edited & {part.trigger}))
        # It has other addresses than it was started with, as after `systemctl edit`.
        if part == SERVER and service_status.unopened(states[part.trigger]):
            change = change._replace(units=change.units | {part.trigger})
        if part == SERVER:
            server_secrets.demand_passwords(setup.settings, setup.paths)
    except BaseException:
        if change.before:
            change.undo()
            systemctl.try_call("daemon-reload")
        raise
    return change


def wanted(setup: Setup, *, is_confined: bool = True) -> dict[str, str]:
    """Render the files that `start` writes into the user's unit directory.

    Args:
        setup: the input of the units.
        is_confined: whether services can be confined.

    Raises:
        InsidersError: the user manager does not answer.
    """
    manager, command, program = setup.manager, unit_templates.installed_command(), None
    if is_confined:
        words = unit_templates.installed_words()
        program = confinement.find_program(words, manager.variables, setup.paths)
    # Identical units of a system package are used in place: a copy in the home would override the
    # package's next version.
    if unit_files.are_packaged(_of_packages(manager), command):
        variables = systemctl.environment()
        return unit_templates.render_drop_ins(
            setup.paths, setup.settings, variables, program, setup.intervals
        )
    return unit_templates.render(
        command, setup.paths, setup.settings, program, manager.number, setup.intervals
    )


def _of_packages(manager: Manager) -> list[Path]:
    return [path for path in manager.unit_path if path != manager.unit_directory]


def _is_active(unit: str) -> bool:
    return _is_active_in(systemctl.show(unit, "ActiveState"))


def _is_active_in(has: Mapping[str, str]) -> bool:
    return has["ActiveState"] in ("active", "reloading")


def _demand_port(setup: Setup, socket: Mapping[str, str]) -> None:
    """Check that the index can listen where the settings say, before it stops listening elsewhere.

    Raises:
        InsidersError: it cannot, and it keeps running where it is.
    """
    listens = service_status.addresses(socket["Listen"])
    # Its own port is taken by itself, also if its unit file is gone, and with it its addresses; a
    # drop-in of the user sets others than config.toml.
    is_own = not listens or any(it.endswith(f":{setup.settings.server.port}") for it in listens)
    if not _is_active_in(socket) or is_own or unit_names.own_drop_ins(socket["DropInPaths"]):
        return
    if error := _port_taken(setup):
        url = service_status.url(listens)
        text = f"{error.message}; the index keeps running at {url}/simple/"
        raise InsidersError(text, error.hint)


def _port_taken(setup: Setup) -> InsidersError | None:
    # systemd reports the reason only in the journal, so the port is tried here.
    server = setup.settings.server
    try:
        for item in sockets.bind_host(server.host, server.port):
            item.close()
    except InsidersError as error:
        where = f"[server] port in {setup.paths.settings}"
        return InsidersError(error.message, f"{error.hint}: {where}" if error.hint else where)
    return None


def stop(part: Part) -> bool:
    """Stop a service until the next login; return whether it was installed, or still ran."""
    units = part.units if _is_installed(part) else _left_running(part)
    if units:
        systemctl.call("stop", *units)
        _stop_own_updates(part)
    return bool(units)


def disable(part: Part) -> bool:
    """Stop and disable a service; return whether it was installed, or still ran."""
    if _is_installed(part):
        systemctl.call("disable", part.trigger)
    return stop(part)


def _is_installed(part: Part) -> bool:
    return unit_files.is_installed(systemctl.manager().unit_path, part)


def _left_running(part: Part) -> tuple[str, ...]:
    """Return the units of a service that run, though some of its files are gone."""
    found = systemctl.show_each(part.units, "Id", "ActiveState")
    return tuple(has["Id"] for has in found if service_status.is_left_running(has))


def _stop_own_updates(part: Part) -> None:
    # Their timers stop with the watcher's.
    if part == WATCHER:
        systemctl.try_call("stop", OWN_SERVICES)


def uninstall() -> list[Path]:
    """Stop, disable and remove all units; return the removed files.

    Units of a system package are stopped and disabled, but not removed.

    Raises:
        InsidersError: the user manager is unavailable, or a file cannot be removed.
    """
    manager = systemctl.manager()
    for part in PARTS:
        # `try_call`: each may fail, as units may be incomplete, and run without their files.
        systemctl.try_call("disable", "--now", part.trigger)
        systemctl.try_each("stop", part.units)
        forget_elapses([part.trigger])
    # It stays after a stop, as the unit has RuntimeDirectoryPreserve=.
    systemctl.try_call("clean", "--what=runtime", SERVER.service)
    released = unit_names.RELEASED.replace("@", "@*")
    helpers = (unit_names.NOTIFIERS, REQUESTS, released, *HOOKS.units)
    systemctl.try_each("stop", (*helpers, OWN_TIMERS, OWN_PATHS, OWN_SERVICES))
    forget_elapses(unit_files.installed_own_timers(manager.unit_directory))
    try:
        removed = unit_files.uninstall(manager.unit_directory)
    finally:
        # Also if one file is not ours: the manager must forget the units whose files are gone.
        systemctl.try_call("daemon-reload")
    # An unused slice stays active until the manager ends. Source: systemd.slice(5).
    _stop_former_slices()
    # A template itself is never loaded, only its instances.
    loaded = (unit.replace("@", "@*") for unit in unit_names.UNITS)
    systemctl.try_call("reset-failed", *loaded)
    return removed


def forget_elapses(timers: Collection[str]) -> None:
    """Remove the time stamps of stopped timers with `Persistent=`."""
    # One by one: of several, none is cleaned behind one that is masked.
    for timer in timers:
        systemctl.try_call("clean", "--what=state", timer)


def installed_files() -> list[Path]:
    """Return the files that `uninstall` would remove.

    Raises:
        InsidersError: there is no user manager, or a file is not ours or cannot be read.
    """
    return unit_files.installed(systemctl.manager().unit_directory)


def _stop_former_slices() -> None:
    for unit in unit_names.FORMER_SLICES:
        has = systemctl.show(unit, "ActiveState", "RequiredBy")
        if has["ActiveState"] == "active" and not has["RequiredBy"]:
            systemctl.try_call("stop", unit)


def packaged_units() -> list[Path]:
    """Return the units of a system package.

    Raises:
        InsidersError: the user manager is unavailable.
    """
    directories = _of_packages(systemctl.manager())
    return [path for unit in unit_names.UNITS if (path := unit_files.find(directories, unit))]
