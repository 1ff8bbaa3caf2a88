"""What is said of the services and of what the index answers."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pypi_insiders.reporting import judge_services
from pypi_insiders.reporting.index_check import Fetched
from pypi_insiders.systemd.service_status import Condition, Overview, Services
from pypi_insiders.systemd.systemctl import Manager
from pypi_insiders.systemd.unit_names import SERVER, WATCHER


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
