"""What is remembered of tags that fail, and when they are tried again."""

import pytest

from pypi_insiders.builder.errors import BuildError
from pypi_insiders.repositories.state import Failure
from pypi_insiders.update import failures

_HOUR_S = 3600


@pytest.mark.parametrize(
    ("count", "hours"), [(1, 1), (2, 2), (3, 4), (4, 8), (5, 16), (6, 24), (7, 24), (10_000, 24)]
)
def test_pauses_double_up_to_a_day(count: int, hours: int) -> None:
    """So that a tag that never builds costs one build a day."""
    assert failures.pause_s(count) == hours * _HOUR_S


@pytest.mark.parametrize(("commit", "count"), [("a" * 40, 4), ("b" * 40, 1)])
def test_failures_count_as_long_as_a_tag_names_the_same_commit(commit: str, count: int) -> None:
    """A tag that has moved is another one."""
    before = Failure("a" * 40, "it was broken", 3, 0, 0)
    found = failures.following(before, commit, BuildError("it is broken", hint="mend it"), "x")
    assert found == Failure(
        commit,
        "it is broken",
        count,
        found.failed_at,
        found.failed_at + failures.pause_s(count),
        "mend it",
        "x",
    )


@pytest.mark.parametrize(
    ("commit", "now_s", "is_due"),
    [("a" * 40, 99, False), ("a" * 40, 100, True), ("b" * 40, 99, True), (None, 99, True)],
)
def test_a_failed_tag_is_due_after_its_pause_or_when_it_has_moved(
    commit: str | None, now_s: float, is_due: bool
) -> None:
    """Until then it is only reported."""
    failure = Failure("a" * 40, "it is broken", 1, 0, next_at=100)
    assert failures.is_due(failure, commit, now_s) is is_due
    assert failures.is_due(None, commit, now_s)
