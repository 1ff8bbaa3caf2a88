"""judge_own_units: timers and pushes that do nothing are reported."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pypi_insiders.config.paths import Paths
from pypi_insiders.config.settings import ServerSettings, Settings
from pypi_insiders.reporting.judge_own_units import judge_own_units
from pypi_insiders.reporting.snapshot import Snapshot
from pypi_insiders.reporting.verdict import Severity
from pypi_insiders.repositories import status
from pypi_insiders.repositories.new_releases import NewRelease
from pypi_insiders.repositories.repository import Repository
from pypi_insiders.repositories.state import Check, RepositoryState
from pypi_insiders.repositories.status import StatusContext
from pypi_insiders.systemd.service_status import PROPERTIES, Condition, Overview, Services
from pypi_insiders.systemd.systemctl import Manager
from pypi_insiders.systemd.unit_names import HOOKS, ONE, SERVER, WATCHER, of_project, of_repository
from pypi_insiders.util.errors import InsidersError

OWN = of_repository("me/own")
WAITING = {"ActiveState": "active", "SubState": "waiting", "NextElapseUSecRealtime": "@1"}
ACTIVE, INACTIVE = {"ActiveState": "active"}, {"ActiveState": "inactive"}
FAILED = {"ActiveState": "failed", "Result": "unit-start-limit-hit"}


def observed(  # noqa: PLR0913  # what is judged
    units: Mapping[str, dict[str, str]] | None = None,
    *,
    watcher: Condition = Condition.RUNNING,
    server: Condition = Condition.RUNNING,
    hooks: bool = True,
    hook_error: InsidersError | None = None,
    checked_at: int = 0,
    unbegun: tuple[NewRelease, ...] = (),
) -> Snapshot:
    """Return a snapshot with everything as it should be but for the given units."""
    names = {
        "timer": OWN.trigger, "service": OWN.service, "server": SERVER.service,
        "path": HOOKS.trigger, "starter": HOOKS.service, "released": of_project("my-app"),
        "common": of_repository("me/common").service,
    }  # fmt: skip
    checks = {"me/common": Check(checked_at)}
    states = {"timer": WAITING, "server": ACTIVE, "path": ACTIVE, **(units or {})}
    has = {
        unit: dict.fromkeys(PROPERTIES, "") | {"Result": "success"} | states.get(kind, INACTIVE)
        for kind, unit in names.items()
    }
    services = Services(
        Manager(Path("/units"), (), "252"),
        Overview(SERVER, server, ""),
        Overview(WATCHER, watcher, ""),
        has,
    )
    return Snapshot(
        now=datetime.now(UTC),
        paths=Paths(*(Path("/x"),) * 4),
        settings=Settings(ServerSettings(hooks=hooks)),
        watched={
            "me/own": Repository("me/own", interval_s=300),
            "me/common": Repository("me/common"),
        },
        files=InsidersError("not read"),
        services=services,
        standings=tuple(
            status.of(
                Repository(name), RepositoryState(), StatusContext(frozenset(), {}, {}, checks)
            )
            for name in ("me/own", "me/common")
        ),
        hooks=hook_error,
        unbegun=unbegun,
    )


def judged(*arguments: Any, **options: Any) -> list[tuple[str, str, str]]:
    """Judge what `observed` returns."""
    items = list(judge_own_units(observed(*arguments, **options)))
    assert all(item.hint and item.kind for item in items)
    return [(item.severity, item.subject, item.text) for item in items]


def test_what_runs_has_no_line() -> None:
    assert judged() == []
    assert judged({"path": INACTIVE}, hooks=False) == []
    # A stopped service has a line already; an idle server starts the path unit when it starts.
    assert judged({"timer": INACTIVE}, watcher=Condition.STOPPED) == []
    assert judged({"path": INACTIVE}, server=Condition.STOPPED) == []
    assert judged({"path": INACTIVE, "server": INACTIVE}) == []


@pytest.mark.parametrize("timer", [INACTIVE, FAILED, {**WAITING, "NextElapseUSecRealtime": ""}])
def test_a_timer_that_does_not_run(timer: dict[str, str]) -> None:
    assert judged({"timer": timer}) == [
        (
            Severity.WARNING,
            "watcher",
            "the timer of me/own is not running, so its `interval` has no effect, and it is "
            "updated with the others",
        )
    ]


@pytest.mark.parametrize(
    ("loaded", "hint"),
    [
        ("loaded", "`pypi-insiders watcher start me/own`"),
        ("masked", "`systemctl --user unmask 'pypi-insiders-watcher@me-own.timer'`"),
    ],
)
def test_the_hint_starts_a_timer(loaded: str, hint: str) -> None:
    (item,) = judge_own_units(observed({"timer": INACTIVE | {"LoadState": loaded}}))
    assert item.hint == hint


@pytest.mark.parametrize(
    ("result", "status", "why"),
    [
        ("exit-code", "226", f"systemd cannot set up the file system namespace of {OWN.service}"),
        ("exit-code", "2", "exit-code"),
        ("timeout", "0", "timeout"),
        ("start-limit-hit", "0", "start-limit-hit"),
        ("exit-code", "1", None),
        ("success", "0", None),
        ("exec-condition", "0", None),
    ],
)
def test_a_service_that_fails_by_itself(result: str, status: str, why: str | None) -> None:
    """And not because of the repository, which has a line of its own."""
    assert ONE.service.partition("@")[0] in OWN.service
    found = judged({"service": {"Result": result, "ExecMainStatus": status}})
    assert [(severity, subject) for severity, subject, _ in found] == (
        [(Severity.PROBLEM, "watcher")] if why else []
    )
    assert [text.startswith(f"the last update of me/own failed ({why}") for *_, text in found] == (
        [True] if why else []
    )


RAN = {"Result": "timeout", "InactiveExitTimestamp": "@100", "ExecMainExitTimestamp": "@900"}
# A step before its program, which has ended with 1 the last time that it ran.
NOT_RUN = {
    "Result": "exit-code",
    "ExecMainStatus": "1",
    "InactiveExitTimestamp": "@900",
    "ExecMainExitTimestamp": "@800",
}
UNABLE = {**RAN, "Result": "exit-code", "ExecMainStatus": "243"}


@pytest.mark.parametrize(
    ("state", "checked_at", "why"),
    [
        (RAN, 899, "timeout"),
        (RAN, 901, None),
        (NOT_RUN, 901, "its program was not run"),
        (UNABLE, 901, f"systemd cannot read a credential of {of_repository('me/common').service}"),
    ],
)
def test_a_push_whose_update_fails(state: dict[str, str], checked_at: int, why: str | None) -> None:
    """Of a repository without a timer too; until it is updated, if the next push would be."""
    found = judged({"common": state}, checked_at=checked_at)
    assert [(severity, text.partition(" (243")[0].rstrip(")")) for severity, _, text in found] == (
        [(Severity.PROBLEM, f"the last update of me/common failed ({why}")] if why else []
    )


@pytest.mark.parametrize(
    ("state", "why"),
    [
        ({"ExecMainStatus": "203"}, r"systemd cannot run the program of UNIT (203/EXEC)"),
        ({"Result": "timeout", "ActiveState": "failed"}, "the unit failed (timeout)"),
        ({"LoadState": "masked"}, "the unit is masked"),
        ({}, "the unit ended without it"),
        ({"ActiveState": "activating"}, None),
        ({"LoadState": "not-found"}, None),
    ],
)
def test_a_unit_that_does_not_run_release_command(state: dict[str, str], why: str | None) -> None:
    """Such as one whose command was replaced by the user; not one that runs, or is not there."""
    release = NewRelease("my-app", "1.0", "v1.0", "c0ffee", "me/app")
    unit = of_project("my-app")
    found = judged({"released": INACTIVE | state}, unbegun=(release,))
    text = f"release-command has not run for my-app 1.0: {why}".replace("UNIT", unit)
    assert found == ([(Severity.WARNING, "me/app", text)] if why else [])


@pytest.mark.parametrize(
    ("unit", "state", "text"),
    [
        ("path", INACTIVE, "pushes start no updates: pypi-insiders-hooks.path is stopped"),
        (
            "path",
            FAILED,
            "pushes start no updates: pypi-insiders-hooks.path failed (unit-start-limit-hit)",
        ),
        (
            "starter",
            FAILED | {"Result": "exit-code"},
            "pushes start no updates: pypi-insiders-hooks.service failed (exit-code)",
        ),
    ],
)
def test_hooks_that_start_nothing(unit: str, state: dict[str, str], text: str) -> None:
    assert judged({unit: state}) == [(Severity.PROBLEM, "server", text)]
    assert judged({unit: state}, hooks=False) == []


def test_hooks_without_a_secret() -> None:
    error = InsidersError("`hooks` is set, but X has no secret", "`pypi-insiders server hook`")
    assert judged(hook_error=error) == [(Severity.PROBLEM, "server", error.message)]
