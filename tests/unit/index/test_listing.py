"""listing: what a directory had, and what has changed since."""

import os
import time
from pathlib import Path
from typing import NamedTuple

import pytest

from pypi_insiders.index import listing


class Before(NamedTuple):
    """A file of an earlier listing."""

    inode: int


@pytest.mark.parametrize(
    ("before", "now", "gone", "new"),
    [
        ("", "", [], []),
        ("a", "a", [], []),
        ("", "a", [], ["a"]),
        ("a", "", ["a"], []),
        ("A", "a", [], ["a"]),
        ("a", "b", ["a"], ["b"]),
        ("abC", "dcb", ["a"], ["c", "d"]),
    ],
)
def test_compare(tmp_path: Path, before: str, now: str, gone: list[str], new: list[str]) -> None:
    """Hidden files are left out; a capital stands for a file that another one has replaced."""
    (tmp_path / ".hidden").touch()
    for name in now:
        (tmp_path / name).touch()
    inodes = {name: os.lstat(tmp_path / name).st_ino for name in now}
    files = {name.lower(): Before(inodes.get(name, 0)) for name in before}
    found = listing.compare(tmp_path, files)
    assert (found.gone, dict(sorted(found.new.items()))) == (
        gone,
        {name: inodes[name] for name in new},
    )


def test_a_listing_within_the_tick_of_a_change_does_not_hold(tmp_path: Path) -> None:
    """Another change within the same tick would leave the stamp as it is."""
    (tmp_path / "a").touch()
    at_once = listing.compare(tmp_path, {})
    while time.time_ns() - tmp_path.stat().st_ctime_ns < 30_000_000:
        pass
    later = listing.compare(tmp_path, {})
    assert not at_once.is_final
    assert later.is_final
    assert at_once.stamp == later.stamp == listing.stamp(str(tmp_path))
    assert at_once.new == later.new == {"a": (tmp_path / "a").stat().st_ino}
