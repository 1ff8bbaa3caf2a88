"""Serve an application over HTTP until it is told to stop, to any client, however it behaves."""

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
_PAUSE_S = 10.0
# A mend is to be seen while its user still looks.
_LOOK_S = 0.25
# So seldom does a process end for another that may be no better off.
_OUTLIVED_S = 5
# waitress has no value for "none"; the limits here are those of `Clients`.
_UNLIMITED = 2**31
# What is less goes out at once, header and body.
_ANSWER_BYTES = 64 * 1024
_LIMITS = Limits()
# A page takes some hundred microseconds and is of Python: more threads would wait for each other.
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
    """Serve until SIGTERM or SIGINT, or until nobody asks; then finish the requests under way.

    What is no request is answered 400, 413 or 431, and the client is at fault. 500 and an error
    with a traceback in the log are the application's: it has raised. At level debug, there is a
    line in the log for every answer.

    Args:
        app: the application. Files it had better hand over as `wsgi.file_wrapper`: of anything
            else, four clients that do not read more than 16 MiB hold up all threads.
        sockets: listening sockets.
        on_ready: called as soon as requests are answered.
        status: what there is to serve, in a few words; called within a second of a request, and
            every 10 s.
        idle_timeout_s: end after so long without a request; 0 is never.
        max_body_bytes: what a request's body may have, chunks with their framing.
        limits: what a client may take otherwise.
        waiters: the requests that the application lets wait.
        refusing_for_s: end after so long, and never report readiness: the application only says
            why the index cannot serve.
        is_mended: tells whether the index could serve now, while it refuses: asked before each
            connection is taken, and several times a second. If so it ends at once, and whoever
            waits in the kernel's queue is answered by its successor.
        is_outlived: tells whether a successor could serve what this process cannot; asked some
            seconds after the start and later on. If so it ends, and the next request starts that.
        on_reload: called after SIGHUP, returns the application and the idle timeout from then on;
            requests under way are finished by the one before. `None`: SIGHUP is left alone.

    Raises:
        InsidersError: a limit is not in force.

    Source: sd_notify(3), sd_watchdog_enabled(3).
    """
    # One line for nearly every request while all threads are busy.
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    asked_s = time.monotonic()

    def noted(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        nonlocal asked_s
        asked_s = time.monotonic()
        return app(environ, start_response)

    make = partial(_make, noted, limits, max_body_bytes)
    # On a server of its own, before the real one takes a connection.
    demand_limits(make)
    channels: dict[int, Any] = {}
    server = make(sockets, channels)
    waiters = waiters or Waiters()
    # A thread more for each request that waits, or four of them would leave none for the others.
    waiters.serve_with(lambda number: server.task_dispatcher.set_thread_count(_THREADS + number))
    clients = Clients(channels, limits, is_logged=_log.isEnabledFor(logging.DEBUG))
    pulse = Pulse(server.task_dispatcher, status)
    stopping = is_to_reload = False
    # A signal handler runs between two instructions of the main thread, which may sleep in poll(2):
    # a byte in a pipe wakes it. Python retries the call otherwise (PEP 475).
    wake = trigger(channels)

    def stop(_number: int, _frame: FrameType | None) -> None:
        nonlocal stopping
        # Nothing else in a handler: it may have interrupted code that holds a lock.
        stopping = True
        waiters.stopping.set()
        wake.pull_trigger()

    def reload(_number: int, _frame: FrameType | None) -> None:
        nonlocal is_to_reload
        is_to_reload = True
        wake.pull_trigger()

    def turn(pause_s: float) -> None:
        # poll(2) does not tell of what has been read already.
        if clients.resume():
            pause_s = min(pause_s, clients.tick_s)
        # One round at a time, for between two of them the limits are looked at. poll and not
        # select, which cannot have descriptors from 1024 on.
        server.asyncore.loop(timeout=pause_s, map=channels, count=1, use_poll=True)
        clients.dismiss_slow()

    if is_mended is not None:

        def is_over() -> bool:
            nonlocal stopping
            stopping = stopping or is_mended()
            return stopping

        clients.admit_until(is_over)

    # Before READY=1: systemd may stop it in the next moment.
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
            # A connection with a request on its way counts as busy. One that arrives after this
            # look is in the queue of systemd's socket, which starts the index again: none is lost,
            # in 30 of 30 tries.
            if idle_timeout_s and idle_s >= idle_timeout_s and not clients.are_busy:
                _log.info(
                    "nobody asked for %.0f s; the next request starts the index again", idle_s
                )
                break
            if is_outlived is not None and time.monotonic() >= look_s:
                look_s = time.monotonic() + _OUTLIVED_S
                if is_outlived():
                    _log.info("the index ends here; the next request starts it again")
                    break
            left_s = idle_timeout_s - idle_s if idle_timeout_s > idle_s else _PAUSE_S
            clients.admit()
            pause_s = _LOOK_S if is_mended else refusing_for_s or _PAUSE_S
            turn(min(left_s, pulse.beat(), pause_s))
            stopping = stopping or (is_mended is not None and is_mended())
        pulse.notify("STOPPING=1")
        _drain(clients, turn)
    finally:
        # It would name the task that went for the watchdog.
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
        # No `Server:` header: nobody needs to know the version of what is attacked.
        ident=None,
        max_request_header_size=limits.header_bytes + 1,  # the first that is too many
        max_request_body_size=max_body_bytes + 1,
        send_bytes=_ANSWER_BYTES,
        log_socket_errors=False,  # a client that is gone is no news
        connection_limit=_UNLIMITED,
        channel_timeout=_UNLIMITED,
        threads=_THREADS,
    )


def _drain(clients: Clients, turn: Callable[[float], None]) -> None:
    """Take no new connections and finish the requests that have begun."""
    clients.shut_out()
    deadline = time.monotonic() + _DRAIN_S
    while clients.are_busy and time.monotonic() < deadline:
        turn(0.1)
