"""alerts: what becomes of a problem from one check to the next, and how it is told."""

import pytest
from fixtures import Person

from pypi_insiders.reporting import alerts
from pypi_insiders.reporting.alerts import Found, Memory, Trouble, compare, words
from pypi_insiders.reporting.notification import Message

END = "`pypi-insiders status` shows the state of everything.\n"


A, B = Trouble("me/a", "tag v1", "tag v1: broken"), Trouble("server", "", "failing")
DAY = 86400


def found(*troubles: Trouble) -> Found:
    """What a look finds that leaves nothing out."""
    return Found(troubles, frozenset({"me/a", "server", "watcher"}), frozenset({"me/a"}))


def story(*looks: tuple[int, Found]) -> list[tuple[int, str, str]]:
    """Tell what the person reads when: the time of a look, and what it says that is new or over."""
    memory, told = Memory({}, {}), []
    for at, look in looks:
        news = compare(memory, look, at)
        told += [(at, "again" if new.again else "new", new.trouble.subject) for new in news.new]
        told += [(at, "over", trouble.subject) for trouble in news.over]
        memory = news.after
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
    many = tuple(Trouble(f"me/{number}", "", "broken") for number in range(30))
    news = compare(Memory({}, {}), Found(many, frozenset()), 0)
    assert words(news) == Message(
        "pypi-insiders: problem with me/0, me/1, me/2 and 27 more",
        "".join(f"me/{number}: broken\n" for number in range(20)) + f"and 10 more\n{END}",
    )


@pytest.mark.parametrize("text", ["{", "[]", "[1]", '{"a": 1}', '[{"trouble": {}}]', "null"])
def test_a_damaged_memory_is_none(person: Person, text: str) -> None:
    """At worst something is told twice."""
    for path in (person.paths.troubles / "server.json", person.paths.state / "troubles-over.json"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    memory = alerts.load(person.paths)
    assert memory.known == {}
