"""Keep the held names of a running server, and read them again when a file has changed."""

import contextlib
import logging
import os
import threading
import time
from collections.abc import Iterable, Iterator

from pypi_insiders.config.paths import Paths
from pypi_insiders.repositories import held_name_files, held_names
from pypi_insiders.repositories.held_names import Names
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import locked

_log = logging.getLogger(__name__)

_AGAIN_S = 1.0
"""The pause before files that could not be read are read again."""


class CurrentNames:
    """The held names, read again when a file has changed; thread-safe.

    Args:
        paths: all paths of the program.
        is_learning: whether projects are recorded; not those of another directory.
    """

    def __init__(self, paths: Paths, *, is_learning: bool = True) -> None:
        self.paths = paths
        self._is_learning = is_learning
        # Asked for at each request: to join the path and to convert it took longer than stat(2).
        self._stamped = str(paths.repositories), str(paths.held_names)
        self._lock = threading.Lock()
        self._seen: object = None
        self._names = Names({}, {})
        self._read_s = 0.0

    def current(self) -> Names:
        """Return all names, for two calls of stat(2) while the files are unchanged."""
        seen = self._stamp()
        if self._is_stale(seen):
            with self._lock:
                # Again under the lock: another thread may have read the files meanwhile.
                if self._is_stale(seen):
                    before, names = self._stamp(), self._sync()
                    # Stamped after the write, which changes a file, and before the read.
                    seen = self._stamp()
                    if names is None or seen != before:
                        names = held_names.load(self.paths)
                    self._names, self._read_s = names, time.monotonic()
                    # Last: other threads that find this stamp use the names without the lock.
                    self._seen = seen
        return self._names

    def _is_stale(self, seen: object) -> bool:
        if seen != self._seen:
            return True
        # After an error again and again: it may be temporary, or fixed in a file without a stamp.
        is_whole = self._names.error is None and self._names.unread is None
        return not is_whole and time.monotonic() - self._read_s >= _AGAIN_S

    def _stamp(self) -> tuple[object, ...]:
        found: list[object] = []
        for path in self._stamped:
            try:
                status = os.stat(path)  # noqa: PTH116 - as `listing.stamp`
            except OSError as error:
                # With the number, so that unreadable differs from missing.
                found.append((error.errno, 0, 0))
            else:
                # This program's writes change the inode; time and size are for editors that write
                # in place.
                found.append((status.st_mtime_ns, status.st_ino, status.st_size))
        return tuple(found)

    def learn(self, projects: Iterable[str]) -> None:
        """Record the projects of the directory, in case it is lost."""
        names = self.current()
        # A list without the lost names would look complete.
        is_learning = self._is_learning and names.error is None
        if is_learning and (new := set(projects) - names.repositories.keys()):
            with self._lock, _saving():
                self._add(dict.fromkeys(new))

    def _add(self, new: dict[str, str | None]) -> None:
        """Add names to the files, and to memory without reading all files again."""
        with locked(self.paths.locks.held_names):
            before = self._stamp()
            held_name_files.save_changed(
                self.paths, new | (held_name_files.load(self.paths)[0] or {}), in_state_only=True
            )
            after = self._stamp()
        # Otherwise another process has changed a file, and the next request reads all of them.
        if before == self._seen and before[0] == after[0]:
            repositories = {**new, **self._names.repositories}
            self._names, self._seen = self._names._replace(repositories=repositories), after

    def _sync(self) -> Names | None:
        with _saving():
            return held_names.sync(self.paths, in_state_only=True)
        return None


@contextlib.contextmanager
def _saving() -> Iterator[None]:
    try:
        yield
    except InsidersError as error:
        _log.warning("cannot save the held names: %s", error.message)
