"""Wait for a running update, and read which repositories it has not finished yet."""

import contextlib
import json
import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from pypi_insiders.config.paths import Paths
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import is_locked, locked, read_text, remove, write_atomic
from pypi_insiders.util.json_fields import written

_log = logging.getLogger(__name__)


_PAUSE_S = 0.2
"""Between two writes of the list."""
WAITING = "an update is running; waiting for its end"


def updates_stopped(
    paths: Paths, on_wait: Callable[[str], None] = _log.info
) -> contextlib.AbstractContextManager[None]:
    """Return a context with the lock of updates: a running update ends first, none starts in it.

    Args:
        paths: all paths of the program.
        on_wait: called with one line if an update is running.
    """
    return locked(paths.locks.updates, lambda: on_wait(WAITING))


@contextlib.contextmanager
def announced(paths: Paths, names: Iterable[str]) -> Iterator[Callable[[str], None]]:
    """Write the list of repositories that this update has not finished yet, until the block ends.

    Args:
        paths: all paths of the program; the caller has the lock of updates.
        names: `NS/PROJ` of each repository to update.

    Yields:
        A thread-safe function that removes a finished repository from the list.

    Raises:
        InsidersError: the list cannot be written.
    """
    left = dict.fromkeys(names)
    changing, behind, is_over = threading.Lock(), threading.Event(), threading.Event()

    def finish(name: str) -> None:
        with changing:
            left.pop(name, None)
        behind.set()

    def write() -> None:
        behind.clear()
        with changing:
            names = list(left)
        # If the list cannot be written, clients only wait longer.
        with contextlib.suppress(InsidersError):
            _write(paths.pending, names)

    def keep_written() -> None:
        # Of thousands of repositories many finish at once, and each list has all that are left.
        while not is_over.wait(_PAUSE_S):
            behind.wait()
            write()

    # The kernel releases the lock even if this process is killed: then the list is ignored.
    with locked(paths.locks.pending):
        _write(paths.pending, list(left))
        writer = threading.Thread(target=keep_written)
        writer.start()
        try:
            yield finish
        finally:
            is_over.set()
            behind.set()
            writer.join()
            with contextlib.suppress(InsidersError):
                remove(paths.pending)


def _write(path: Path, names: list[str]) -> None:
    write_atomic(path, written(names))


def pending(paths: Paths) -> frozenset[str]:
    """Return the repositories that a running update has not finished; empty without an update."""
    if not is_locked(paths.locks.pending):
        return frozenset()
    try:
        # Between lock and list the list may be that of an earlier update, which only makes a
        # client wait.
        return frozenset(json.loads(read_text(paths.pending) or "[]"))
    except (InsidersError, ValueError, TypeError):
        return frozenset()
