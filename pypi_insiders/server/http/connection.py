"""Hold one client's connection: one request after the other, and manners when it is refused."""

import contextlib
import enum
import fcntl
import socket
import struct
import sys
import termios
import time
from typing import Any

from waitress.channel import HTTPChannel

from pypi_insiders.server.http.answers import AnswerTask, LoggedAnswerTask, LoggedRefusalTask
from pypi_insiders.server.http.requests import RequestParser

_MOST_AT_ONCE_BYTES = 256 * 1024
# `struct linger`: on, for no time. Source: socket(7), `SO_LINGER`.
_RESET = struct.pack("ii", 1, 0)


class ConnectionState(enum.IntEnum):
    """What a connection is at; the lower, the less is lost when it ends."""

    LINGERING = enum.auto()  # refused; what still comes is dropped
    IDLE = enum.auto()
    HEADER = enum.auto()  # a request's header comes in
    BODY = enum.auto()  # a request's body comes in
    ANSWER = enum.auto()  # a request is answered, or waits for it


class Connection(HTTPChannel):  # type: ignore[misc]  # waitress has no types
    """One client's connection.

    Requests that a client sends without waiting for answers are read one by one, each when the
    answer before it has gone out. waitress answers them at once, whether the client reads or not:
    some hundred of them would take all our file descriptors, and a few with large answers, by four
    clients, all threads.

    Attributes:
        has_asked: whether there has been a whole request.
        idle_s: when it was opened, or busy for the last time, on the monotonic clock.
        mark_s: since when it has had to move, on the monotonic clock.
        mark_bytes: how much it had moved then.
        rest: what has been read of the next request.
    """

    task_class = AnswerTask

    will_close: bool
    has_asked = False
    rest = b""
    _received_bytes = 0
    _sent_bytes = 0
    _is_refused = False
    _is_lingering = False
    _parser: RequestParser | None = None

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        # Of a file, waitress reads as much at once as the kernel could take, some megabytes.
        self.sendbuf_len = _MOST_AT_ONCE_BYTES
        self.idle_s = time.monotonic()
        self.mark(self.idle_s)

    @property
    def state(self) -> ConnectionState:
        """What it is at."""
        if self._is_lingering:
            return ConnectionState.LINGERING
        if self.requests or self.total_outbufs_len:
            return ConnectionState.ANSWER
        if self.request is None or not self.request.begun_s:
            return ConnectionState.IDLE
        return ConnectionState.BODY if self.request.headers_finished else ConnectionState.HEADER

    @property
    def begun_s(self) -> float:
        """When the request that comes in has begun; the first begins with the connection."""
        # Otherwise a client that connects and says nothing would have all the time there is.
        return float(self.request.begun_s) if self.has_asked else self.idle_s

    @property
    def moved_bytes(self) -> int:
        """How much has come in, and has been taken by the client's side.

        What the kernel has taken from us says less: it takes some megabytes without the client,
        and then nothing until a third of them has gone. Source: tcp(7), `SIOCOUTQ`.
        """
        waiting = bytes(4)
        with contextlib.suppress(OSError):  # only Linux can tell
            waiting = fcntl.ioctl(self.socket, termios.TIOCOUTQ, waiting)
        return self._received_bytes + self._sent_bytes - int.from_bytes(waiting, sys.byteorder)

    @property
    def written_bytes(self) -> int:
        """How much has been answered: gone out, or about to."""
        # A thread adds to the one number what it takes from the other.
        with self.outbuf_lock:
            return int(self._sent_bytes + self.total_outbufs_len)

    def mark(self, now_s: float) -> None:
        """Remember that up to now it has moved as it has to."""
        self.mark_s, self.mark_bytes = now_s, self.moved_bytes

    def parser_class(self, adjustments: Any) -> RequestParser:
        """Make the parser of the next request; called by waitress."""
        self._parser = RequestParser(adjustments)
        return self._parser

    def handle_read(self) -> None:
        """Go on with what has been read, or read what has come; called by waitress."""
        # waitress would parse it at once, and queue it behind the request that is answered now.
        if self.rest:
            rest, self.rest = self.rest, b""
            self.received(rest)
        else:
            super().handle_read()

    def received(self, data: bytes) -> bool:
        """Take what has come, up to the end of a request; called by waitress."""
        if self._is_lingering:
            return False
        self._received_bytes += len(data)
        is_taken: bool = super().received(data)
        parser = self._parser
        if parser is not None and parser.completed:
            self._parser = None
            self.has_asked = True
            self.idle_s = time.monotonic()
            self.rest = parser.rest
            self._is_refused = parser.error is not None
        return is_taken

    def send(self, data: bytes, do_close: bool = True) -> int:
        """Send what the kernel takes; called by waitress."""
        sent: int = super().send(data, do_close)
        self._sent_bytes += sent
        return sent

    def writable(self) -> bool:
        """Tell whether the loop should send what is to be sent; called by waitress.

        As long as a thread is at it, that sends; to wait for room then would mean to wake at once,
        again and again. It waits for the loop when there is more than waitress's high watermark.
        """
        if self.requests and self.total_outbufs_len <= self.adj.outbuf_high_watermark:
            return bool(self.will_close)
        return bool(self.total_outbufs_len or self.will_close or self.close_when_flushed)

    def handle_expt(self) -> None:
        """Part with a client that sends urgent data, which HTTP has not; called by waitress.

        Nobody reads it, so that it would wake the loop for ever.
        """
        self.handle_close()

    def handle_close(self) -> None:
        """Close, but hear out who was refused; called by waitress.

        A client that sends a large body gets a reset in the middle of it otherwise, and many then
        do not look for the answer. Source: RFC 9112, 9.6.
        """
        is_answered = self.will_close and self.connected and not self.total_outbufs_len
        if self._is_refused and is_answered and not self._is_lingering:
            with contextlib.suppress(OSError):
                # The answer is complete for the client, which can still send what it is at. Source:
                # RFC 9112, 9.6.
                self.socket.shutdown(socket.SHUT_WR)
                self._is_lingering = True
                self.will_close = False
                self.idle_s = time.monotonic()
                return
        super().handle_close()

    def abort(self) -> None:
        """Close at once; what the client has not taken is lost."""
        if self.socket is not None and self.total_outbufs_len:
            # The kernel would go on offering what it has in its buffer.
            with contextlib.suppress(OSError):
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        super().handle_close()


class LoggedConnection(Connection):
    """One client's connection, and a line in the log for every answer."""

    task_class = LoggedAnswerTask
    error_task_class = LoggedRefusalTask
