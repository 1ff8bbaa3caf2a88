"""Limit the time of a task and of all programs that it runs."""

import contextlib
import time
from collections.abc import Iterator
from contextvars import ContextVar

# A context variable, so that `ProcessGroup` finds the limit of its thread.
_until_s: ContextVar[float | None] = ContextVar("until_s", default=None)


class TimeLimit:
    """The time limit of a task; time outside of `counting` is not counted.

    Args:
        limit_s: seconds; `None`: no limit.
    """

    def __init__(self, limit_s: float | None) -> None:
        self._limit_s = self._left_s = limit_s

    @property
    def share_left(self) -> float:
        """Return the share of the time that is left: 1 at first, 0 or less when it is over."""
        return 1.0 if not self._limit_s or self._left_s is None else self._left_s / self._limit_s

    @property
    def is_over(self) -> bool:
        """Return whether no time is left."""
        return self.share_left <= 0

    @contextlib.contextmanager
    def counting(self) -> Iterator[None]:
        """Count the time in this context, and limit the programs that its thread runs."""
        # A task waits in between for others (locks, a free slot): that is not its own time.
        begun_s = time.monotonic()
        token = _until_s.set(None if self._left_s is None else begun_s + self._left_s)
        try:
            yield
        finally:
            _until_s.reset(token)
            if self._left_s is not None:
                self._left_s -= time.monotonic() - begun_s


def shortened(timeout_s: float) -> float:
    """Return a program's timeout, shortened to the time that is left for its task."""
    until_s = _until_s.get()
    return timeout_s if until_s is None else max(0.0, min(timeout_s, until_s - time.monotonic()))
