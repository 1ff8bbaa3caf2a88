"""Judge the units of single repositories and of new releases, and those of hooks."""

from collections.abc import Iterator

from pypi_insiders.reporting.snapshot import Snapshot
from pypi_insiders.reporting.verdict import Item, problem, warning
from pypi_insiders.systemd import exit_codes, own_timers
from pypi_insiders.systemd.service_status import Condition, Services, seconds
from pypi_insiders.systemd.unit_names import HOOKS, SERVER, WATCHER, of_project, of_repository
from pypi_insiders.util.errors import InsidersError


def judge_own_units(snapshot: Snapshot) -> Iterator[Item]:
    """Judge the timers and services of single repositories, of releases and of hooks."""
    services = snapshot.services
    if not isinstance(services, Services):
        return
    if not isinstance(snapshot.watched, InsidersError):
        for item in snapshot.watched.values():
            if item.interval_s is not None:
                yield from _timer(services, item.name)
            yield from _service(snapshot, services, item.name)
    yield from _released(snapshot, services)
    if not isinstance(snapshot.settings, InsidersError) and snapshot.settings.server.hooks:
        yield from _hooks(snapshot, services)


def _timer(services: Services, name: str) -> Iterator[Item]:
    part = of_repository(name)
    timer = services.units.get(part.trigger)
    # Of a stopped watcher there is a line already: then nothing is updated.
    is_watching = services.watcher.condition == Condition.RUNNING
    if timer is not None and is_watching and not own_timers.is_running(timer):
        yield warning(
            WATCHER.name,
            f"the timer of {name} is not running, so its `interval` has no effect, and it is "
            "updated with the others",
            f"`systemctl --user unmask '{part.trigger}'`"
            if timer["LoadState"] == "masked"
            else f"`pypi-insiders watcher start {name}`",
            part.trigger,
        )


def _service(snapshot: Snapshot, services: Services, name: str) -> Iterator[Item]:
    unit = of_repository(name).service
    has = services.units.get(unit)
    if has is None or not exit_codes.is_failure(has["Result"]):
        return
    # Otherwise a step before failed, such as a credential.
    began_s, ended_s = map(seconds, (has["InactiveExitTimestamp"], has["ExecMainExitTimestamp"]))
    is_run = ended_s >= began_s
    # It exits with 1 if the update fails, which is a line of the repository.
    if is_run and (has["Result"], has["ExecMainStatus"]) == ("exit-code", "1"):
        return
    why = exit_codes.explain(unit, has["ExecMainStatus"])
    unable = why if is_run else "its program was not run"
    checks = (it.check.checked_at or 0 for it in snapshot.standings if it.name == name)
    # It may have been updated with the others since. What systemd cannot run fails again.
    if unable or max(checks, default=0) <= ended_s:
        yield problem(
            WATCHER.name,
            f"the last update of {name} failed ({unable or has['Result']})",
            f"see why: `pypi-insiders watcher logs {name}`",
            unit,
        )


def _released(snapshot: Snapshot, services: Services) -> Iterator[Item]:
    """Judge units that end without running `release-command`, as one that the user has changed."""
    for item in snapshot.unbegun:
        unit = of_project(item.project)
        has = services.units.get(unit, {"LoadState": "not-found"})
        # Without the unit the update itself runs it, at its end.
        if has["LoadState"] == "not-found" or has["ActiveState"] not in ("inactive", "failed"):
            continue
        why = exit_codes.explain(unit, has["ExecMainStatus"]) or (
            "the unit is masked"
            if has["LoadState"] == "masked"
            else "the unit ended without it"
            if not exit_codes.is_failure(has["Result"])
            else f"the unit failed ({has['Result']})"
        )
        yield warning(
            item.repository,
            f"release-command has not run for {item.project} {item.version}: {why}",
            f"`systemctl --user status '{unit}'`; the next update starts it again",
            unit,
        )


def _hooks(snapshot: Snapshot, services: Services) -> Iterator[Item]:
    if snapshot.hooks is not None:
        yield problem(SERVER.name, snapshot.hooks.message, snapshot.hooks.hint, "hook secret")
    has, service = services.units[HOOKS.trigger], services.units[HOOKS.service]
    is_served = services.server.condition == Condition.RUNNING
    # It runs with the server, and is inactive beside it only if stopped by hand or by its limit of
    # starts.
    is_working = services.units[SERVER.service]["ActiveState"] == "active"
    if (
        is_served
        and has["ActiveState"] != "active"
        and (is_working or has["ActiveState"] == "failed")
    ):
        is_failed = has["ActiveState"] == "failed"
        state = f"failed ({has['Result']})" if is_failed else "is stopped"
        yield problem(
            SERVER.name,
            f"pushes start no updates: {HOOKS.trigger} {state}",
            f"`pypi-insiders server start`; see why: `journalctl --user -u {HOOKS.trigger}`",
            HOOKS.trigger,
        )
    if exit_codes.is_failure(service["Result"]):
        yield problem(
            SERVER.name,
            f"pushes start no updates: {HOOKS.service} failed ({service['Result']})",
            f"see why: `journalctl --user -u {HOOKS.service}`",
            HOOKS.service,
        )
