"""listing: what a directory had, and what has changed since."""

import time
from pathlib import Path

import pytest

from pypi_insiders.index import listing


@pytest.mark.parametrize(
    ("before", "after", "gone", "new"),
    [
        ({}, {}, [], []),
        ({"a": 1}, {"a": 1}, [], []),
        ({}, {"a": 1}, [], ["a"]),
        ({"a": 1}, {}, ["a"], []),
        ({"a": 1}, {"a": 2}, ["a"], ["a"]),
        ({"a": 1}, {"b": 1}, ["a"], ["b"]),
        ({"a": 1, "b": 2, "c": 3}, {"d": 4, "c": 5, "b": 2}, ["a", "c"], ["d", "c"]),
    ],
)
def test_diff(
    before: dict[str, int], after: dict[str, int], gone: list[str], new: list[str]
) -> None:
    """A file that took the place of another is gone and new."""
    assert listing.diff(before, after) == (gone, new)


def test_a_listing_within_the_tick_of_a_change_does_not_hold(tmp_path: Path) -> None:
    """Another change within the same tick would leave the stamp as it is."""
    (tmp_path / "a").touch()
    (tmp_path / ".hidden").touch()
    at_once = listing.read(tmp_path)
    while time.time_ns() - tmp_path.stat().st_ctime_ns < 30_000_000:
        pass
    later = listing.read(tmp_path)
    assert at_once.stamp is None
    assert later.stamp == listing.stamp(str(tmp_path))
    assert at_once.inodes == later.inodes == {"a": (tmp_path / "a").stat().st_ino}
