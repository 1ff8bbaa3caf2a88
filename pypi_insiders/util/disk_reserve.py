"""Keep builds from filling a disk."""

import contextlib
import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from gzip import GzipFile
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.formatting import size
from pypi_insiders.util.trees import open_to_us

_MOST_BYTES = 1024**3
_DISK_SHARE = 20
_INODE_SHARE = 50
_MEASURE_S = 0.5
_MOST_WAITING = 10_000
_STEP_ENTRIES = 1000
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
        self._begun = self._removals = self._removed = 0

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
            self._begun += 1
        try:
            yield use
        finally:
            with self._lock:
                self._uses.discard(use)
            _current.reset(token)

    @contextlib.contextmanager
    def removing(self) -> Iterator[None]:
        """Remove files of a build; what becomes free is not ascribed to another one."""
        with self._lock:
            self._removals += 1
        try:
            yield
        finally:
            with self._lock:
                self._removed += 1

    def is_still_alone(self, use: "Use") -> bool:
        """Tell whether only one has used its disk since it was chosen."""
        with self._lock:
            return use.solitude is not None and use.solitude == self._solitude(use)

    def _solitude(self, use: "Use") -> tuple[int, int] | None:
        """Return what stays the same until somebody else uses the disk; `None`: somebody does."""
        is_alone = all(it is use or it.device != use.device for it in self._uses)
        if not is_alone or self._removals != self._removed:
            return None
        return self._begun, self._removals

    def choose(self, device: int) -> None:
        """Choose the one to be ended on a disk, unless one is that already.

        That is the largest, unless more is missing than it has. Not all can be measured: a file has
        no name any more and is open still, or there are too many. Then it is the one since whose
        begin most has been lost that its own files do not explain.

        Args:
            device: of the disk, as `st_dev` has it.
        """
        with self._lock:
            uses = [use for use in self._uses if use.device == device]
            if any(use.used_bytes is not None for use in uses):
                return
            sizes = _grown(uses)
            lost = {use: max(0, use.lost_bytes) for use in uses}
            unexplained_bytes = max(lost.values(), default=0) - sum(sizes.values())
            use = max(uses, key=sizes.__getitem__)
            if unexplained_bytes > sizes[use]:
                use = max(uses, key=lambda it: lost[it] - sizes[it])
            use.free_bytes = use.disk_free_bytes
            use.used_bytes = sizes[use]
            use.solitude = self._solitude(use)


class Use:
    """What one build takes of a disk.

    Args:
        guard: of all builds.
        directories: where all lies that it writes.
        disk: a directory on their disk.
    """

    def __init__(self, guard: Guard, directories: Sequence[Path], disk: Path) -> None:
        self.directories = directories
        self.device = disk.stat().st_dev
        self._disk = disk
        self.used_bytes: int | None = None
        """What it took when it was to be ended for that; `None`: it may go on."""
        self.free_bytes = 0
        """What was free on its disk then."""
        self.solitude: tuple[int, int] | None = None
        """As the guard has it, then."""
        self._guard = guard
        self._begun_bytes = guard.left_bytes(disk)
        self._begun_free_bytes = self.disk_free_bytes
        self.before_bytes = 0
        self.before_bytes = _grown([self])[self]

    @property
    def disk_free_bytes(self) -> int:
        """Return what is free on its disk, the reserve with it."""
        seen = os.statvfs(self._disk)
        return seen.f_bavail * seen.f_frsize

    @property
    def lost_bytes(self) -> int:
        """Return how much less is free on its disk than when it began."""
        return self._begun_free_bytes - self.disk_free_bytes

    @property
    def is_to_end(self) -> bool:
        """Tell whether it is the one to be ended so that the disk does not become full."""
        if self.used_bytes is None and self._guard.is_exhausted(self._disk):
            self._guard.choose(self.device)
        return self.used_bytes is not None

    @property
    def left_bytes(self) -> int:
        """Return how much it may still write."""
        return self._guard.left_bytes(self._disk)

    def trouble(self) -> tuple[str, bool] | None:
        """Say that it failed for want of room, and whether it has used most of that itself.

        To be called when its processes have ended, and its files are still there. What is free now
        was in files that it had open, and that have no name; where others write to the disk, too,
        nobody can tell whose they were.
        """
        if self.used_bytes is None:
            if not self._guard.is_exhausted(self._disk):
                return None
            self.used_bytes = _grown([self], has_ended=True)[self]
        else:
            freed_bytes = 0
            if self._guard.is_still_alone(self):
                freed_bytes = self.disk_free_bytes - self.free_bytes
            # Only now are files seen that lay in directories closed to us.
            still_bytes = _grown([self], has_ended=True)[self]
            self.used_bytes = max(self.used_bytes, still_bytes + freed_bytes)
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


def _grown(uses: Sequence[Use], *, has_ended: bool = False) -> dict[Use, int]:
    """Tell how much more the files of each take than when it began, as far as is seen at once.

    They are measured in turns, so that what is found of one can be compared with others.

    Args:
        uses: what is measured.
        has_ended: whether nobody writes there any more, so that directories can be opened which
            were closed to us.
    """
    until_s = time.monotonic() + _MEASURE_S
    found = dict.fromkeys(uses, 0)
    waiting = {use: _sizes(use.directories, has_ended=has_ended) for use in uses}
    while waiting and time.monotonic() < until_s:
        for use, sizes in tuple(waiting.items()):
            part = list(islice(sizes, _STEP_ENTRIES))
            found[use] += sum(part)
            if not part:
                del waiting[use]
    return {use: max(0, found_bytes - use.before_bytes) for use, found_bytes in found.items()}


def _sizes(directories: Sequence[Path], *, has_ended: bool) -> Iterator[int]:
    """Tell what each file below directories takes, but not of more than can be remembered."""
    waiting = [os.fspath(directory) for directory in directories]
    while waiting:
        place = waiting.pop()
        with contextlib.suppress(OSError):
            if has_ended:
                open_to_us(Path(place))
        with contextlib.suppress(OSError), os.scandir(place) as entries:
            for entry in entries:
                yield entry.stat(follow_symlinks=False).st_blocks * 512
                if entry.is_dir(follow_symlinks=False) and len(waiting) < _MOST_WAITING:
                    waiting.append(entry.path)
