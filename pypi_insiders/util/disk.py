"""Keep builds from filling a disk."""

import contextlib
import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from gzip import GzipFile
from pathlib import Path
from typing import BinaryIO

from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.words import size

_MOST_BYTES = 1024**3
_DISK_SHARE = 20
_INODE_SHARE = 50
_MEASURE_S = 0.5
_LOOK_BYTES = 16 * 1024 * 1024
ALMOST_FULL = "it was ended because the disk is almost full"
HINT = "make room on that disk; `disk-reserve` under [build] is what builds leave free"


class DiskFullError(InsidersError):
    """There is too little room, which is no fault of what was to be done."""

    def __init__(self, message: str, hint: str | None = HINT) -> None:
        super().__init__(message, hint)


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

    def demand_room(self, directory: Path, size_bytes: int = 0) -> None:
        """Check that more is free than the reserve, also when so much more is written.

        Raises:
            DiskFullError: there is not.
        """
        left_bytes = self.left_bytes(directory)
        if size_bytes > left_bytes > 0:
            sizes = f"{size(size_bytes)} are to be written, and {size(left_bytes)} may be"
            raise DiskFullError(f"the disk of {directory} is too full: {sizes}")
        if left_bytes <= 0:
            reserve = size(self.reserve_bytes(directory))
            raise DiskFullError(
                f"the disk of {directory} is almost full: builds leave {reserve} free"
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

    def is_exhausted(self, directory: Path) -> bool:
        """Return whether less than the reserve is free; without one, programs meet the end."""
        return self._reserve_bytes != 0 and self.left_bytes(directory) <= 0

    @contextlib.contextmanager
    def guarding(self, *directories: Path, disk: Path | None = None) -> Iterator["Use"]:
        """Let `is_exhausted` tell when what this thread runs in this context is to be ended.

        Args:
            directories: where all lies that it writes; they need not be there yet.
            disk: a directory on the same disk; by default the first of them.
        """
        use = Use(self, directories, disk or directories[0])
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
                sizes = {use: _measure(use.directories) for use in self._uses}
                use = max(sizes, key=sizes.__getitem__)
                use.used_bytes = sizes[use]


class Use:
    """What one build takes of a disk.

    Args:
        guard: of all builds.
        directories: where all lies that it writes.
        disk: a directory on their disk.
    """

    def __init__(self, guard: Guard, directories: Sequence[Path], disk: Path) -> None:
        self.directories = directories
        self._disk = disk
        self.used_bytes: int | None = None
        """What it took when it was to be ended for that; `None`: it may go on."""
        self._guard = guard
        self._begun_bytes = guard.left_bytes(disk)

    @property
    def is_to_end(self) -> bool:
        """Tell whether it is the one to be ended so that the disk does not become full."""
        if self.used_bytes is None and self._guard.is_exhausted(self._disk):
            self._guard.choose()
        return self.used_bytes is not None

    @property
    def left_bytes(self) -> int:
        """Return how much it may still write."""
        return self._guard.left_bytes(self._disk)

    def trouble(self) -> tuple[str, bool] | None:
        """Say that it failed for want of room, and whether it has used most of that itself."""
        if self.used_bytes is None:
            if not self._guard.is_exhausted(self._disk):
                return None
            self.used_bytes = _measure(self.directories)
        reserve = size(self._guard.reserve_bytes(self._disk))
        told = (
            f"it was ended when it had written {size(self.used_bytes)} and less than the "
            f"`disk-reserve` of {reserve} was free"
        )
        return told, self.used_bytes * 2 > self._begun_bytes


_current: ContextVar[Use | None] = ContextVar("use", default=None)


def is_exhausted() -> bool:
    """Tell whether what this thread runs is to be ended because a disk is almost full."""
    use = _current.get()
    return use is not None and use.is_to_end


def demand_room(size_bytes: int = 0) -> None:
    """Check that what this thread does may go on, and write so much.

    Raises:
        DiskFullError: too little is free for that, or would be then.
    """
    use = _current.get()
    if use is None:
        return
    if use.is_to_end:
        raise DiskFullError(ALMOST_FULL)
    if size_bytes > (left_bytes := use.left_bytes):
        raise DiskFullError(
            f"it would take {size(size_bytes)}, and {size(left_bytes)} may be written"
        )


class Watched:
    """A file that is read only as long as there is room on the disk for what is read.

    Args:
        file: the file.
    """

    def __init__(self, file: BinaryIO | GzipFile) -> None:
        self._file = file
        self._until_look_bytes = 0

    def seek(self, offset: int) -> int:
        """Go to a place in it."""
        return self._file.seek(offset)

    def tell(self) -> int:
        """Return the place where it is read next."""
        return self._file.tell()

    def read(self, size: int = -1) -> bytes:
        """Read some bytes.

        Raises:
            DiskFullError: the disk is almost full.
        """
        block = self._file.read(size)
        self._until_look_bytes -= len(block)
        if self._until_look_bytes < 0:
            self._until_look_bytes = _LOOK_BYTES
            demand_room()
        return block


def _measure(directories: Sequence[Path]) -> int:
    """Add up what files take, as far as that is found out at once."""
    until_s = time.monotonic() + _MEASURE_S
    found, waiting = 0, [os.fspath(directory) for directory in directories]
    while waiting and time.monotonic() < until_s:
        with contextlib.suppress(OSError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                found += entry.stat(follow_symlinks=False).st_blocks * 512
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
    return found
