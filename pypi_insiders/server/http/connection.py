"""The connection of one client: one request after the other, and a clean end if refused."""

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
    """The state of a connection; the lower, the less is lost if it is closed."""

    LINGERING = enum.auto()  # refused; further input is dropped
    IDLE = enum.auto()
    HEADER = enum.auto()  # the header of a request is arriving
    BODY = enum.auto()  # the body of a request is arriving
    ANSWER = enum.auto()  # a request is being answered, or waits for a thread


class Connection(HTTPChannel):  # type: ignore[misc]  # waitress has no types
    """The connection of one client.

    Attributes:
        has_asked: whether a whole request was received.
        is_ending: whether the next answer is the last.
        idle_s: when it was opened, or last busy, on the monotonic clock.
        mark_s: the start of the current window, on the monotonic clock.
        mark_bytes: `moved_bytes` at that time.
        rest: the received bytes of the next request.
    """

    # Pipelined requests are read one by one, each after the previous answer was sent. waitress
    # answers them at once, even if the client does not read: some hundred would use up all file
    # descriptors, and a few with large answers, from four clients, all threads.

    task_class = AnswerTask

    will_close: bool
    has_asked = False
    is_ending = False
    rest = b""
    _received_bytes = 0
    _sent_bytes = 0
    _is_refused = False
    _is_lingering = False
    _parser: RequestParser | None = None

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        # waitress reads as much of a file at once as the kernel could take, some megabytes.
        self.sendbuf_len = _MOST_AT_ONCE_BYTES
        self.idle_s = time.monotonic()
        self.mark(self.idle_s)

    @property
    def state(self) -> ConnectionState:
        """The current state."""
        if self._is_lingering:
            return ConnectionState.LINGERING
        if self.requests or self.total_outbufs_len:
            return ConnectionState.ANSWER
        if self.request is None or not self.request.begun_s:
            return ConnectionState.IDLE
        return ConnectionState.BODY if self.request.headers_finished else ConnectionState.HEADER

    @property
    def begun_s(self) -> float:
        """The start of the arriving request; for the first one, of the connection."""
        # Otherwise a client that connects and sends nothing would have no time limit.
        return float(self.request.begun_s) if self.has_asked else self.idle_s

    @property
    def moved_bytes(self) -> int:
        """The bytes received from the client, and acknowledged by its side.

        Source: tcp(7), `SIOCOUTQ`.
        """
        # Not the bytes that send(2) has taken: the kernel buffers some megabytes, and then takes
        # none until a third of them is acknowledged.
        waiting = bytes(4)
        with contextlib.suppress(OSError):  # only on Linux
            waiting = fcntl.ioctl(self.socket, termios.TIOCOUTQ, waiting)
        return self._received_bytes + self._sent_bytes - int.from_bytes(waiting, sys.byteorder)

    @property
    def written_bytes(self) -> int:
        """The bytes of answers, sent or buffered."""
        # Under the lock, as threads move bytes from one number to the other.
        with self.outbuf_lock:
            return int(self._sent_bytes + self.total_outbufs_len)

    def mark(self, now_s: float) -> None:
        """Start the next window."""
        self.mark_s, self.mark_bytes = now_s, self.moved_bytes

    def parser_class(self, adjustments: Any) -> RequestParser:
        """Create the parser of the next request; called by waitress."""
        self._parser = RequestParser(adjustments)
        return self._parser

    def handle_read(self) -> None:
        """Parse the bytes in `rest`, or read from the socket; called by waitress."""
        # waitress would parse `rest` at once, and queue its request behind the current one.
        if self.rest:
            rest, self.rest = self.rest, b""
            self.received(rest)
        else:
            super().handle_read()

    def received(self, data: bytes) -> bool:
        """Parse received bytes up to the end of a request; called by waitress."""
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
        """Send as many bytes as the kernel takes; called by waitress."""
        sent: int = super().send(data, do_close)
        self._sent_bytes += sent
        return sent

    def writable(self) -> bool:
        """Return whether the loop should send buffered bytes; called by waitress."""
        # While a thread answers, it sends by itself, and the loop would wake up again and again for
        # a writable socket. Beyond waitress's high watermark the thread waits for the loop.
        if self.requests and self.total_outbufs_len <= self.adj.outbuf_high_watermark:
            return bool(self.will_close)
        return bool(self.total_outbufs_len or self.will_close or self.close_when_flushed)

    def handle_expt(self) -> None:
        """Close the connection of a client that sends urgent data; called by waitress."""
        # HTTP has no urgent data: as it is never read, it would wake the loop for ever.
        self.handle_close()

    def handle_close(self) -> None:
        """Close the connection; after a refusal, first drop the rest of the request.

        Called by waitress. Source: RFC 9112, 9.6.
        """
        # Otherwise a client gets a reset while it sends a large body, and many clients then do not
        # read the answer.
        is_answered = self.will_close and self.connected and not self.total_outbufs_len
        if self._is_refused and is_answered and not self._is_lingering:
            with contextlib.suppress(OSError):
                # Ends the answer for the client, which can still send its request.
                self.socket.shutdown(socket.SHUT_WR)
                self._is_lingering = True
                self.will_close = False
                self.idle_s = time.monotonic()
                return
        super().handle_close()

    def abort(self) -> None:
        """Close at once; unsent bytes are lost."""
        if self.socket is not None and self.total_outbufs_len:
            # Otherwise the kernel keeps the socket until the client has read its buffer.
            with contextlib.suppress(OSError):
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        super().handle_close()


class LoggedConnection(Connection):
    """The connection of one client, with a line in the log for every answer."""

    task_class = LoggedAnswerTask
    error_task_class = LoggedRefusalTask
