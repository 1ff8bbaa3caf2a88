"""Let requests wait without blocking others."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Waiters:
    """The waiting requests; each gets an additional thread, up to a limit.

    Args:
        most: the maximum of requests that wait at the same time.
    """

    def __init__(self, most: int = 64) -> None:
        self._most = most
        self._number = 0
        self._lock = threading.Lock()
        self._lend: Callable[[int], None] = lambda _number: None
        self.stopping = threading.Event()
        """Set when the server stops, which ends all waits."""

    def serve_with(self, lend: Callable[[int], None]) -> None:
        """Set the server that provides the threads.

        Args:
            lend: called with the number of waiting requests whenever it changes.
        """
        self._lend = lend

    @contextmanager
    def waiting(self) -> Iterator[bool]:
        """Reserve a thread for a waiting request; yield false if too many are waiting already."""
        with self._lock:
            may_wait = self._number < self._most and not self.stopping.is_set()
            if may_wait:
                self._number += 1
                self._lend(self._number)
        try:
            yield may_wait
        finally:
            if may_wait:
                with self._lock:
                    self._number -= 1
                    # During the shutdown, a new number would start threads again.
                    if not self.stopping.is_set():
                        self._lend(self._number)
