"""Keep builds from filling a disk."""

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path

from pypi_insiders.util.errors import InsidersError

_MOST_BYTES = 1024**3
_DISK_SHARE = 20
_INODE_SHARE = 50
_MEASURE_S = 0.5


HINT = "make room on that disk; `disk-reserve` under [build] is what builds leave free"


class DiskFullError(InsidersError):
    """There is too little room, which is no fault of what was to be done."""

    def __init__(self, message: str) -> None:
        super().__init__(message, HINT)


class Guard:
    """Ends the build that takes most of the room before a disk is full; safe in threads.

    Args:
        reserve_bytes: what stays free; `None`: a twentieth of the disk, but no more than a
            gibibyte.
    """

    def __init__(self, reserve_bytes: int | None) -> None:
        self._reserve_bytes = reserve_bytes
        self._lock = threading.Lock()
        self._uses: set[Use] = set()

    def demand_room(self, directory: Path) -> None:
        """Check that more is free than the reserve.

        Raises:
            DiskFullError: there is not.
        """
        if self.left_bytes(directory) <= 0:
            raise DiskFullError(
                f"the disk of {directory} is almost full: builds leave "
                f"{_in_words(self.reserve_bytes(directory))} free"
            )

    def reserve_bytes(self, directory: Path) -> int:
        """Return how much stays free on the disk of a directory."""
        if self._reserve_bytes is not None:
            return self._reserve_bytes
        seen = os.statvfs(directory)
        return min(_MOST_BYTES, seen.f_blocks * seen.f_frsize // _DISK_SHARE)

    def left_bytes(self, directory: Path) -> int:
        """Return how much may still be written; nothing where few files more can be made.

        Source: statvfs(3); some file systems do not say how many files there can be.
        """
        seen = os.statvfs(directory)
        if (
            self._reserve_bytes != 0
            and seen.f_files
            and seen.f_favail < seen.f_files / _INODE_SHARE
        ):
            return 0
        return max(0, seen.f_bavail * seen.f_frsize - self.reserve_bytes(directory))

    @contextlib.contextmanager
    def guarding(self, directory: Path) -> Iterator["Use"]:
        """Let `is_exhausted` tell when what this thread runs in this context is to be ended.

        Args:
            directory: where all lies that it writes.
        """
        use = Use(self, directory)
        token = _current.set(use)
        with self._lock:
            self._uses.add(use)
        try:
            yield use
        finally:
            with self._lock:
                self._uses.discard(use)
            _current.reset(token)

    def choose(self) -> None:
        """Choose the largest to be ended, unless one is that already."""
        with self._lock:
            if all(use.used_bytes is None for use in self._uses):
                sizes = {use: _measure(use.directory) for use in self._uses}
                use = max(sizes, key=sizes.__getitem__)
                use.used_bytes = sizes[use]


class Use:
    """What one build takes of a disk.

    Args:
        guard: of all builds.
        directory: where all lies that it writes.
    """

    def __init__(self, guard: Guard, directory: Path) -> None:
        self.directory = directory
        self.used_bytes: int | None = None
        """What it took when it was to be ended for that; `None`: it may go on."""
        self._guard = guard
        self._begun_bytes = guard.left_bytes(directory)

    @property
    def is_to_end(self) -> bool:
        """Tell whether it is the one to be ended so that the disk does not become full."""
        if self.used_bytes is None and self._guard.left_bytes(self.directory) <= 0:
            self._guard.choose()
        return self.used_bytes is not None

    def trouble(self) -> tuple[str, bool] | None:
        """Say that it failed for want of room, and whether it has used most of that itself."""
        if self.used_bytes is None:
            if self._guard.left_bytes(self.directory) > 0:
                return None
            self.used_bytes = _measure(self.directory)
        reserve = _in_words(self._guard.reserve_bytes(self.directory))
        told = (
            f"it was ended when it had written {_in_words(self.used_bytes)} and less than the "
            f"`disk-reserve` of {reserve} was free"
        )
        return told, self.used_bytes * 2 > self._begun_bytes


_current: ContextVar[Use | None] = ContextVar("use", default=None)


def is_exhausted() -> bool:
    """Tell whether what this thread runs is to be ended because a disk is almost full."""
    use = _current.get()
    return use is not None and use.is_to_end


def _measure(directory: Path) -> int:
    """Add up what files take, as far as that is found out at once."""
    until_s = time.monotonic() + _MEASURE_S
    found, waiting = 0, [os.fspath(directory)]
    while waiting and time.monotonic() < until_s:
        with contextlib.suppress(OSError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                found += entry.stat(follow_symlinks=False).st_blocks * 512
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
    return found


def _in_words(size_bytes: int) -> str:
    """Write a size as `512 MiB` or `1.5 GiB`."""
    if size_bytes < 1024**3:
        return f"{size_bytes // 1024**2} MiB"
    return f"{size_bytes / 1024**3:.1f} GiB"
