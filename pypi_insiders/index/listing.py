"""List the distributions directory, and compare it with an earlier listing."""

import os
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import NamedTuple, Protocol

# The kernel's clock for files advances in ticks of up to 10 ms: two changes in one tick have the
# same time. Twice that, to be safe.
TICK_NS = 20_000_000
# A directory changed in the future: the clock was set back, and ticks cannot be compared.
_SKEW_NS = 2_000_000_000

Stamp = tuple[int, int]
"""Changes with the directory: its `st_ctime_ns` and inode."""


class Changes(NamedTuple):
    """How a directory differs from an earlier listing."""

    gone: list[str]
    """File names."""
    new: dict[str, int]
    """File name to inode, without hidden files; also of files that replaced others."""
    stamp: Stamp
    """Of the directory before it was listed."""
    is_final: bool
    """Whether the listing is valid while the directory has this stamp; if not, list it again."""


class LastListing(NamedTuple):
    """When a directory was listed."""

    stamp: Stamp | None = None
    """Of the directory before that; `None`: it was not listed."""
    is_final: bool = False
    """As in `Changes`."""

    def is_current(self, stamp: Stamp, *, is_patient: bool) -> bool:
        """Return whether nothing has changed since.

        Args:
            stamp: of the directory now.
            is_patient: whether the last changes may be missing, until it is listed again.
        """
        return stamp == self.stamp and (self.is_final or is_patient)


class HasInode(Protocol):
    """A file of an earlier listing."""

    @property
    def inode(self) -> int:
        """The inode that it had."""


def stamp(directory: str) -> Stamp:
    """Return the stamp of a directory, from one stat(2).

    Raises:
        OSError: the directory does not exist, or cannot be accessed.
    """
    status = os.stat(directory)  # noqa: PTH116 - half the cost of Path.stat
    # ctime, not mtime, which backup and archive programs set back.
    return status.st_ctime_ns, status.st_ino


def compare(
    directory: Path, before: Mapping[str, HasInode], only: Collection[str] | None = None
) -> Changes:
    """List a directory again.

    Args:
        directory: the directory.
        before: the files of the earlier listing, by name.
        only: the names to be listed; `None`: all.

    Raises:
        OSError: it cannot be read.
    """
    found = stamp(str(directory))
    begun_ns = time.time_ns()
    new: dict[str, int] = {}
    kept = 0
    known = before.get
    # One loop without a second dictionary: this is most of the time until a new release is on its
    # page.
    with os.scandir(directory) as items:
        for item in items:
            name = item.name
            file = known(name)
            if file is not None and file.inode == item.inode():
                kept += 1
            elif name[0] != "." and (only is None or name in only):
                new[name] = item.inode()
    gone: list[str] = []
    if kept + sum(name in before for name in new) < len(before):
        # What has changed since the first loop has changed the stamp too.
        left = set(os.listdir(directory))  # noqa: PTH208 - names only, in half the time
        gone = [name for name in before if name not in left]
    # Another change within the same tick would not change the stamp. So the listing is not final,
    # and the next request lists again, for at most one tick.
    is_recent = -_SKEW_NS < begun_ns - found[0] < TICK_NS
    return Changes(gone, new, found, not is_recent)
