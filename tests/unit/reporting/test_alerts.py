"""Which problems the user is notified of, and what is remembered of that."""

import json

import pytest
from fixtures import Person

from pypi_insiders.reporting.alerts import (
    Alert,
    Alerts,
    AlertStatus,
    Found,
    load,
    message,
    save,
    step,
)
from pypi_insiders.reporting.delivery import Message

END = "`pypi-insiders status` shows the state of everything.\n"
A, B = Alert("me/a", "tag v1", "tag v1: broken"), Alert("server", "", "failing")
DAY = 86400


def found(*problems: Alert) -> Found:
    """What a look finds that leaves nothing out."""
    return Found(problems, frozenset({"me/a", "server", "watcher"}), frozenset({"me/a"}))


def story(*looks: tuple[int, Found]) -> list[tuple[int, str, str]]:
    """Tell what the user reads when: the time of a look, and what it says that is new or over.

    Between two looks everything is written and read again.
    """
    known: Alerts = {}
    told = []
    for at, look in looks:
        found = step(known, look, at)
        told += [(at, "again" if it.is_flapping else "new", it.subject) for it in found.new]
        told += [(at, "over", it.subject) for it in found.recovered]
        known = found.after
    return told


def test_what_comes_and_goes_is_told_twice_a_day() -> None:
    """The last word is that it is wrong; what is then well for a day is over."""
    assert story(
        (0, found(A)), (1, found()),
        (2, found(A)), (3, found()), (4, found(A)), (5, found()),
        (2 + DAY, found()),
    ) == [
        (0, "new", "me/a"), (1, "over", "me/a"), (2, "again", "me/a"), (2 + DAY, "over", "me/a"),
    ]  # fmt: skip


def test_what_comes_and_goes_and_stays_is_told_when_it_ends() -> None:
    """After a day it is trouble as any other."""
    assert story(
        (0, found(A)), (1, found()), (2, found(A)), (3 + DAY, found(A)), (4 + DAY, found()),
    ) == [
        (0, "new", "me/a"), (1, "over", "me/a"), (2, "again", "me/a"), (4 + DAY, "over", "me/a"),
    ]  # fmt: skip


def test_what_comes_back_after_a_day_is_new() -> None:
    """And trouble has no part in what comes of other trouble."""
    assert story(
        (0, found(A)), (1, found(B)), (1 + DAY, found(A, B)), (2 + DAY, found(B)),
    ) == [
        (0, "new", "me/a"), (1, "new", "server"), (1, "over", "me/a"),
        (1 + DAY, "new", "me/a"), (2 + DAY, "over", "me/a"),
    ]  # fmt: skip


def test_what_was_not_looked_at_is_not_over() -> None:
    """While an update is under way nobody knows how the repositories are."""
    only_server = Found((), frozenset({"server"}), frozenset({"me/a"}))
    unknown = Found((), frozenset({"server"}), None)
    assert story((0, found(A)), (1, only_server), (2, unknown), (3, found())) == [
        (0, "new", "me/a"),
        (3, "over", "me/a"),
    ]


def test_a_long_list_is_cut() -> None:
    """A message is no log."""
    many = tuple(Alert(f"me/{number}", "", "broken") for number in range(30))
    assert message(step({}, Found(many, frozenset()), 0)) == Message(
        "pypi-insiders: problem with me/0, me/1, me/2 and 27 more",
        "".join(f"me/{number}: broken\n" for number in range(20)) + f"and 10 more\n{END}",
    )


def test_what_nobody_could_be_notified_of_stays_new() -> None:
    """Until it ends by itself: then there is nothing to tell."""
    first = step({}, found(A), 0)
    again = step(first.before, found(A, B), 1)
    assert [(alert.subject, alert.since) for alert in again.new] == [("me/a", 0), ("server", 1)]
    assert step(again.before, found(B), 2).new == (again.before["server"],)
    assert step(again.before, found(), 2) == step({}, found(), 2)


def test_what_is_no_longer_watched_is_forgotten() -> None:
    """Nobody need hear of its end."""
    known = step({}, found(A), 0).after
    gone = Found((), frozenset(), frozenset())
    assert (step(known, gone, 1).recovered, step(known, gone, 1).after) == ((), {})


def test_what_is_remembered_is_read_again(person: Person) -> None:
    """New, known and over alike; with nothing to remember no file is left."""
    known = step(step({}, found(A), 5).after, found(), 7).after
    known = {**known, **step({}, found(B), 8).before}
    save(person.paths, known)
    read = load(person.paths)
    assert {key: (it.status, it.notified_at) for key, it in read.items()} == {
        "me/a: tag v1": (AlertStatus.RECOVERED, 7), "server": (AlertStatus.NEW, None),
    }  # fmt: skip
    assert read["server"] == known["server"]
    save(person.paths, {})
    assert [path for path in person.paths.state.rglob("*") if path.is_file()] == []


def test_what_an_older_version_remembered_is_read(person: Person) -> None:
    """So that an upgrade notifies of nothing again."""
    person.paths.troubles.mkdir(parents=True)
    trouble = {"subject": "me/a", "kind": "tag v1", "text": "tag v1: broken"}
    known = [{"trouble": trouble, "told_at": 4, "again": True}]
    (person.paths.troubles / "watcher.json").write_text(json.dumps(known))
    (person.paths.state / "troubles-over.json").write_text('{"me/b: tag v2": 3, "index": 2}')
    assert load(person.paths) == {
        "me/a: tag v1": Alert(
            "me/a", "tag v1", "tag v1: broken", AlertStatus.NOTIFIED, 4, 4, is_flapping=True
        ),
        "me/b: tag v2": Alert("me/b", "tag v2", "", AlertStatus.RECOVERED, 3, 3),
        "index": Alert("index", "", "", AlertStatus.RECOVERED, 2, 2),
    }


@pytest.mark.parametrize(
    "text",
    ["{", "[]", "[1]", '{"a": 1}', '[{"trouble": {}}]', "null", '{"a": Infinity}', '{"a": NaN}'],
)
def test_a_damaged_memory_is_none(person: Person, text: str) -> None:
    """At worst something is told twice."""
    for path in (person.paths.troubles / "server.json", person.paths.state / "troubles-over.json"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    known = load(person.paths)
    assert [key for key, it in known.items() if it.status != AlertStatus.RECOVERED] == []
