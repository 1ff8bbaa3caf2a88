"""List the distributions directory and compare two listings."""

import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

# The kernel's clock for files advances in ticks of up to 10 ms: two changes in one tick have the
# same time. Twice that, to be safe.
TICK_NS = 20_000_000
# A directory changed in the future: the clock was set back, and ticks cannot be compared.
_SKEW_NS = 2_000_000_000

Stamp = tuple[int, int]
"""Changes with the directory: its `st_ctime_ns` and inode."""


class Listing(NamedTuple):
    """The files of a directory at one moment."""

    inodes: dict[str, int]
    """File name to inode, without hidden files."""
    stamp: Stamp | None = None
    """The listing is valid while the directory has this stamp; `None`: list it again."""


def stamp(directory: str) -> Stamp:
    """Return the stamp of a directory, from one stat(2).

    Raises:
        OSError: the directory does not exist, or cannot be accessed.
    """
    status = os.stat(directory)  # noqa: PTH116 - half the cost of Path.stat
    # ctime, not mtime, which backup and archive programs set back.
    return status.st_ctime_ns, status.st_ino


def read(directory: Path, only: Iterable[str] | None = None) -> Listing:
    """List a directory.

    Args:
        directory: the directory.
        only: the names to be listed; `None`: all.

    Raises:
        OSError: it cannot be read.
    """
    before = stamp(str(directory))
    begun_ns = time.time_ns()
    with os.scandir(directory) as items:
        inodes = {item.name: item.inode() for item in items if not item.name.startswith(".")}
    if only is not None:
        inodes = {name: inodes[name] for name in only if name in inodes}
    # Another change within the same tick would not change the stamp. So the listing has none and
    # the next request lists again, for at most one tick.
    is_recent = -_SKEW_NS < begun_ns - before[0] < TICK_NS
    return Listing(inodes, None if is_recent else before)


def diff(before: Mapping[str, int], after: Mapping[str, int]) -> tuple[list[str], list[str]]:
    """Return the names that are gone, and those that are new; a replaced file is both.

    Args:
        before: the earlier listing, file name to inode.
        after: the later one.
    """
    is_now, was = after.get, before.get
    gone = [name for name, inode in before.items() if is_now(name) != inode]
    new = [name for name, inode in after.items() if was(name) != inode]
    return gone, new
