"""Serve a WSGI application over HTTP, robust against slow and hostile clients."""

import logging
import math
import signal
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from types import FrameType
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import waitress
from waitress.trigger import trigger

from pypi_insiders.server.http.clients import Clients
from pypi_insiders.server.http.limits import Limits
from pypi_insiders.server.http.proof import demand_limits
from pypi_insiders.server.http.pulse import Pulse
from pypi_insiders.server.http.waiters import Waiters

__all__ = ["Limits", "Waiters", "serve"]

_log = logging.getLogger(__name__)

# Well below the 90 s after which systemd kills what does not stop (DefaultTimeoutStopSec=).
_DRAIN_S = 10
# A client that has just been answered may send its next request before it sees that the connection
# is closed. That one is still answered, with `Connection: close`.
_FAREWELL_S = 0.5
_RECENT_S = 2
_PAUSE_S = 10.0
# How soon fixed settings are noticed, while a user waits for it.
_LOOK_S = 0.25
# Not more often, as a new process may find the same and end too.
_OUTLIVED_S = 5
# waitress has no value for "none"; the limits here are those of `Clients`.
_UNLIMITED = 2**31
# Smaller answers are sent in one piece, header and body.
_ANSWER_BYTES = 64 * 1024
_LIMITS = Limits()
# A page takes some hundred microseconds of Python: more threads would wait for its global lock.
_THREADS = 4


def serve(  # noqa: C901, PLR0913, PLR0915  # one caller, which names them
    app: WSGIApplication,
    sockets: Sequence[socket.socket],
    on_ready: Callable[[], None],
    *,
    status: Callable[[], str],
    idle_timeout_s: float = 0,
    max_body_bytes: int = 64 * 1024,
    limits: Limits = _LIMITS,
    waiters: Waiters | None = None,
    refusing_for_s: float | None = None,
    is_mended: Callable[[], bool] | None = None,
    is_outlived: Callable[[], bool] | None = None,
    on_reload: Callable[[], tuple[WSGIApplication, float]] | None = None,
) -> None:
    """Serve until SIGTERM, SIGINT or the idle timeout; then finish the running requests.

    Invalid requests are answered with 400, 413 or 431; an exception of the application with 500 and
    a traceback in the log. At level debug, each answer is logged.

    Args:
        app: the application. It should return files as `wsgi.file_wrapper`: with anything else,
            four clients that do not read more than 16 MiB block all threads.
        sockets: listening sockets.
        on_ready: called as soon as requests are answered.
        status: returns the status text for systemd; called within a second of a request, and
            every 10 s.
        idle_timeout_s: stop after this time without a request; 0: never.
        max_body_bytes: the maximum of a request's body, chunks with their framing.
        limits: all other limits of a client.
        waiters: the waiting requests of the application.
        refusing_for_s: stop after this time, and never report readiness, as the application only
            answers with an error.
        is_mended: returns whether the error is fixed; called before each connection is accepted,
            and several times a second. If so, stop at once; the next process accepts the queued
            connections.
        is_outlived: returns whether a new process could serve what this one cannot; called every
            few seconds. If so, stop; the next request starts that process.
        on_reload: called after SIGHUP; returns the new application and idle timeout. Running
            requests are finished by the old one. `None`: SIGHUP is not handled.

    Raises:
        InsidersError: a limit has no effect.

    Source: sd_notify(3), sd_watchdog_enabled(3).
    """
    # waitress logs a line for nearly every request while all threads are busy.
    # A hello-world answered 6,000 requests a second with them, 9,000 without.
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    asked_s = time.monotonic()

    def noted(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        nonlocal asked_s
        asked_s = time.monotonic()
        return app(environ, start_response)

    make = partial(_make, noted, limits, max_body_bytes)
    # Tested on another server, before this one accepts a connection.
    demand_limits(make)
    channels: dict[int, Any] = {}
    server = make(sockets, channels)
    waiters = waiters or Waiters()
    # One more thread for each waiting request: four of them would leave none for other requests.
    waiters.serve_with(lambda number: server.task_dispatcher.set_thread_count(_THREADS + number))
    clients = Clients(channels, limits, is_logged=_log.isEnabledFor(logging.DEBUG))
    pulse = Pulse(server.task_dispatcher, status)
    stopping = is_to_reload = False
    # A signal handler runs between two instructions of the main thread, which may sleep in poll(2):
    # a byte in a pipe wakes it. Python retries the call otherwise (PEP 475).
    wake = trigger(channels)

    def stop(_number: int, _frame: FrameType | None) -> None:
        nonlocal stopping
        # Nothing else in a handler, which may have interrupted code with a lock.
        stopping = True
        waiters.stopping.set()
        wake.pull_trigger()

    def reload(_number: int, _frame: FrameType | None) -> None:
        nonlocal is_to_reload
        is_to_reload = True
        wake.pull_trigger()

    def turn(pause_s: float) -> None:
        # poll(2) does not report data that has been read already.
        if clients.resume():
            pause_s = min(pause_s, clients.tick_s)
        # One round at a time, as the limits are checked between rounds. poll(2), as select(2) fails
        # for descriptors from 1024 on.
        server.asyncore.loop(timeout=pause_s, map=channels, count=1, use_poll=True)
        clients.dismiss_slow()

    if is_mended is not None:

        def is_over() -> bool:
            nonlocal stopping
            stopping = stopping or is_mended()
            return stopping

        clients.admit_until(is_over)

    # Before READY=1, after which systemd may stop the service at once.
    handlers = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    if on_reload is not None:
        handlers[signal.SIGHUP] = signal.signal(signal.SIGHUP, reload)
    pulse.notify(*(() if refusing_for_s else ("READY=1",)))
    on_ready()
    end_s = time.monotonic() + (refusing_for_s or math.inf)
    look_s = time.monotonic() + _OUTLIVED_S
    try:
        while not stopping and time.monotonic() < end_s:
            if is_to_reload and on_reload is not None:
                is_to_reload = False
                with pulse.reloading():
                    app, idle_timeout_s = on_reload()
            idle_s = time.monotonic() - asked_s
            # A connection with an incoming request counts as busy. A later one stays in the queue
            # of systemd's socket, which starts the server again: none was lost in 30 of 30 tries.
            if idle_timeout_s and idle_s >= idle_timeout_s and not clients.are_busy:
                _log.info("idle for %.0f s, stopping; the next request starts the server", idle_s)
                break
            if is_outlived is not None and time.monotonic() >= look_s:
                look_s = time.monotonic() + _OUTLIVED_S
                if is_outlived():
                    _log.info(
                        "directories unreadable or replaced, stopping; "
                        "the next request starts the server"
                    )
                    break
            left_s = idle_timeout_s - idle_s if idle_timeout_s > idle_s else _PAUSE_S
            clients.admit()
            pause_s = _LOOK_S if is_mended else refusing_for_s or _PAUSE_S
            turn(min(left_s, pulse.beat(), pause_s))
            stopping = stopping or (is_mended is not None and is_mended())
        pulse.notify("STOPPING=1")
        _drain(clients, turn)
    finally:
        # waitress would log the task that answers the watchdog as dropped.
        logging.getLogger("waitress").setLevel(logging.ERROR)
        server.task_dispatcher.shutdown()
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _make(
    app: WSGIApplication,
    limits: Limits,
    max_body_bytes: int,
    sockets: Sequence[socket.socket],
    channels: dict[int, Any],
) -> Any:
    return waitress.create_server(
        app,
        map=channels,
        sockets=list(sockets),
        # No `Server:` header, which would reveal a version to attackers.
        ident=None,
        max_request_header_size=limits.header_bytes + 1,  # waitress refuses this size too
        max_request_body_size=max_body_bytes + 1,
        send_bytes=_ANSWER_BYTES,
        log_socket_errors=False,  # clients that disconnect are normal
        connection_limit=_UNLIMITED,
        channel_timeout=_UNLIMITED,
        threads=_THREADS,
    )


def _drain(clients: Clients, turn: Callable[[float], None]) -> None:
    """Accept no new connections, and finish the running requests."""
    clients.shut_out()
    begun_s = time.monotonic()
    while (elapsed_s := time.monotonic() - begun_s) < _DRAIN_S:
        is_farewell = elapsed_s < _FAREWELL_S and clients.have_asked_since(begun_s - _RECENT_S)
        if not (clients.are_busy or is_farewell):
            break
        turn(0.1)
