"""Report readiness, status and watchdog to systemd."""

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
    """Reports readiness and status to systemd, and answers its watchdog.

    The watchdog is answered only after a task has run in a thread for requests: if all of them
    hang, systemd restarts the service.

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
        # Removed, or the programs that this process starts would take themselves for watched.
        timeout_us = os.environ.pop("WATCHDOG_USEC", "")
        is_watched = (
            os.environ.pop("WATCHDOG_PID", "") == str(os.getpid()) and timeout_us.isdecimal()
        )
        self._is_watched = is_watched
        # sd_watchdog_enabled(3) recommends half of the timeout; a third tolerates one late message.
        self._interval_s = int(timeout_us) / 1e6 / 3 if is_watched else _PAUSE_S

    def notify(self, *lines: str) -> None:
        """Send lines to systemd, and the status if it has changed."""
        status = self._status()
        self._next_look_s = time.monotonic() + _LOOK_S
        if status != self._told:
            self._told = status
            lines += (f"STATUS={status}",)
        if lines:
            self._notifier.notify(*lines)

    @contextmanager
    def reloading(self) -> Iterator[None]:
        """Report the start and the end of a reload.

        Source: sd_notify(3), `RELOADING=1`.
        """
        # The time tells systemd which of two reloads this is. Source: systemd.service(5),
        # `Type=notify-reload`, since 253.
        self.notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
        try:
            yield
        finally:
            self.notify("READY=1")

    def beat(self) -> float:
        """Send a changed status, and answer the watchdog when due, if the threads respond.

        Returns:
            The maximum of seconds until the next call.
        """
        # At most once a second: while many files are added, each status would count all of them.
        now_s = time.monotonic()
        pause_s = self._next_look_s - now_s
        if pause_s <= 0:
            self.notify()
            pause_s = _PAUSE_S
        if self._is_watched and now_s >= self._next_s and self._served.is_set():
            self._next_s = now_s + self._interval_s
            # Set again by `service` in a thread, so that hanging threads stop the beat.
            self._served.clear()
            self._dispatcher.add_task(self)
            self.notify("WATCHDOG=1")
        return min(pause_s, self._interval_s, _PAUSE_S)

    def service(self) -> None:
        """Record that a thread responds; called by it."""
        self._served.set()

    def cancel(self) -> None:
        """Do nothing; called when the threads end."""
