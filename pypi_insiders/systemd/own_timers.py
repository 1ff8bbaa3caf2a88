"""Start and stop the units of single repositories, and see which of their timers run."""

from collections.abc import Iterable, Mapping

from pypi_insiders.systemd import control, systemctl, unit_files, unit_names
from pypi_insiders.systemd.control import Installation, Setup
from pypi_insiders.systemd.unit_names import WATCHER

_PROPERTIES = (
    *("ActiveState", "SubState"),
    *("NextElapseUSecRealtime", "NextElapseUSecMonotonic"),
)


def refresh(setup: Setup) -> None:
    """Update the units of the watcher, if it is installed, to the intervals of repositories.

    Raises:
        InsidersError: as `control.start`.
    """
    if unit_files.is_installed(setup.manager.unit_path, WATCHER):
        with control.installation(WATCHER, setup) as installed:
            _restart_timers(installed, setup)


def start(name: str, setup: Setup) -> None:
    """Start the timer of a repository, if it has an interval of its own, and an update.

    Raises:
        InsidersError: as `control.start`.
    """
    part = unit_names.of_repository(name)
    with control.installation(WATCHER, setup) as installed:
        _restart_timers(installed, setup)
        if name in setup.intervals:
            systemctl.call("start", part.trigger)
        control.start_update(part)


def _restart_timers(installed: Installation, setup: Setup) -> None:
    changed = unit_files.own_timers(installed.change.units)
    if not changed and WATCHER.trigger not in installed.change.units:
        return
    wanted = {unit_names.of_repository(name).trigger for name in setup.intervals}
    # One may run alone, without the timer of the watcher, with which all others stop and start.
    started = [unit for unit in systemctl.active(unit_names.OWN_TIMERS) if unit in wanted]
    if installed.was_active(WATCHER.trigger):
        started.append(WATCHER.trigger)
    # Those that are gone, too: `installation` then removes their time stamps.
    systemctl.call("stop", *changed, WATCHER.trigger)
    if started:
        systemctl.call("start", *started)


def stop(name: str) -> bool:
    """Stop the timer and the update of a repository; return whether either was active.

    Raises:
        InsidersError: the user manager does not answer.
    """
    units = unit_names.of_repository(name).units
    found = systemctl.show_each(units, "ActiveState")
    systemctl.call("stop", *units)
    return any(has["ActiveState"] not in ("inactive", "failed") for has in found)


def is_running(timer: Mapping[str, str]) -> bool:
    """Return whether a timer is active and elapses again, from its properties."""
    # While its service runs, the next time is not known yet.
    is_set = timer["NextElapseUSecRealtime"] or timer["NextElapseUSecMonotonic"] not in (
        *("", "0", "infinity"),
    )
    return timer["ActiveState"] == "active" and (timer["SubState"] == "running" or bool(is_set))


def running(names: Iterable[str]) -> frozenset[str]:
    """Return the repositories whose own timers run.

    Raises:
        InsidersError: the user manager does not answer.
    """
    timers = {name: unit_names.of_repository(name).trigger for name in names}
    if not timers:
        return frozenset()
    found = systemctl.show_each(list(timers.values()), *_PROPERTIES)
    seen = zip(timers, found, strict=True)
    return frozenset(name for name, timer in seen if is_running(timer))
