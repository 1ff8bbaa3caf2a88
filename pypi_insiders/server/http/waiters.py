"""Let requests wait without keeping the others from being served."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Waiters:
    """The requests that wait for something; each has a thread lent to it, up to a bound.

    Args:
        most: how many may wait at the same time.
    """

    def __init__(self, most: int = 64) -> None:
        self._most = most
        self._number = 0
        self._lock = threading.Lock()
        self._lend: Callable[[int], None] = lambda _number: None
        self.stopping = threading.Event()
        """Set when the server is to end: nobody waits any longer."""

    def serve_with(self, lend: Callable[[int], None]) -> None:
        """Use a server's threads.

        Args:
            lend: called with the number of requests that wait, whenever that changes.
        """
        self._lend = lend

    @contextmanager
    def waiting(self) -> Iterator[bool]:
        """Lend a thread to a request; `False`: too many wait already, this one must not."""
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
                    # The threads are being shut down then, and a new number would start some again.
                    if not self.stopping.is_set():
                        self._lend(self._number)
