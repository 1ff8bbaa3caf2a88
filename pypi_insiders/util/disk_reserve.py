"""Kill builds before they fill a disk."""

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
# A build writes on while it is measured: an approximate size in time is worth more than an exact
# one of a full disk.
_MEASURE_S = 0.5
_MOST_WAITING = 10_000
_STEP_ENTRIES = 1000
# statvfs(3) for each block that is read would cost more than the reading.
_CHECK_BYTES = 16 * 1024 * 1024
ALMOST_FULL = "stopped because the disk is almost full"
HINT = "free space on that disk, or lower `disk-reserve` under [build]"


class DiskFullError(InsidersError):
    """Too little disk space is free; the project is not at fault."""

    def __init__(self, message: str, hint: str | None = HINT) -> None:
        super().__init__(message, hint)


class Guard:
    """Choose which build to kill before a disk is full; thread-safe.

    Args:
        reserve_bytes: space to keep free; `None`: a twentieth of the disk, at most 1 GiB.
    """

    def __init__(self, reserve_bytes: int | None) -> None:
        self._reserve_bytes = reserve_bytes
        self._lock = threading.Lock()
        self._uses: set[Use] = set()
        # Counters instead of a flag: equal values before and after prove that no other build began
        # and no tree was removed in between, however short that was.
        self._begun = self._removals = self._removed = 0

    def demand_room(self, directory: Path, size_bytes: int = 0) -> None:
        """Require that the reserve stays free after another `size_bytes` are written.

        Raises:
            DiskFullError: too little space is free.
        """
        left_bytes = self.left_bytes(directory)
        if size_bytes > left_bytes > 0:
            sizes = f"{size(size_bytes)} required, {size(left_bytes)} available"
            raise DiskFullError(f"the disk of {directory} is too full: {sizes}")
        if left_bytes <= 0:
            reserve = size(self.reserve_bytes(directory))
            raise DiskFullError(
                f"the disk of {directory} is almost full: builds keep {reserve} free"
            )

    def reserve_bytes(self, directory: Path) -> int:
        """Return how many bytes builds keep free on the disk of a directory."""
        if self._reserve_bytes is not None:
            return self._reserve_bytes
        seen = os.statvfs(directory)
        return min(_MOST_BYTES, seen.f_blocks * seen.f_frsize // _DISK_SHARE)

    def left_bytes(self, directory: Path) -> int:
        """Return how many bytes builds may still write; 0 if the disk runs out of inodes.

        Source: statvfs(3).
        """
        seen = os.statvfs(directory)
        # f_files is 0 on file systems without a fixed number of inodes, such as btrfs.
        if (
            self._reserve_bytes != 0
            and seen.f_files
            and seen.f_favail < seen.f_files / _INODE_SHARE
        ):
            return 0
        return max(0, seen.f_bavail * seen.f_frsize - self.reserve_bytes(directory))

    def is_exhausted(self, directory: Path) -> bool:
        """Return whether less than the reserve is free."""
        # A reserve of 0 switches the guard off: programs get ENOSPC from the kernel instead.
        return self._reserve_bytes != 0 and self.left_bytes(directory) <= 0

    @contextlib.contextmanager
    def guarding(self, *directories: Path, disk: Path | None = None) -> Iterator["Use"]:
        """Register the build of this thread; `is_exhausted` says then whether to kill it.

        Args:
            directories: contain all files that the build writes; may be missing yet.
            disk: an existing directory on the same disk (default: the first of `directories`).
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
        """Mark that files of a build are removed in this context.

        The space that becomes free then is not counted for another build.
        """
        with self._lock:
            self._removals += 1
        try:
            yield
        finally:
            with self._lock:
                self._removed += 1

    def is_still_alone(self, use: "Use") -> bool:
        """Return whether no other build has used the disk since this one was chosen."""
        with self._lock:
            return use.solitude is not None and use.solitude == self._solitude(use)

    def _solitude(self, use: "Use") -> tuple[int, int] | None:
        """Return a value that changes when another build uses the disk; `None` while one does."""
        is_alone = all(it is use or it.device != use.device for it in self._uses)
        if not is_alone or self._removals != self._removed:
            return None
        return self._begun, self._removals

    def choose(self, device: int) -> None:
        """Choose the build to kill on a disk, unless one is chosen already.

        Args:
            device: `st_dev` of the disk.
        """
        with self._lock:
            uses = [use for use in self._uses if use.device == device]
            # One at a time: its space becomes free only when it is killed and removed.
            if any(use.used_bytes is not None for use in uses):
                return
            sizes = _grown(uses)
            # Not every file can be measured: an unlinked one is still open, or there are too many.
            # If more space is lost than the largest build explains, blame the build since whose
            # start most space was lost beyond its own files.
            lost = {use: max(0, use.lost_bytes) for use in uses}
            unexplained_bytes = max(lost.values(), default=0) - sum(sizes.values())
            use = max(uses, key=sizes.__getitem__)
            if unexplained_bytes > sizes[use]:
                use = max(uses, key=lambda it: lost[it] - sizes[it])
            use.free_bytes = use.disk_free_bytes
            use.used_bytes = sizes[use]
            use.solitude = self._solitude(use)


class Use:
    """The disk space that one build uses.

    Args:
        guard: the guard of all builds.
        directories: contain all files that the build writes.
        disk: an existing directory on their disk.
    """

    def __init__(self, guard: Guard, directories: Sequence[Path], disk: Path) -> None:
        self.directories = directories
        self.device = disk.stat().st_dev
        self._disk = disk
        self.used_bytes: int | None = None
        """Its size when it was chosen to be killed; `None`: it may go on."""
        self.free_bytes = 0
        """Free space on its disk at that moment."""
        self.solitude: tuple[int, int] | None = None
        """The guard's value of `_solitude` at that moment."""
        self._guard = guard
        self._begun_bytes = guard.left_bytes(disk)
        self._begun_free_bytes = self.disk_free_bytes
        # `_grown` subtracts `before_bytes`, so it must be 0 while that is measured.
        self.before_bytes = 0
        self.before_bytes = _grown([self])[self]

    @property
    def disk_free_bytes(self) -> int:
        """Return the free space on its disk, including the reserve."""
        seen = os.statvfs(self._disk)
        return seen.f_bavail * seen.f_frsize

    @property
    def lost_bytes(self) -> int:
        """Return how much less space is free on its disk than when the build began."""
        return self._begun_free_bytes - self.disk_free_bytes

    @property
    def is_to_end(self) -> bool:
        """Return whether this build is to be killed before the disk is full."""
        if self.used_bytes is None and self._guard.is_exhausted(self._disk):
            self._guard.choose(self.device)
        return self.used_bytes is not None

    @property
    def left_bytes(self) -> int:
        """Return how many bytes the build may still write."""
        return self._guard.left_bytes(self._disk)

    def trouble(self) -> tuple[str, bool] | None:
        """Return why the build failed, and whether it used most of the space itself.

        Call it when the processes of the build have ended and its files still exist.

        Returns:
            `None` if disk space was not the reason.
        """
        if self.used_bytes is None:
            if not self._guard.is_exhausted(self._disk):
                return None
            self.used_bytes = _grown([self], has_ended=True)[self]
        else:
            # What became free since the kill were unlinked files that the build had open. If other
            # builds use the disk, it could have been theirs.
            freed_bytes = 0
            if self._guard.is_still_alone(self):
                freed_bytes = self.disk_free_bytes - self.free_bytes
            # Only now can directories be opened that the build had closed (mode 000).
            still_bytes = _grown([self], has_ended=True)[self]
            self.used_bytes = max(self.used_bytes, still_bytes + freed_bytes)
        reserve = size(self._guard.reserve_bytes(self._disk))
        text = (
            f"the build was killed after writing {size(self.used_bytes)}: less than the "
            f"`disk-reserve` of {reserve} was free"
        )
        return text, self.used_bytes * 2 > self._begun_bytes


# A context variable, so that `ProcessGroup` and readers of archives, far below the builder, find
# the build of their thread without a parameter through every layer.
_current: ContextVar[Use | None] = ContextVar("use", default=None)


def is_exhausted() -> bool:
    """Return whether the build of this thread is to be killed before the disk is full."""
    use = _current.get()
    return use is not None and use.is_to_end


def demand_room(size_bytes: int = 0) -> None:
    """Require that the build of this thread may go on and write `size_bytes`.

    Raises:
        DiskFullError: too little space is free, or would be then.
    """
    use = _current.get()
    if use is None:
        return
    if use.is_to_end:
        raise DiskFullError(ALMOST_FULL)
    if size_bytes > (left_bytes := use.left_bytes):
        raise DiskFullError(f"{size(size_bytes)} required, {size(left_bytes)} available on disk")


class Watched:
    """A file whose reading stops when the disk is almost full.

    Args:
        file: such as a compressed archive, of which a few bytes unpack to many.
    """

    def __init__(self, file: BinaryIO | GzipFile) -> None:
        self._file = file
        self._until_check_bytes = 0

    def seek(self, offset: int) -> int:
        """Seek to an offset."""
        return self._file.seek(offset)

    def tell(self) -> int:
        """Return the current offset."""
        return self._file.tell()

    def read(self, size: int = -1) -> bytes:
        """Read bytes.

        Raises:
            DiskFullError: the disk is almost full.
        """
        block = self._file.read(size)
        self._until_check_bytes -= len(block)
        if self._until_check_bytes < 0:
            self._until_check_bytes = _CHECK_BYTES
            demand_room()
        return block


def _grown(uses: Sequence[Use], *, has_ended: bool = False) -> dict[Use, int]:
    """Return by how many bytes each build has grown, as far as can be measured in time.

    Args:
        uses: the builds.
        has_ended: whether their processes have ended, so that closed directories can be opened.
    """
    until_s = time.monotonic() + _MEASURE_S
    found = dict.fromkeys(uses, 0)
    waiting = {use: _sizes(use.directories, has_ended=has_ended) for use in uses}
    # In turns: when time is up, each has been measured equally far, and they can be compared.
    while waiting and time.monotonic() < until_s:
        for use, sizes in tuple(waiting.items()):
            part = list(islice(sizes, _STEP_ENTRIES))
            found[use] += sum(part)
            if not part:
                del waiting[use]
    return {use: max(0, found_bytes - use.before_bytes) for use, found_bytes in found.items()}


def _sizes(directories: Sequence[Path], *, has_ended: bool) -> Iterator[int]:
    waiting = [os.fspath(directory) for directory in directories]
    while waiting:
        place = waiting.pop()
        # Not while the build runs: a mode that it sees change could break it.
        with contextlib.suppress(OSError):
            if has_ended:
                open_to_us(Path(place))
        with contextlib.suppress(OSError), os.scandir(place) as entries:
            for entry in entries:
                # Blocks, not st_size: a sparse file takes no space. Always 512 bytes: stat(2).
                yield entry.stat(follow_symlinks=False).st_blocks * 512
                # Bounded: a build could make more directories than this process has memory for.
                if entry.is_dir(follow_symlinks=False) and len(waiting) < _MOST_WAITING:
                    waiting.append(entry.path)
