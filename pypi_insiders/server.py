"""Serve an application over HTTP until it is told to stop."""

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from types import FrameType
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import sdnotify
import waitress
from waitress.channel import HTTPChannel
from waitress.server import BaseWSGIServer
from waitress.trigger import trigger

_log = logging.getLogger(__name__)

_DRAIN_S = 10
_PAUSE_S = 10.0


def serve(
    app: WSGIApplication,
    sockets: Sequence[socket.socket],
    on_ready: Callable[[], None],
    *,
    status: Callable[[], str],
    idle_timeout_s: float = 0,
) -> None:
    """Serve until SIGTERM or SIGINT, or until nobody asks; then finish the requests under way.

    Args:
        app: the application.
        sockets: listening sockets.
        on_ready: called as soon as requests are answered.
        status: what there is to serve, in a few words; called often.
        idle_timeout_s: end after so long without a request; 0 is never.

    Source: sd_notify(3), sd_watchdog_enabled(3).
    """
    # One line for nearly every request while all threads are busy.
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    asked_s = time.monotonic()

    def noted(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        nonlocal asked_s
        asked_s = time.monotonic()
        return app(environ, start_response)

    channels: dict[int, Any] = {}
    server = waitress.create_server(noted, map=channels, sockets=list(sockets), ident=None)
    pulse = _Pulse(server.task_dispatcher, status)
    stopping = False
    wake = trigger(channels)

    def stop(_number: int, _frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True
        wake.pull_trigger()

    handlers = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    pulse.notify("READY=1")
    on_ready()
    try:
        while not stopping:
            idle_s = time.monotonic() - asked_s
            if (
                idle_timeout_s
                and idle_s >= idle_timeout_s
                and not any(map(_is_busy, channels.values()))
            ):
                _log.info(
                    "nobody asked for %.0f s; the next request starts the index again", idle_s
                )
                break
            left_s = idle_timeout_s - idle_s if idle_timeout_s > idle_s else _PAUSE_S
            pause_s = min(_PAUSE_S, pulse.interval_s, left_s)
            server.asyncore.loop(timeout=pause_s, map=channels, count=1, use_poll=True)
            pulse.beat()
        pulse.notify("STOPPING=1")
        _drain(server, channels)
    finally:
        # It would name the task that went for the watchdog.
        logging.getLogger("waitress").setLevel(logging.ERROR)
        server.task_dispatcher.shutdown()
        for number, handler in handlers.items():
            signal.signal(number, handler)


class _Pulse:
    """Tell systemd that requests are served, and what there is to serve.

    The watchdog is answered only after a task has gone through the threads that serve requests:
    when all of them hang, systemd restarts the service.
    """

    def __init__(self, dispatcher: Any, status: Callable[[], str]) -> None:
        self._dispatcher = dispatcher
        self._status = status
        self._told = ""
        self._served = threading.Event()
        self._served.set()
        self._next_s = 0.0
        self._notifier = sdnotify.SystemdNotifier()
        os.environ.pop("NOTIFY_SOCKET", None)
        timeout_us = os.environ.pop("WATCHDOG_USEC", "")
        is_watched = (
            os.environ.pop("WATCHDOG_PID", "") == str(os.getpid()) and timeout_us.isdecimal()
        )
        self._is_watched = is_watched
        self.interval_s = int(timeout_us) / 1e6 / 3 if is_watched else _PAUSE_S

    def notify(self, *lines: str) -> None:
        """Tell systemd something, and the status if it has changed."""
        status = self._status()
        if status != self._told:
            self._told = status
            lines += (f"STATUS={status}",)
        if lines:
            self._notifier.notify("\n".join(lines))

    def beat(self) -> None:
        """Answer the watchdog when it is time, if requests are served."""
        self.notify()
        is_due = self._is_watched and time.monotonic() >= self._next_s
        if not is_due or not self._served.is_set():
            return
        self._next_s = time.monotonic() + self.interval_s
        self._served.clear()
        self._dispatcher.add_task(self)
        self.notify("WATCHDOG=1")

    def service(self) -> None:
        """Go through a thread; called by it."""
        self._served.set()

    def cancel(self) -> None:
        """Be dropped; called when the threads end."""


def _drain(server: Any, channels: dict[int, Any]) -> None:
    """Take no new connections and finish the requests that have begun."""
    for channel in list(channels.values()):
        if isinstance(channel, BaseWSGIServer):
            # Not close(): with systemd's socket, whoever connects now waits for our successor.
            channel.accepting = False
    deadline = time.monotonic() + _DRAIN_S
    while any(map(_is_busy, channels.values())) and time.monotonic() < deadline:
        server.asyncore.loop(timeout=0.1, map=channels, count=1, use_poll=True)


def _is_busy(channel: object) -> bool:
    if not isinstance(channel, HTTPChannel):
        return False
    is_fresh = channel.last_activity == channel.creation_time  # its request is on the way
    return bool(channel.requests or channel.total_outbufs_len or channel.request or is_fresh)
