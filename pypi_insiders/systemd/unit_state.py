"""Find out whether the units are as this program writes them, and as systemd has read them."""

from collections.abc import Mapping
from dataclasses import dataclass

from pypi_insiders.config.paths import Paths
from pypi_insiders.config.settings import Settings
from pypi_insiders.systemd import control, unit_files, unit_names
from pypi_insiders.systemd.control import Setup
from pypi_insiders.systemd.service_status import Condition, Services
from pypi_insiders.systemd.unit_files import Freshness
from pypi_insiders.systemd.unit_names import PARTS, REQUESTS, Part
from pypi_insiders.util.errors import InsidersError


@dataclass(frozen=True)
class UnitState:
    """The units of one service."""

    part: Part
    missing: tuple[str, ...] = ()
    stale: tuple[str, ...] = ()
    """Written by another version, or for other settings."""
    edited: tuple[str, ...] = ()
    """Of this version, which never writes them so."""
    unconfined: tuple[str, ...] = ()
    """Drop-ins that confine services where that is possible."""
    bad: tuple[tuple[str, str], ...] = ()
    """Those that systemd cannot load, with its word for why."""
    not_reloaded: tuple[str, ...] = ()
    """Changed on disk since systemd read them."""
    errors: tuple[InsidersError, ...] = ()
    """What cannot be compared, a masked unit for example."""


def find(services: Services, paths: Paths, settings: Settings | None) -> tuple[UnitState, ...]:
    """Look at the units of each service that has any.

    Args:
        services: what systemd has.
        paths: what the units are made from.
        settings: those of `config.toml`; `None`: nobody knows what the units should be.
    """
    found = []
    for part in PARTS:
        has_any = any(unit_files.find(services.manager.unit_path, name) for name in part.units)
        if services.of(part).condition == Condition.NOT_INSTALLED and not has_any:
            continue
        try:
            files = _files(services, paths, settings, part) if settings else UnitState(part)
        except InsidersError as error:
            files = UnitState(part, errors=(error,))
        found.append(_loaded(files, services.units))
    return tuple(found)


def _files(services: Services, paths: Paths, settings: Settings, part: Part) -> UnitState:
    """Compare the files with what `start` would write."""
    manager = services.manager
    texts = control.wanted(Setup(paths, settings, manager))
    missing, stale, edited, unconfined, errors = [], [], [], [], []
    for name in unit_names.names(part):
        try:
            found = unit_files.freshness(manager.unit_directory, name, texts)
        except InsidersError as error:
            errors.append(error)
            continue
        if found == Freshness.MISSING and not unit_files.find(manager.unit_path, name):
            missing.append(name)
        elif found in (Freshness.STALE, Freshness.MISSING):  # a package has another one
            stale.append(name)
        elif found == Freshness.UNCONFINED:
            unconfined.append(name)
        elif found == Freshness.EDITED:
            edited.append(name)
    return UnitState(
        part, tuple(missing), tuple(stale), tuple(edited), tuple(unconfined), errors=tuple(errors)
    )


def _loaded(state: UnitState, has: Mapping[str, Mapping[str, str]]) -> UnitState:
    """Add what systemd made of the files; of a template it tells nothing."""
    bad, not_reloaded = [], []
    for unit in (*state.part.units, REQUESTS):
        load = has[unit]["LoadState"]
        if load not in ("loaded", "masked", "not-found"):  # the files tell of these
            bad.append((unit, load))
        elif load == "loaded" and has[unit]["NeedDaemonReload"] == "yes":
            not_reloaded.append(unit)
    return UnitState(
        state.part, state.missing, state.stale, state.edited, state.unconfined,
        tuple(bad), tuple(not_reloaded), state.errors,
    )  # fmt: skip
