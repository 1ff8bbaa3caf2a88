"""services_seen: what the index knows of services that are hidden from it."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fixtures import Person

from pypi_insiders.reporting import services_seen, snapshot
from pypi_insiders.reporting.snapshot import Snapshot
from pypi_insiders.reporting.verdict import Item, Judgement, Severity
from pypi_insiders.systemd.service_status import Condition, Overview, Services
from pypi_insiders.systemd.systemctl import Manager
from pypi_insiders.systemd.unit_names import SERVER, WATCHER

BROKEN = Item(Severity.PROBLEM, "watcher", "the last update failed", "`pypi-insiders logs`")
OTHER = Item(Severity.PROBLEM, "me/probe", "no release")
NOON_S = 1_700_000_000


SERVICES = Services(
    Manager(Path("/nonexistent"), (), "252"),
    Overview(SERVER, Condition.STOPPED, "stopped"),
    Overview(WATCHER, Condition.STOPPED, "stopped"),
    {},
)


def look(person: Person, at_s: int) -> Snapshot:
    """Look at services at some time."""
    seen = snapshot.take(person.paths, datetime.fromtimestamp(at_s, UTC))
    return seen._replace(services=SERVICES)


def test_what_is_judged_of_the_services_is_remembered_and_nothing_else(person: Person) -> None:
    assert services_seen.load(person.paths) is None
    services_seen.remember(person.paths, look(person, NOON_S), Judgement((BROKEN, OTHER)))
    seen = services_seen.load(person.paths)
    assert seen == services_seen.ServicesSeen(NOON_S, (BROKEN,))
    services_seen.remember(person.paths, look(person, NOON_S)._replace(services=None), Judgement())
    assert services_seen.load(person.paths) == seen, "nobody looked"


@pytest.mark.parametrize(
    ("later_s", "is_written"), [(0, False), (59, False), (60, True), (-1, True), (-86400, True)]
)
def test_it_is_written_again_once_a_minute(person: Person, later_s: int, is_written: bool) -> None:
    """Also after a time that was in the future, as before the clock was set."""
    services_seen.remember(person.paths, look(person, NOON_S), Judgement((BROKEN,)))
    services_seen.remember(person.paths, look(person, NOON_S + later_s), Judgement((BROKEN,)))
    seen = services_seen.load(person.paths)
    assert seen is not None
    assert seen.at_s == NOON_S + (later_s if is_written else 0)


def test_what_has_changed_is_written_at_once(person: Person) -> None:
    services_seen.remember(person.paths, look(person, NOON_S), Judgement((BROKEN,)))
    services_seen.remember(person.paths, look(person, NOON_S + 1), Judgement())
    assert services_seen.load(person.paths) == services_seen.ServicesSeen(NOON_S + 1, ())


def _damaged() -> Iterator[str]:
    item = {"severity": "problem", "subject": "watcher", "text": "failed", "hint": None}
    yield from ("", "{", "[]", "null", "{}", '{"at": 1e999, "items": []}')
    yield from ('{"at": -1, "items": []}', '{"at": 99999999999999, "items": []}')
    wrong: tuple[dict[str, object], ...] = (
        {"severity": "grave"}, {"severity": []}, {"text": 5}, {"text": "\ud800"},
        {"subject": None}, {"is_stopped": "no"}, {"more": 1},
    )  # fmt: skip
    for changed in wrong:
        yield json.dumps({"at": NOON_S, "items": [{**item, **changed}]})
    yield json.dumps({"at": NOON_S, "items": "none"})
    yield json.dumps({"at": NOON_S, "items": [[]]})


@pytest.mark.parametrize("text", list(_damaged()))
def test_what_cannot_be_understood_is_set_aside(person: Person, text: str) -> None:
    """The page is shown, and the index starts, as if nobody had looked."""
    path = person.paths.services_seen
    path.parent.mkdir(parents=True)
    path.write_text(text)
    assert services_seen.load(person.paths) is None
    assert [item.name for item in path.parent.iterdir()] == ["services.json.damaged"]
