"""Serve an application over HTTP until it is told to stop."""

import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any
from wsgiref.types import WSGIApplication

import sdnotify
import waitress
from waitress.channel import HTTPChannel
from waitress.server import BaseWSGIServer
from waitress.trigger import trigger

_log = logging.getLogger(__name__)

_DRAIN_S = 10


def serve(
    app: WSGIApplication, sockets: Sequence[socket.socket], on_ready: Callable[[], None]
) -> None:
    """Serve until SIGTERM or SIGINT; then finish the requests under way.

    Args:
        app: the application.
        sockets: listening sockets.
        on_ready: called as soon as requests are answered.

    Source: sd_notify(3).
    """
    # One line for nearly every request while all threads are busy.
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    notifier = sdnotify.SystemdNotifier()
    os.environ.pop("NOTIFY_SOCKET", None)
    channels: dict[int, Any] = {}
    server = waitress.create_server(app, map=channels, sockets=list(sockets), ident=None)
    stopping = False
    wake = trigger(channels)

    def stop(_number: int, _frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True
        wake.pull_trigger()

    handlers = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    notifier.notify("READY=1")
    on_ready()
    try:
        while not stopping:
            server.asyncore.loop(timeout=30, map=channels, count=1, use_poll=True)
        notifier.notify("STOPPING=1")
        _drain(server, channels)
    finally:
        server.task_dispatcher.shutdown()
        for number, handler in handlers.items():
            signal.signal(number, handler)


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
    return isinstance(channel, HTTPChannel) and bool(
        channel.requests or channel.total_outbufs_len or channel.request
    )
