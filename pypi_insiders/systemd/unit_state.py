"""Compare installed units with their current text, and with the units that systemd has loaded."""

from collections.abc import Mapping
from typing import NamedTuple

from pypi_insiders.config.paths import Paths
from pypi_insiders.config.settings import Settings
from pypi_insiders.systemd import control, service_status, unit_files
from pypi_insiders.systemd.control import Setup
from pypi_insiders.systemd.service_status import Condition, Services
from pypi_insiders.systemd.unit_files import Freshness
from pypi_insiders.systemd.unit_names import HOOKS, LATER, PARTS, REQUESTS, WATCHER, Part, files_of
from pypi_insiders.util.errors import InsidersError


class UnitState(NamedTuple):
    """The state of a service's units."""

    part: Part
    missing: tuple[str, ...] = ()
    stale: tuple[str, ...] = ()
    """Written by another version, or for other settings."""
    edited: tuple[str, ...] = ()
    """Changed after they were written."""
    unconfined: tuple[str, ...] = ()
    """Missing drop-ins that confine services."""
    bad: tuple[tuple[str, str], ...] = ()
    """Units that systemd cannot load, with their `LoadState`."""
    not_reloaded: tuple[str, ...] = ()
    """Changed since systemd has loaded them."""
    errors: tuple[InsidersError, ...] = ()
    """Errors of files that cannot be compared, such as a masked unit."""


def find(
    services: Services,
    paths: Paths,
    settings: Settings | None,
    intervals: Mapping[str, int] | None,
) -> tuple[UnitState, ...]:
    """Return the state of the units of each installed service.

    Args:
        services: the state of the services in systemd.
        paths: the program's paths.
        settings: the settings; `None`: unknown, so that files are not compared.
        intervals: repository to its own interval; `None`: unknown, so that those of the watcher
            are not compared.
    """
    found = []
    for part in PARTS:
        # With some of the units missing a service is damaged; without any it is not installed.
        has_any = any(
            unit_files.find(services.manager.unit_path, name)
            or service_status.is_left_running(services.units[name])
            for name in part.units
        )
        if services.of(part).condition == Condition.NOT_INSTALLED and not has_any:
            continue
        try:
            is_known = settings and (intervals is not None or part != WATCHER)
            setup = Setup(paths, settings or Settings(), services.manager, intervals or {})
            files = _files(setup, part) if is_known else UnitState(part)
        except InsidersError as error:
            files = UnitState(part, errors=(error,))
        found.append(_loaded(files, services.units))
    return tuple(found)


def _files(setup: Setup, part: Part) -> UnitState:
    """Compare the files of a service with those that `start` would write."""
    manager, texts = setup.manager, control.wanted(setup)
    missing, stale, edited, unconfined, errors = [], [], [], [], []
    for name in unit_files.names(manager.unit_directory, texts, part):
        try:
            found = unit_files.freshness(manager.unit_directory, name, texts)
        except InsidersError as error:
            errors.append(error)
            continue
        # Missing in the home, but in a system package: then that one is used, which differs.
        if found == Freshness.MISSING and not unit_files.find(manager.unit_path, name):
            missing.append(name)
        elif found in (Freshness.STALE, Freshness.MISSING):
            stale.append(name)
        elif found == Freshness.UNCONFINED:
            unconfined.append(name)
        elif found == Freshness.EDITED:
            edited.append(name)
    state = UnitState(
        part, tuple(missing), tuple(stale), tuple(edited), tuple(unconfined), errors=tuple(errors)
    )
    return as_upgraded(state)


def as_upgraded(state: UnitState) -> UnitState:
    """Return the state with units that an earlier version lacks as out of date, if it is there."""
    # Otherwise an upgrade would be a problem for each unit that is new, and a notification.
    if state.part.service not in state.stale:
        return state
    # With what confines them; not that of one which is there.
    new = {name for unit in LATER if unit in state.missing for name in files_of(unit)}
    added = tuple(name for name in (*state.missing, *state.unconfined) if name in new)
    return state._replace(
        missing=tuple(name for name in state.missing if name not in added),
        stale=(*state.stale, *added),
        unconfined=tuple(name for name in state.unconfined if name not in added),
    )


def _loaded(state: UnitState, has: Mapping[str, Mapping[str, str]]) -> UnitState:
    """Add the state of the loaded units."""
    bad, not_reloaded = [], []
    # Without the notifier: a template is never loaded.
    for unit in (*state.part.units, REQUESTS, *HOOKS.units):
        load = has[unit]["LoadState"]
        if load not in ("loaded", "masked", "not-found"):  # `_files` reports the latter two
            bad.append((unit, load))
        elif load == "loaded" and has[unit]["NeedDaemonReload"] == "yes":
            not_reloaded.append(unit)
    return state._replace(bad=tuple(bad), not_reloaded=tuple(not_reloaded))
