"""Decide which clients may stay: how many, and how slow."""

import logging
import resource
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from waitress import wasyncore
from waitress.server import BaseWSGIServer

from pypi_insiders.server.http.connection import Connection, ConnectionState, LoggedConnection
from pypi_insiders.server.http.limits import Limits

_log = logging.getLogger(__package__)

_LOOK_S = 1.0
# Its own, the file that it is sent, and what waitress writes to disk of its body and its answer.
_FILES_PER_CONNECTION = 4
# The database, the journal, sockets, pipes, what is examined and rendered.
_FILES_OF_OURS = 64


class Clients:
    """The connections of all clients; everything is called by the loop, between its rounds.

    waitress's own limits are not used: that of connections locks out everybody but those who have
    one, idle or not; that of time does not count a request that trickles in, and waits until a
    client that does not read can be written to.

    Args:
        channels: waitress's map of all that is open.
        limits: of each client.
        is_logged: whether there is a line in the log for each answer.
    """

    def __init__(self, channels: dict[int, Any], limits: Limits, *, is_logged: bool) -> None:
        self._is_logged = is_logged
        self._channels = channels
        self._limits = limits
        # accept() would fail for want of a descriptor, at once and again: the loop would run hot.
        self._connections = min(limits.connections, _affordable_connections())
        self.tick_s = min(_LOOK_S, limits.shortest_s / 4)
        self._next_look_s = 0.0
        self._listeners = [item for item in channels.values() if isinstance(item, BaseWSGIServer)]
        for listener in self._listeners:
            listener.channel_class = LoggedConnection if is_logged else Connection

    def all(self) -> list[Connection]:
        """All connections, the oldest first."""
        return [item for item in list(self._channels.values()) if isinstance(item, Connection)]

    @property
    def are_busy(self) -> bool:
        """Whether a request is under way, or on its way."""
        return any(map(_is_busy, self.all()))

    def admit(self) -> None:
        """Make room for the next client.

        At the limit, a connection on which no request is under way makes room, that which is idle
        for longest; then one whose request is still not there. If there is none, who comes waits
        in the kernel's queue: nobody is refused.
        """
        may_come = len(self._channels) <= self._connections or self._make_room()
        for listener in self._listeners:
            listener.accepting = may_come

    def _make_room(self) -> bool:
        connections = self.all()
        excess = len(connections) - self._connections
        if excess > 0:
            # The newest are those who came too many: they are what room is made for.
            dispensable = sorted(filter(_is_dispensable, connections[:-excess]), key=_rank)
            for connection in dispensable[:excess]:
                connection.abort()
            excess -= len(dispensable[:excess])
        return excess < 0 or (excess == 0 and any(map(_is_dispensable, connections)))

    def shut_out(self) -> None:
        """Admit nobody any more."""
        for listener in self._listeners:
            # Not close(): with systemd's socket, whoever connects now waits for our successor.
            listener.accepting = False

    def admit_until(self, is_over: Callable[[], bool]) -> None:
        """Ask before each connection whether it is over; then whoever comes waits for a successor.

        Args:
            is_over: after it has been true once, end.
        """
        for listener in self._listeners:
            listener.accept = partial(_accept, listener.accept, is_over)

    def resume(self) -> bool:
        """Go on with requests that have been read already.

        Returns:
            Whether there are any connections.
        """
        connections = self.all()
        for connection in connections:
            if connection.rest and connection.readable():
                wasyncore.read(connection)
        return bool(connections)

    def dismiss_slow(self) -> None:
        """End the connections whose time is over; looks for them once in `tick_s`."""
        now_s = time.monotonic()
        # A round of the loop may take microseconds, and this goes through all connections.
        if now_s < self._next_look_s:
            return
        self._next_look_s = now_s + self.tick_s
        for connection in self.all():
            if _is_overdue(connection, now_s, self._limits):
                if self._is_logged:
                    _log.debug("%s: too slow", connection.addr[0])
                connection.abort()


def _accept(accept: Callable[[], object], is_over: Callable[[], bool]) -> object:
    # waitress takes None for "somebody else was faster", and waits on.
    return None if is_over() else accept()


def _is_overdue(connection: Connection, now_s: float, limits: Limits) -> bool:
    match connection.state:
        case ConnectionState.LINGERING:
            return now_s - connection.idle_s > limits.linger_s
        # Installers keep connections for their next request; who has never asked has less time.
        case ConnectionState.IDLE if connection.has_asked:
            connection.mark(now_s)
            return now_s - connection.idle_s > limits.idle_s
        case ConnectionState.IDLE | ConnectionState.HEADER:
            connection.mark(now_s)
            return now_s - connection.begun_s > limits.header_s
        case ConnectionState.BODY:
            connection.idle_s = now_s
            return _lags(connection, now_s, limits.body_s, limits.bytes_per_s)
    connection.idle_s = now_s
    # Only if there is something to be taken: an answer that takes long to make is our own fault.
    if connection.total_outbufs_len:
        return _lags(connection, now_s, limits.answer_s, limits.bytes_per_s)
    connection.mark(now_s)  # it waits for us
    return False


def _lags(connection: Connection, now_s: float, window_s: float, bytes_per_s: int) -> bool:
    """Tell whether too little has moved in the window that is over; if so, open the next."""
    elapsed_s = now_s - connection.mark_s
    if elapsed_s < window_s:
        return False
    # Over a window, not since the last byte: who takes a byte a second would stay for ever.
    moved_bytes = connection.moved_bytes - connection.mark_bytes
    connection.mark(now_s)
    return moved_bytes < bytes_per_s * elapsed_s


def _affordable_connections() -> int:
    """Tell how many connections this process has file descriptors for."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        files = 2**31
    return max(1, (files - _FILES_OF_OURS) // _FILES_PER_CONNECTION)


def _is_dispensable(connection: Connection) -> bool:
    # Up to here nothing is lost that a client cannot ask for again.
    return connection.state <= ConnectionState.HEADER and not connection.rest


def _rank(connection: Connection) -> tuple[ConnectionState, float]:
    return connection.state, connection.idle_s


def _is_busy(connection: Connection) -> bool:
    if connection.state is ConnectionState.LINGERING:
        return False
    is_fresh = not connection.has_asked  # its request is on the way
    return bool(connection.state > ConnectionState.IDLE or connection.rest or is_fresh)
