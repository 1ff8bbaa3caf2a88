"""update.schedule: nothing is left to a timer that does not do its work."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pypi_insiders.repositories.repository import Repository, demand_consistent
from pypi_insiders.repositories.state import Check
from pypi_insiders.systemd import own_timers
from pypi_insiders.update import schedule
from pypi_insiders.update.request import UpdateRequest
from pypi_insiders.util.errors import UsageError

TIMER = {
    "ActiveState": "active",
    "SubState": "waiting",
    "NextElapseUSecRealtime": "Fri 2026-11-27 12:00:00 UTC",
    "NextElapseUSecMonotonic": "0",
}
LATE, STOPPED = "its own timer has not updated it lately", "its own timer is not running"


@pytest.mark.parametrize(
    ("ago_s", "is_running", "why"),
    [
        (0, True, None),
        (900, True, None),
        (901, True, LATE),
        (-1, True, LATE),
        (None, True, LATE),
        (0, False, STOPPED),
        (None, False, STOPPED),
    ],
)
def test_a_repository_is_left_out_only_if_its_timer_updates_it(
    ago_s: int | None, is_running: bool, why: str | None
) -> None:
    assert schedule.why_due(300, ago_s, is_running=is_running) == why


def test_without_a_user_manager_all_are_updated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even those that were updated just now."""
    for name in ("XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS"):
        monkeypatch.setenv(name, str(tmp_path))
    chosen = [Repository("me/own", interval_s=300), Repository("me/common")]
    context: Any = SimpleNamespace(checks={"me/own": Check(tried_at=1_000_000)}, began_at=1_000_000)
    assert schedule.due(context, chosen) == chosen


@pytest.mark.parametrize("options", [{"tag": "v1"}, {"all_tags": True}])
def test_what_a_user_asks_for_is_not_scheduled(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"^--scheduled excludes --tag and --all-tags$"):
        UpdateRequest(["me/own"], is_scheduled=True, **options)


def test_only_a_user_does_not_wait_for_pauses() -> None:
    assert UpdateRequest(["me/own"]).is_by_hand
    assert not UpdateRequest(["me/own"], is_scheduled=True).is_by_hand
    assert not UpdateRequest().is_by_hand


def test_a_name_too_long_for_a_unit_has_no_interval() -> None:
    """A dash takes four bytes there."""
    demand_consistent(Repository(f"me/{'-' * 54}", interval_s=300))
    demand_consistent(Repository(f"me/{'-' * 60}"))
    with pytest.raises(UsageError, match=r"too long for the name of a timer$"):
        demand_consistent(Repository(f"me/{'-' * 60}", interval_s=300))


@pytest.mark.parametrize(
    ("changes", "is_running"),
    [
        ({}, True),
        ({"ActiveState": "inactive"}, False),
        ({"ActiveState": "failed"}, False),
        ({"NextElapseUSecRealtime": ""}, False),
        ({"NextElapseUSecRealtime": "", "NextElapseUSecMonotonic": "infinity"}, False),
        ({"NextElapseUSecRealtime": "", "NextElapseUSecMonotonic": "1h"}, True),
        ({"NextElapseUSecRealtime": "", "SubState": "running"}, True),
    ],
)
def test_a_timer_runs_if_it_elapses_again(changes: dict[str, str], is_running: bool) -> None:
    assert own_timers.is_running(TIMER | changes) == is_running
