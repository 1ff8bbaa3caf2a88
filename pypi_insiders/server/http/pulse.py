"""Tell systemd that requests are served, and what there is to serve."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from pypi_insiders.systemd.sd_notify import Notifier

_PAUSE_S = 10.0
_LOOK_S = 1.0


class Pulse:
    """Tell systemd that requests are served, and what there is to serve.

    The watchdog is answered only after a task has gone through the threads that serve requests:
    when all of them hang, systemd restarts the service.

    Source: sd_notify(3), sd_watchdog_enabled(3).
    """

    def __init__(self, dispatcher: Any, status: Callable[[], str]) -> None:
        self._dispatcher = dispatcher
        self._status = status
        self._told = ""
        self._served = threading.Event()
        self._served.set()
        self._next_s = 0.0
        self._next_look_s = 0.0
        self._notifier = Notifier()
        timeout_us = os.environ.pop("WATCHDOG_USEC", "")
        is_watched = (
            os.environ.pop("WATCHDOG_PID", "") == str(os.getpid()) and timeout_us.isdecimal()
        )
        self._is_watched = is_watched
        # sd_watchdog_enabled(3) recommends half; with a third, one that comes late does no harm.
        self._interval_s = int(timeout_us) / 1e6 / 3 if is_watched else _PAUSE_S

    def notify(self, *lines: str) -> None:
        """Tell systemd something, and the status if it has changed."""
        status = self._status()
        self._next_look_s = time.monotonic() + _LOOK_S
        if status != self._told:
            self._told = status
            lines += (f"STATUS={status}",)
        if lines:
            self._notifier.notify(*lines)

    @contextmanager
    def reloading(self) -> Iterator[None]:
        """Tell systemd that the settings are read again, and when that has ended.

        Source: sd_notify(3), `RELOADING=1`.
        """
        # By the time systemd knows which of two reloads is meant. Source: systemd.service(5),
        # `Type=notify-reload`, since 253.
        self.notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
        try:
            yield
        finally:
            self.notify("READY=1")

    def beat(self) -> float:
        """Tell a changed status, and answer the watchdog when it is time, if requests are served.

        The status is looked at once in a second at most: while many files come in, each look
        could mean to count them all.

        Returns:
            After how many seconds to call it again, at the latest.
        """
        now_s = time.monotonic()
        pause_s = self._next_look_s - now_s
        if pause_s <= 0:
            self.notify()
            pause_s = _PAUSE_S
        if self._is_watched and now_s >= self._next_s and self._served.is_set():
            self._next_s = now_s + self._interval_s
            # Until a thread has been there: no beat goes out on behalf of threads that hang.
            self._served.clear()
            self._dispatcher.add_task(self)
            self.notify("WATCHDOG=1")
        return min(pause_s, self._interval_s, _PAUSE_S)

    def service(self) -> None:
        """Go through a thread; called by it."""
        self._served.set()

    def cancel(self) -> None:
        """Be dropped; called when the threads end."""
