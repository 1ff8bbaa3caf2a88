"""verdict: which problems are the same, and what of their text is shown."""

import pytest

from pypi_insiders.reporting.verdict import Item, Severity, clean, grouped, kind_of


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("tag v1: broken by 1", "tag v1: bad after all", True),
        ("tag v1: broken", "tag v2: broken", False),
        ("branch main at 1a2b3c4d5: broken", "branch main at 9f8e7d6c5: bad after all", True),
        ("branch main at 1a2b3c4d5: broken", "branch next at 1a2b3c4d5: broken", False),
        ("no answer after 10 s", "no answer after 11 s", True),
        ("tag is 1a2b3c4d5 now", "tag is 9f8e7d6c5 now", True),
        ("no access", "no answer", False),
    ],
)
def test_which_trouble_is_the_same(one: str, other: str, is_same: bool) -> None:
    """Counts, times and commits do not make new trouble, nor does how a tag fails."""
    assert (kind_of(one) == kind_of(other)) is is_same


@pytest.mark.parametrize(("count", "lines"), [(5, 7), (6, 3)])
def test_what_is_the_same_for_many_is_one_line(count: int, lines: int) -> None:
    """A thousand repositories of a host that is down would hide everything else."""
    many = [Item(Severity.PROBLEM, f"me/p-{number}", "not asked") for number in range(count)]
    first = Item(Severity.PROBLEM, "me/first", "timed out")
    last = Item(Severity.WARNING, "me/p-9", "not asked")
    found = list(grouped([first, *many, last]))
    assert (found[0], found[-1], len(found)) == (first, last, lines)
    if lines == 3:
        assert found[1].line == "me/p-0, me/p-1, me/p-2 and 3 more: not asked"


def test_no_message_has_a_secret_or_moves_the_cursor() -> None:
    """Whatever git said."""
    assert clean("https://me:secret@host/x\x1b[2J") == "https://host/x"
