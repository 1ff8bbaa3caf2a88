"""Wait for an update that runs now, and tell which repositories it has still to finish."""

import contextlib
import fcntl
import json
import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from pypi_insiders.config.paths import Paths
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import locked, read_text, remove, write_atomic
from pypi_insiders.util.json_fields import written

_log = logging.getLogger(__name__)


WAITING = "an update is running; waiting for it to end"


def updates_stopped(
    paths: Paths, on_wait: Callable[[str], None] = _log.info
) -> contextlib.AbstractContextManager[None]:
    """Hold the lock of updates: wait for the end of one that runs, and let no other one begin.

    Args:
        paths: where the lock is.
        on_wait: told in one line that it is waited, if it is.
    """
    return locked(paths.locks.updates, lambda: on_wait(WAITING))


@contextlib.contextmanager
def announced(paths: Paths, names: Iterable[str]) -> Iterator[Callable[[str], None]]:
    """Publish which repositories this update has still to finish, until the block ends.

    Args:
        paths: where the list is; the caller holds the lock of updates.
        names: `NS/PROJ` of each repository that is going to be updated.

    Yields:
        A function that takes a finished repository off the list; threads may call it.

    Raises:
        InsidersError: the list cannot be written.
    """
    left = list(names)
    changing = threading.Lock()

    def finish(name: str) -> None:
        with changing:
            # A repository is finished once, however many of its stages end.
            if name in left:
                left.remove(name)
                with contextlib.suppress(InsidersError):  # others only wait longer
                    _write(paths.pending, left)

    # The kernel releases the lock when this process ends, however it ends.
    with locked(paths.locks.pending):
        _write(paths.pending, left)
        try:
            yield finish
        finally:
            with contextlib.suppress(InsidersError):
                remove(paths.pending)


def _write(path: Path, names: list[str]) -> None:
    write_atomic(path, written(names))


def pending(paths: Paths) -> frozenset[str]:
    """Return the repositories that a running update has still to finish; none if none runs."""
    if not _is_held(paths.locks.pending):
        return frozenset()
    try:
        # The lock says that an update runs; the list may be half an update old, which is good
        # enough.
        return frozenset(json.loads(read_text(paths.pending) or "[]"))
    except (InsidersError, ValueError, TypeError):
        return frozenset()


def _is_held(lock: Path) -> bool:
    """Return whether a process holds a lock, without waiting for it. Source: flock(2)."""
    try:
        # Without O_CREAT: to look must not make a lock. The confined server may not write there.
        descriptor = os.open(lock, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        # Shared, so that two who look at once do not take each other for an update.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False
