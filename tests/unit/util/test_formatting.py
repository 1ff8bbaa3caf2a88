"""Words, lists and tables for people."""

import pytest

from pypi_insiders.util.formatting import first_line, last_line, listed, size, two_columns


@pytest.mark.parametrize(
    ("things", "most", "text"),
    [
        ("", 5, ""),
        ("a b", 5, "a; b"),
        ("a b c", 3, "a; b; c"),
        ("a b c d e", 3, "a; b; c and 2 more"),
        ("a b", 1, "a and 1 more"),
    ],
)
def test_listed(things: str, most: int, text: str) -> None:
    """Names the first, and counts the rest."""
    assert listed(iter(things.split()), most, "; ") == text


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0 MiB"),
        (1, "1 KiB"),
        (1024**2 - 1, "1024 KiB"),
        (1024**2, "1 MiB"),
        (1024**3 - 1, "1023 MiB"),
        (1536 * 1024**2, "1.5 GiB"),
    ],
)
def test_size(size_bytes: int, text: str) -> None:
    """What is there is never told as nothing."""
    assert size(size_bytes) == text


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("\n  one \n\ntwo\n \n", "one", "two"),
        ("one", "one", "one"),
        (" \n", "no output", "no output"),
    ],
)
def test_first_and_last_line(text: str, first: str, last: str) -> None:
    """Blank lines say nothing."""
    assert (first_line(text), last_line(text)) == (first, last)
    assert last_line(" ", "it ended with 3") == "it ended with 3"


def test_two_columns() -> None:
    """A row without a second value does not widen the first column."""
    rows = [("url", "-"), ("last checked", "never"), ("# not set at all, so far", "")]
    assert list(two_columns(rows)) == [
        "url           -",
        "last checked  never",
        "# not set at all, so far",
    ]
    assert list(two_columns([])) == []
