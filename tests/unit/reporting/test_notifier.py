"""notifier: of which services the state is known."""

from types import SimpleNamespace
from typing import Any

import pytest

from pypi_insiders.config.paths import Paths
from pypi_insiders.reporting import notifier, services_seen, snapshot
from pypi_insiders.systemd import service_status
from pypi_insiders.systemd.service_status import Condition, Overview, Services
from pypi_insiders.systemd.systemctl import Manager
from pypi_insiders.systemd.unit_names import PARTS, WATCHER

_ENDED = {"ActiveState": "inactive", "Result": "success", "ExecMainExitTimestampMonotonic": "7"}


@pytest.mark.parametrize(
    ("has", "is_known"),
    [
        (_ENDED, True),
        ({**_ENDED, "ActiveState": "failed", "Result": "exit-code"}, True),
        # The notifier is started by ExecStopPost=.
        ({**_ENDED, "ActiveState": "deactivating", "SubState": "stop-post"}, True),
        # A step before its program failed.
        ({"ActiveState": "failed", "Result": "exit-code"}, True),
        # It was stopped, which is no recovery.
        ({**_ENDED, "ExecMainStatus": "143"}, False),
        ({**_ENDED, "ActiveState": "activating", "SubState": "start"}, False),
        ({"ActiveState": "inactive", "Result": "success"}, False),
    ],
)
def test_of_the_watcher_it_is_known_how_the_last_update_ended(
    paths: Paths, monkeypatch: pytest.MonkeyPatch, has: dict[str, str], is_known: bool
) -> None:
    """Only then may its problem have ended."""
    none = dict.fromkeys(service_status.PROPERTIES, "")
    units = {unit: none for part in PARTS for unit in part.units} | {WATCHER.service: none | has}
    server, watcher = (Overview(part, Condition.STOPPED, "stopped") for part in PARTS)
    services = Services(Manager(paths.state, (), "252"), server, watcher, units)
    seen: Any = SimpleNamespace(services=services, pending=(), watched={}, held={}, fetched=None)
    monkeypatch.setattr(snapshot, "take", lambda *_: seen)
    monkeypatch.setattr(notifier, "judge", lambda _: SimpleNamespace(problems=()))
    monkeypatch.setattr(services_seen, "remember", lambda *_: None)
    assert (WATCHER.name in notifier.look(paths).subjects) == is_known
