"""What is said of the services and of what the index answers."""

from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pypi_insiders.config.settings import Settings
from pypi_insiders.reporting import judge_services
from pypi_insiders.reporting.index_check import Fetched
from pypi_insiders.repositories import status
from pypi_insiders.repositories.repository import Repository
from pypi_insiders.repositories.state import Check, RepositoryState
from pypi_insiders.repositories.status import StatusContext
from pypi_insiders.systemd.service_status import Condition, Overview, Services
from pypi_insiders.systemd.systemctl import Manager
from pypi_insiders.systemd.unit_names import REQUESTS, SERVER, WATCHER


@pytest.mark.parametrize(
    ("is_refused", "hint"),
    [
        (True, "`pypi-insiders server restart`"),
        (False, "see why: `pypi-insiders server logs`"),
    ],
)
def test_a_socket_that_systemd_has_closed_is_opened_by_a_restart(
    is_refused: bool, hint: str
) -> None:
    """Of a socket that takes connections the log of the server says more."""
    services = Services(
        Manager(Path("/nowhere"), (), "257"),
        Overview(SERVER, Condition.RUNNING, "running"),
        Overview(WATCHER, Condition.RUNNING, "running"),
        {},
    )
    fetched = Fetched("http://127.0.0.1:31411", error="no answer", is_refused=is_refused)
    snapshot: Any = SimpleNamespace(fetched=fetched, services=services, passwords=None)
    (item,) = judge_services._index(snapshot)
    assert (item.text, item.hint) == ("no answer", hint)


@pytest.mark.parametrize(
    ("tried_at", "listed_at", "own_s", "is_working", "found"),
    [
        (992_000, 0, None, False, True),
        (None, 0, None, False, True),
        (992_900, 0, None, False, False),
        # The clock was set back.
        (1_100_000, 0, None, False, False),
        # Added since, or with a timer of its own that is less frequent.
        (None, 999_000, None, False, False),
        (992_000, 0, 86_400, False, False),
        # It may be its turn next.
        (992_000, 0, None, True, False),
    ],
)
def test_a_repository_that_updates_leave_out_is_reported(
    tried_at: int | None, listed_at: float, own_s: int | None, is_working: bool, found: bool
) -> None:
    """A drop-in of the user has another command, or another repos.toml: all looked well."""
    item = Repository("me/probe", interval_s=own_s)
    none = StatusContext(frozenset(), {}, {}, {"me/probe": Check(1, tried_at=tried_at)})
    watcher = Overview(
        WATCHER, Condition.RUNNING, "running",
        since=900_000, last_run=999_000, next_run=1_000_100, is_working=is_working,
    )  # fmt: skip
    units = {
        unit: {"DropInPaths": "", "InactiveExitTimestamp": "@999990"} for unit in WATCHER.units
    }
    snapshot: Any = SimpleNamespace(
        now=datetime.fromtimestamp(1_000_000, UTC),
        settings=Settings(),
        watched={item.name: item},
        listed_at=listed_at,
        standings=[status.of(item, RepositoryState(), none)],
        services=Services(
            Manager(Path("/nowhere"), (), "257"),
            Overview(SERVER, Condition.RUNNING, "running"), watcher, units,
        ),
    )  # fmt: skip
    at = "1970-01-12 11:33:20" if tried_at else "1970-01-11 10:00:00"
    texts = [f"updates run, but have not checked it since {at} UTC"] if found else []
    assert [it.text for it in judge_services._watcher(snapshot)] == texts
    units[WATCHER.trigger]["DropInPaths"] = "/home/me/override.conf"
    assert not list(judge_services._watcher(snapshot))


@pytest.mark.parametrize(
    ("listens", "texts"),
    [
        (("127.0.0.1:1",), ["pypi-insiders-server.socket does not listen at [::1]:2 yet"]),
        # The index does not answer: that is a line of its own.
        ((), []),
    ],
)
def test_an_address_at_which_nothing_listens_is_a_problem(
    listens: tuple[str, ...], texts: list[str]
) -> None:
    """A drop-in has added it: whoever uses it gets no answer."""
    server = Overview(SERVER, Condition.RUNNING, "running", listens=listens, closed=("[::1]:2",))
    units = {unit: {"LoadState": "", "ActiveState": ""} for unit in (REQUESTS, SERVER.service)}
    watcher = Overview(WATCHER, Condition.RUNNING, "running")
    services = Services(Manager(Path("/nowhere"), (), "257"), server, watcher, units)
    snapshot: Any = SimpleNamespace(services=services, elsewhere=None)
    assert [item.text for item in judge_services._server(snapshot)] == texts


def test_before_an_update_ends_an_overdue_one_is_not_said_to_have_ended() -> None:
    """The timer was started at that time; each run since may have been skipped."""
    watcher = Overview(WATCHER, Condition.RUNNING, "running", since=900_000, next_run=1_000_100)
    units = {unit: {"DropInPaths": "", "Result": "exec-condition"} for unit in WATCHER.units}
    server = Overview(SERVER, Condition.RUNNING, "running")
    services = Services(Manager(Path("/nowhere"), (), "257"), server, watcher, units)
    snapshot: Any = SimpleNamespace(
        now=datetime.fromtimestamp(1_000_000, UTC), settings=Settings(), services=services
    )
    (item,) = judge_services._watcher(snapshot)
    assert item.text == (
        "no update has ended since 1970-01-11 10:00:00 UTC, more than 3 intervals ago"
    )


@pytest.mark.parametrize(
    ("condition", "subjects"), [(Condition.RUNNING, ["server"]), (Condition.STOPPED, [])]
)
def test_a_service_that_would_not_start_again_is_noted(
    condition: Condition, subjects: list[str]
) -> None:
    """After `systemctl --user disable` all looked well until the next boot."""
    looks = (Overview(SERVER, condition, ""), Overview(WATCHER, Condition.RUNNING, ""))
    units = {
        SERVER.trigger: {"UnitFileState": "disabled", "WantedBy": ""},
        WATCHER.trigger: {"UnitFileState": "static", "WantedBy": ""},
    }
    services = Services(Manager(Path("/nowhere"), (), "257"), *looks, units)
    found = list(judge_services._not_enabled(services))
    assert [item.subject for item in found] == subjects
    assert all(item.hint == "`pypi-insiders server enable`" for item in found)
