"""The lines of `server status` and `watcher status`, and their JSON."""

from datetime import UTC, datetime
from typing import Any

import pytest

from pypi_insiders.reporting import service_report
from pypi_insiders.repositories.repository import Repository
from pypi_insiders.systemd.service_status import Condition, Overview
from pypi_insiders.systemd.unit_names import SERVER, WATCHER

NOW = datetime.fromtimestamp(1_790_000_000, UTC)
AT = NOW.timestamp()
URL = "http://127.0.0.1:31411"
LISTENS = ("127.0.0.1:31411", "[::1]:31411")
IDLE = Overview(
    SERVER, Condition.RUNNING, f"running at {URL}/simple/", since=AT - 7200, url=URL,
    listens=LISTENS,
)  # fmt: skip
WATCHING = Overview(
    WATCHER, Condition.RUNNING, "running", ("next update in 12 min",), since=AT - 7200,
    last_run=AT - 1080, last_result="succeeded", next_run=AT + 720,
)  # fmt: skip


def changed(look: Overview, **fields: Any) -> Overview:
    """Return another state of a service."""
    return look._replace(**fields)


@pytest.mark.parametrize(
    ("look", "head", "rows", "hint"),
    [
        (
            IDLE,
            f"server: running at {URL}/simple/",
            {
                "listening since": "2026-09-21 12:13:20 UTC (2 h ago)",
                "sockets": "127.0.0.1:31411, [::1]:31411",
                "process": "idle (socket-activated)",
            },
            None,
        ),
        (
            changed(IDLE, is_working=True, memory_bytes=40 * 1024**2, since=None, listens=()),
            f"server: running at {URL}/simple/",
            {"process": "40 MiB"},
            None,
        ),
        # After a restart the socket is as old as before.
        (
            changed(IDLE, is_working=True, process_since=AT - 5, memory_bytes=40 * 1024**2),
            f"server: running at {URL}/simple/",
            {
                "listening since": "2026-09-21 12:13:20 UTC (2 h ago)",
                "sockets": "127.0.0.1:31411, [::1]:31411",
                "process": "started 5 s ago, 40 MiB",
            },
            None,
        ),
        (
            changed(IDLE, is_working=True, since=None, listens=()),
            f"server: running at {URL}/simple/",
            {"process": "running"},
            None,
        ),
        (
            Overview(SERVER, Condition.STOPPED, "stopped"),
            "server: stopped",
            {},
            "`pypi-insiders server start`",
        ),
        (
            Overview(SERVER, Condition.STOPPED, "failing (exit-code)", has_failed=True,
                     url=URL, listens=LISTENS),
            "server: failing (exit-code)",
            {"sockets": "127.0.0.1:31411, [::1]:31411"},
            "see why: `pypi-insiders server logs`",
        ),
        (
            Overview(WATCHER, Condition.NOT_INSTALLED, "not installed"),
            "watcher: not installed",
            {},
            "`pypi-insiders watcher enable`",
        ),
        (
            WATCHING,
            "watcher: running",
            {
                "since": "2026-09-21 12:13:20 UTC (2 h ago)",
                "last update": "2026-09-21 13:55:20 UTC (18 min ago), succeeded",
                "next update": "2026-09-21 14:25:20 UTC (in 12 min)",
            },
            None,
        ),
        (
            changed(
                WATCHING, has_failed=True, last_result="failed", since=None, next_run=None
            ),
            "watcher: running",
            {"last update": "2026-09-21 13:55:20 UTC (18 min ago), failed"},
            "see why: `pypi-insiders watcher logs`",
        ),
        (
            changed(WATCHING, is_working=True, progress="checking 1 of 2", since=None,
                    last_result=None, next_run=None),
            "watcher: running",
            {
                "update": "checking 1 of 2",
                # Of that one systemd has no result any more.
                "last update": "2026-09-21 13:55:20 UTC (18 min ago)",
            },
            None,
        ),
    ],
)  # fmt: skip
def test_the_state_is_a_few_lines(
    look: Overview, head: str, rows: dict[str, str], hint: str | None
) -> None:
    """With the next command where the service does not run as it should."""
    assert service_report.head(look) == head
    assert dict(service_report.rows(look, NOW)) == rows
    assert service_report.hint(look) == hint


@pytest.mark.parametrize(
    ("look", "interval_s", "hint"),
    [
        (WATCHING, 300, None),
        (
            changed(WATCHING, has_failed=True, last_result="failed"), None,
            "see why: `pypi-insiders watcher logs me/one`",
        ),
        (
            changed(WATCHING, condition=Condition.STOPPED), 300,
            "`pypi-insiders watcher start me/one`",
        ),
        (
            changed(WATCHING, condition=Condition.STOPPED), None,
            "`pypi-insiders repos set me/one interval=30min` gives it one",
        ),
        (
            changed(WATCHING, condition=Condition.NOT_INSTALLED), None,
            "`pypi-insiders watcher start me/one`",
        ),
    ],
)  # fmt: skip
def test_a_repository_without_an_interval_has_no_timer_to_be_started(
    look: Overview, interval_s: int | None, hint: str | None
) -> None:
    repository = Repository("me/one", interval_s=interval_s)
    assert service_report.hint(look, repository) == hint


@pytest.mark.parametrize(
    ("look", "state", "condition"),
    [
        (IDLE, "running", "running"),
        (Overview(SERVER, Condition.STOPPED, "stopped"), "stopped", "stopped"),
        (Overview(WATCHER, Condition.NOT_INSTALLED, "?"), "not_installed", "not installed"),
        (changed(WATCHING, has_failed=True, last_result="failed"), "failing", "failing"),
    ],
)
def test_scripts_read_the_state_by_its_new_name_and_the_former(
    look: Overview, state: str, condition: str
) -> None:
    """For one version."""
    members = service_report.members(look)
    assert (members["state"], members["condition"]) == (state, condition)
    assert members["started_at"] == members["since"]
    if look.part == WATCHER:
        assert members["last_update_at"] == members["last_run"]
        assert members["next_update_at"] == members["next_run"]
        assert members["last_run_failed"] == (members["last_result"] == "failed")
    else:
        assert members["idle"] == members["is_idle"] == (state == "running")
        assert members["addresses"] == look.listens
