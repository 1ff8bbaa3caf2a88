"""List the distributions directory, and compare what it has with what it had."""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

# The kernel's clock for files advances in ticks of up to 10 ms; within one, changes look alike.
TICK_NS = 20_000_000
# A clock that was set back says nothing about ticks.
_SKEW_NS = 2_000_000_000

Stamp = tuple[int, int]
"""Changes with the directory: its `st_ctime_ns` and inode."""


class Listing(NamedTuple):
    """What a directory had when it was listed."""

    inodes: dict[str, int]
    """Of each file that does not start with a dot, by name."""
    stamp: Stamp | None = None
    """As long as the directory has it, the listing holds; `None`: list the directory again."""


def stamp(directory: str) -> Stamp:
    """Return the stamp of a directory, by one stat(2).

    Raises:
        OSError: there is no such directory, or it cannot be looked at.
    """
    status = os.stat(directory)  # noqa: PTH116 - half the cost of Path.stat
    # Of the change, which nobody can set back, as backups and archives do with the other time.
    return status.st_ctime_ns, status.st_ino


def read(directory: Path) -> Listing:
    """List a directory.

    Raises:
        OSError: it cannot be read.
    """
    before = stamp(str(directory))
    begun_ns = time.time_ns()
    with os.scandir(directory) as items:
        inodes = {item.name: item.inode() for item in items if not item.name.startswith(".")}
    # Another change within the same tick leaves the stamp as it is.
    # Then there is no stamp, so that the next question lists again: at most for one tick.
    is_recent = -_SKEW_NS < begun_ns - before[0] < TICK_NS
    return Listing(inodes, None if is_recent else before)


def diff(before: Mapping[str, int], after: Mapping[str, int]) -> tuple[list[str], list[str]]:
    """Compare two listings, each name to inode.

    Returns:
        The names that are gone, and those that are new; a file that took the place of another is
        both.
    """
    is_now, was = after.get, before.get
    gone = [name for name, inode in before.items() if is_now(name) != inode]
    new = [name for name, inode in after.items() if was(name) != inode]
    return gone, new
