"""Limit how long a piece of work may take, with all the programs that it runs."""

import contextlib
import time
from collections.abc import Iterator
from contextvars import ContextVar

_until_s: ContextVar[float | None] = ContextVar("until_s", default=None)


class TimeLimit:
    """How long a piece of work may take, whatever it waits for in between.

    Args:
        limit_s: in seconds; `None`: as long as it likes.
    """

    def __init__(self, limit_s: float | None) -> None:
        self._limit_s = self._left_s = limit_s

    @property
    def share_left(self) -> float:
        """Return how much of the time is left, 1 for all of it; 0 or less for none."""
        return 1.0 if not self._limit_s or self._left_s is None else self._left_s / self._limit_s

    @property
    def is_over(self) -> bool:
        """Tell whether no time is left."""
        return self.share_left <= 0

    @contextlib.contextmanager
    def counting(self) -> Iterator[None]:
        """Count the time in this context; no program that this thread runs in it gets more."""
        begun_s = time.monotonic()
        token = _until_s.set(None if self._left_s is None else begun_s + self._left_s)
        try:
            yield
        finally:
            _until_s.reset(token)
            if self._left_s is not None:
                self._left_s -= time.monotonic() - begun_s


def shortened(timeout_s: float) -> float:
    """Return how many of these seconds a program may take that is to be run now."""
    until_s = _until_s.get()
    return timeout_s if until_s is None else max(0.0, min(timeout_s, until_s - time.monotonic()))
