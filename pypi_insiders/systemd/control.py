"""Start and stop the two services, with units that are up to date."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from pypi_insiders.config import access, addresses, passwords
from pypi_insiders.config.paths import Paths
from pypi_insiders.config.settings import Settings
from pypi_insiders.systemd import (
    confinement,
    exit_codes,
    sockets,
    systemctl,
    unit_files,
    unit_names,
    unit_templates,
)
from pypi_insiders.systemd.systemctl import Manager
from pypi_insiders.systemd.unit_names import PARTS, SERVER, Part
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import make_directory, remove

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Setup:
    """What a service is set up from."""

    paths: Paths
    settings: Settings
    manager: Manager


@dataclass(frozen=True)
class _Installation:
    """Units that are installed now, and how they were before."""

    change: unit_files.Change
    states: Mapping[str, Mapping[str, str]]
    """Name of a unit to its properties before."""

    def was_active(self, *units: str) -> bool:
        return all(_is_active_in(self.states[unit]) for unit in units)


def start(part: Part, setup: Setup, *, at_login: bool) -> None:
    """Install or refresh the units and start a service; if that fails, all is as it was before.

    What runs already keeps running, unless its units or the settings have changed since.

    Args:
        part: the service.
        setup: what its units are made from.
        at_login: start it at each login from now on.

    Raises:
        InsidersError: there is no user manager, a unit cannot be installed, the index would be
            open to everybody, or the service does not come up.
    """
    with _installed(part, setup) as installed:
        changed = installed.change.units
        if part.trigger in changed:
            # A socket cannot be bound anew while its service runs; an update need not end.
            systemctl.call("stop", *(part.units if part == SERVER else (part.trigger,)))
        # Restarted, and not stopped and started: the socket keeps listening meanwhile, so that
        # clients wait in its queue and nobody is refused.
        elif part == SERVER and part.service in changed and installed.was_active(part.service):
            _call_of_server("restart")
        # For the watcher `start` always means an update now, also where its timer runs already.
        is_running = part == SERVER and installed.was_active(*part.units, unit_names.REQUESTS)
        if changed or not is_running:
            _start(part, setup)
        if at_login:
            # After the start: `enable --now` enables also what then fails to start, at every login.
            systemctl.call("enable", part.trigger)


def restart(part: Part, setup: Setup) -> None:
    """Start a service anew; clients of the index wait meanwhile, unless its address changes.

    Raises:
        InsidersError: as `start`.
    """
    with _installed(part, setup) as installed:
        if part.trigger in installed.change.units or part != SERVER:
            systemctl.call("stop", *part.units)
        elif installed.was_active(part.trigger):
            _call_of_server("restart")
        _start(part, setup)


def _start(part: Part, setup: Setup) -> None:
    if part != SERVER:
        systemctl.call("start", part.trigger)
        # `start` of a oneshot waits for its end, which may take hours: whoever wants that follows
        # it.
        systemctl.call("start", "--no-block", part.service)
        return
    # It would make the notifier start the socket once more, as after an upgrade of the program.
    remove(unit_names.gone())
    try:
        systemctl.call("start", part.trigger)
    except InsidersError as error:
        raise _port_taken(setup) or error from error
    # Notifications of the server depend on it, and where the server runs already nothing else
    # starts it again.
    if not _is_active(unit_names.REQUESTS):
        # A unit that came to its limit of starts refuses another one until it is reset.
        systemctl.try_call("reset-failed", unit_names.NOTIFIERS, unit_names.REQUESTS)
        systemctl.try_call("start", unit_names.REQUESTS)
    # Started at once, though the socket would do: so what is wrong shows here. A process that
    # refuses, for what may have been mended since, would fail the start that waits for its end.
    _call_of_server("start" if _is_active(SERVER.service) else "restart")


def _call_of_server(verb: str) -> None:
    """Start or restart the server.

    Raises:
        InsidersError: it does not come up; the message has what systemd could not do for it.
    """
    try:
        systemctl.call(verb, SERVER.service)
    except InsidersError as error:
        # systemctl tells the same line for every failure; the number says what systemd could not
        # do.
        status = systemctl.show(SERVER.service, "ExecMainStatus")["ExecMainStatus"]
        why = exit_codes.explain(SERVER.service, status)
        if why is None:
            raise
        hint = "see what it is set to: `systemctl --user cat pypi-insiders-server.service`"
        raise InsidersError(why, hint) from error


def demand_passwords(settings: Settings, paths: Paths) -> None:
    """Require the passwords and the token without which the index would end.

    Raises:
        InsidersError: one is missing, and no credential of the service takes its place.
    """
    try:
        # Before anything is stopped: an index that serves should not end for one that refuses to
        # start.
        access.passwords_for(settings.server, paths.passwords)
    except InsidersError:
        service = systemctl.service(SERVER.service)
        # Here the credential cannot be read: systemd gives it to the service alone.
        kinds = (f"{kind}Credential{how}" for kind in ("Load", "Set") for how in ("", "Encrypted"))
        given = [name for kind in kinds for name, *_ in service.get(kind, ())]
        if passwords.CREDENTIAL not in given:
            raise


@contextmanager
def _installed(part: Part, setup: Setup) -> Iterator[_Installation]:
    """Have the units installed; take them back if what follows fails."""
    if part == SERVER:
        # The server refuses that as well, but by then its units would have been changed.
        access.demand_auth(setup.settings.server.auth, [setup.settings.server])
    units = (*part.units, unit_names.REQUESTS)
    found = systemctl.show_each(units, "ActiveState", "NeedDaemonReload")
    states = dict(zip(units, found, strict=True))
    texts = _confined(part, setup, states)
    change = unit_files.install(setup.manager.unit_directory, texts, part)
    change = _reloaded(part, setup, change, states)
    try:
        # A confined index sees only what is there when it starts.
        make_directory(setup.paths.config)
        yield _Installation(change, states)
    # KeyboardInterrupt too: a start that is interrupted leaves no half of the units.
    except BaseException:
        was_active = [unit for unit in part.units if _is_active_in(states[unit])]
        # Before the files are put back: with the old ones systemd may not know the units that run
        # now.
        if change.before:
            systemctl.try_call("stop", *part.units, unit_names.NOTIFIERS)
            change.undo()
            systemctl.try_call("daemon-reload")
            systemctl.try_call("reset-failed", *part.units, unit_names.NOTIFIERS)
            if was_active:
                systemctl.try_call("start", *was_active)
        elif not was_active:
            systemctl.try_call("stop", *part.units)
        raise


def _confined(part: Part, setup: Setup, states: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Render the units, confined where that can be; a service that runs so now has shown it."""
    texts = wanted(setup)
    # The probe is a unit of its own, for which a `start` that changes nothing need not wait.
    is_shown = _is_active_in(states[part.service]) and unit_files.are_current(
        setup.manager.unit_directory, texts, part
    )
    trouble = None if is_shown else confinement.trouble()
    if trouble is None:
        return texts
    _log.warning("the services are not confined, they run with your permissions: %s", trouble)
    return wanted(setup, is_confined=False)


def _reloaded(
    part: Part, setup: Setup, change: unit_files.Change, states: Mapping[str, Mapping[str, str]]
) -> unit_files.Change:
    """Have systemd read the units; take them back if the index could not start with them."""
    # `systemctl edit` reloads, but an editor does not: then the unit runs as it was before.
    edited = {unit for unit in part.units if states[unit]["NeedDaemonReload"] == "yes"}
    try:
        if change.before or edited:
            # A socket whose addresses have changed, by a drop-in say, listens no more after that.
            systemctl.call("daemon-reload")
            change = replace(change, units=change.units | (edited & {part.trigger}))
        if part == SERVER:
            demand_passwords(setup.settings, setup.paths)
    except BaseException:
        if change.before:
            change.undo()
            systemctl.try_call("daemon-reload")
        raise
    return change


def wanted(setup: Setup, *, is_confined: bool = True) -> dict[str, str]:
    """Render what `start` writes into the user's directory of units.

    What a package of the system brings is used where it lies: a copy would hide the next version.

    Args:
        setup: what the units are made from.
        is_confined: whether the services can be confined.

    Raises:
        InsidersError: the manager does not answer.
    """
    manager, command, program = setup.manager, unit_templates.installed_command(), None
    if is_confined:
        words = unit_templates.installed_words()
        program = confinement.find_program(words, manager.variables, setup.paths)
    if unit_files.are_packaged(_of_packages(manager), command):
        variables = systemctl.environment()
        return unit_templates.render_drop_ins(setup.paths, setup.settings, variables, program)
    return unit_templates.render(command, setup.paths, setup.settings, program, manager.number)


def _of_packages(manager: Manager) -> list[Path]:
    return [path for path in manager.unit_path if path != manager.unit_directory]


def _is_active(unit: str) -> bool:
    return _is_active_in(systemctl.show(unit, "ActiveState"))


def _is_active_in(has: Mapping[str, str]) -> bool:
    return has["ActiveState"] in ("active", "reloading")


def _port_taken(setup: Setup) -> InsidersError | None:
    """Find out whether the port is why the socket did not start; systemd tells only its journal."""
    server = setup.settings.server
    try:
        for address in addresses.of_host(server.host):
            sockets.bind(address, server.port).close()
    except InsidersError as error:
        where = f"[server] port in {setup.paths.settings}"
        return InsidersError(error.message, f"{error.hint}: {where}" if error.hint else where)
    return None


def stop(part: Part) -> bool:
    """Stop a service, until the next login if it is enabled; say whether it was installed."""
    if not unit_files.is_installed(systemctl.manager().unit_path, part):
        return False
    systemctl.call("stop", *part.units)
    return True


def disable(part: Part) -> bool:
    """Stop a service, and no longer start it at login; say whether it was installed."""
    if not unit_files.is_installed(systemctl.manager().unit_path, part):
        return False
    systemctl.call("disable", "--now", part.trigger)
    systemctl.call("stop", part.service)
    return True


def uninstall() -> list[Path]:
    """Stop, disable and remove all units; return the removed files.

    What a package of the system brings stays, stopped and disabled.

    Raises:
        InsidersError: there is no user manager, or a file cannot be removed.
    """
    manager = systemctl.manager()
    for part in PARTS:
        if any(unit_files.find(manager.unit_path, unit) for unit in part.units):
            # Each of these may fail on what is half installed, and the rest still has to go: so
            # `try_call`.
            systemctl.try_call("disable", "--now", part.trigger)
            systemctl.try_call("stop", *part.units)
            # The time of the last run, which Persistent= keeps.
            systemctl.try_call("clean", "--what=state", part.trigger)
    systemctl.try_call("clean", "--what=runtime", SERVER.service)
    systemctl.try_call("stop", unit_names.NOTIFIERS, unit_names.REQUESTS)
    removed = unit_files.uninstall(manager.unit_directory)
    systemctl.try_call("daemon-reload")
    # A slice that nothing needs any more stays active until the manager ends. Source:
    # systemd.slice(5).
    _stop_former_slices()
    # A template is never loaded: of it there is only what NOTIFIERS matches.
    loaded = [unit for unit in unit_names.UNITS if unit != unit_names.NOTIFIER]
    systemctl.try_call("reset-failed", *loaded, unit_names.NOTIFIERS)
    return removed


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
    """Find the units that a package of the system brings.

    Raises:
        InsidersError: there is no user manager.
    """
    directories = _of_packages(systemctl.manager())
    return [path for unit in unit_names.UNITS if (path := unit_files.find(directories, unit))]
