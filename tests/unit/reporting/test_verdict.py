"""verdict: which problems are the same, and what of their text is shown."""

import pytest

from pypi_insiders.reporting.verdict import clean, kind_of


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


def test_no_message_has_a_secret_or_moves_the_cursor() -> None:
    """Whatever git said."""
    assert clean("https://me:secret@host/x\x1b[2J") == "https://host/x"
