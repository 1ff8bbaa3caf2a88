"""Limit the number of connections, and close slow ones."""

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
# Its socket, the file that is sent, and the temporary files of waitress for body and answer.
_FILES_PER_CONNECTION = 4
# The database, the journal, sockets, pipes, and files that are examined or rendered.
_FILES_OF_OURS = 64


class Clients:
    """The connections of all clients; all methods are called between two rounds of the loop.

    Args:
        channels: waitress's map of all open channels.
        limits: the limits of each client.
        is_logged: whether to log each answer.
    """

    # Without waitress's own limits: its maximum of connections locks out all new clients, even if
    # the others are idle; its timeout ignores a request that arrives slowly, and never ends for a
    # client that does not read.

    def __init__(self, channels: dict[int, Any], limits: Limits, *, is_logged: bool) -> None:
        self._is_logged = is_logged
        self._channels = channels
        self._limits = limits
        # Without free descriptors accept() fails at once, again and again: the loop would spin.
        self._connections = min(limits.connections, _affordable_connections())
        self.tick_s = min(_LOOK_S, limits.shortest_s / 4)
        self._next_look_s = 0.0
        self._listeners = [item for item in channels.values() if isinstance(item, BaseWSGIServer)]
        for listener in self._listeners:
            listener.channel_class = LoggedConnection if is_logged else Connection

    def all(self) -> list[Connection]:
        """Return all connections, the oldest first."""
        return [item for item in list(self._channels.values()) if isinstance(item, Connection)]

    @property
    def are_busy(self) -> bool:
        """Whether a request is running or arriving."""
        return any(map(_is_busy, self.all()))

    def admit(self) -> None:
        """Make room for the next client.

        At the limit, the connection that is idle for longest is closed, or else one whose request
        has not arrived. Without any, new clients wait in the kernel's queue.
        """
        may_come = len(self._channels) <= self._connections or self._make_room()
        for listener in self._listeners:
            listener.accepting = may_come

    def _make_room(self) -> bool:
        connections = self.all()
        excess = len(connections) - self._connections
        if excess > 0:
            # The newest connections are those beyond the limit, which room is made for.
            dispensable = sorted(filter(_is_dispensable, connections[:-excess]), key=_rank)
            for connection in dispensable[:excess]:
                connection.abort()
            excess -= len(dispensable[:excess])
        return excess < 0 or (excess == 0 and any(map(_is_dispensable, connections)))

    def shut_out(self) -> None:
        """Accept no new connections, and close each open one after its next answer."""
        for listener in self._listeners:
            # Not close(): in the queue of systemd's socket, they wait for the next process.
            listener.accepting = False
        for connection in self.all():
            connection.is_ending = True

    def have_asked_since(self, time_s: float) -> bool:
        """Return whether a client without a running request had one since a monotonic time."""
        return any(
            item.has_asked and item.state is ConnectionState.IDLE and item.idle_s >= time_s
            for item in self.all()
        )

    def admit_until(self, is_over: Callable[[], bool]) -> None:
        """Accept connections until a condition is true; later ones wait for the next process.

        Args:
            is_over: the condition, called before each connection is accepted.
        """
        for listener in self._listeners:
            listener.accept = partial(_accept, listener.accept, is_over)

    def resume(self) -> bool:
        """Continue with requests that were received already.

        Returns:
            Whether there are any connections.
        """
        connections = self.all()
        for connection in connections:
            if connection.rest and connection.readable():
                wasyncore.read(connection)
        return bool(connections)

    def dismiss_slow(self) -> None:
        """Close the connections beyond a time limit; checks them once in `tick_s`."""
        now_s = time.monotonic()
        # Rounds of the loop take microseconds, and this visits all connections.
        if now_s < self._next_look_s:
            return
        self._next_look_s = now_s + self.tick_s
        for connection in self.all():
            if _is_overdue(connection, now_s, self._limits):
                if self._is_logged:
                    _log.debug("%s: too slow", connection.addr[0])
                connection.abort()


def _accept(accept: Callable[[], object], is_over: Callable[[], bool]) -> object:
    # waitress treats None as a connection that another process has accepted.
    return None if is_over() else accept()


def _is_overdue(connection: Connection, now_s: float, limits: Limits) -> bool:
    match connection.state:
        case ConnectionState.LINGERING:
            return now_s - connection.idle_s > limits.linger_s
        # Installers reuse connections; those without any request have less time.
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
    # Only with bytes to be read: a slow answer of the application is not the client's fault.
    if connection.total_outbufs_len:
        return _lags(connection, now_s, limits.answer_s, limits.bytes_per_s)
    connection.mark(now_s)  # the client waits for the application
    return False


def _lags(connection: Connection, now_s: float, window_s: float, bytes_per_s: int) -> bool:
    """Return whether too few bytes have moved in the last window; at its end, start the next."""
    elapsed_s = now_s - connection.mark_s
    if elapsed_s < window_s:
        return False
    # Over a window, not since the last byte: a client with a byte a second would stay for ever.
    moved_bytes = connection.moved_bytes - connection.mark_bytes
    connection.mark(now_s)
    return moved_bytes < bytes_per_s * elapsed_s


def _affordable_connections() -> int:
    """Return the number of connections that this process has file descriptors for."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        files = 2**31
    return max(1, (files - _FILES_OF_OURS) // _FILES_PER_CONNECTION)


def _is_dispensable(connection: Connection) -> bool:
    # Up to this state, a client can send its request again without loss.
    return connection.state <= ConnectionState.HEADER and not connection.rest


def _rank(connection: Connection) -> tuple[ConnectionState, float]:
    return connection.state, connection.idle_s


def _is_busy(connection: Connection) -> bool:
    if connection.state is ConnectionState.LINGERING:
        return False
    is_fresh = not connection.has_asked  # its request is on the way
    return bool(connection.state > ConnectionState.IDLE or connection.rest or is_fresh)
