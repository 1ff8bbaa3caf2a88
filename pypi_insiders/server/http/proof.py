"""Test the limits of clients before the server starts."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from types import FunctionType
from typing import Any, TypeVar

from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser
from waitress.receiver import ChunkedReceiver
from waitress.server import BaseWSGIServer
from waitress.task import ErrorTask, ThreadedTaskDispatcher, WSGITask
from waitress.trigger import trigger
from waitress.wasyncore import dispatcher

from pypi_insiders.server.http.clients import Clients
from pypi_insiders.server.http.connection import ConnectionState
from pypi_insiders.server.http.limits import Limits
from pypi_insiders.util.errors import InsidersError

# The members of waitress that the server reads, sets, calls or overrides, by class. None of them
# is documented, so a patch release may rename them.
MEMBERS = {
    Adjustments: "max_request_body_size max_request_header_size outbuf_high_watermark",
    BaseWSGIServer: "accepting asyncore channel_class task_dispatcher",
    ThreadedTaskDispatcher: "add_task set_thread_count shutdown",
    HTTPChannel: "addr adj cancel close_when_flushed connected error_task_class handle_close"
    " handle_read outbuf_lock parser_class received request requests sendbuf_len task_class"
    " total_outbufs_len will_close writable",
    dispatcher: "accept close handle_expt readable send socket",
    HTTPRequestParser: "body_bytes_received body_rcv chunked command completed error"
    " expect_continue header_plus headers headers_finished parse_header path received"
    " request_uri version",
    ChunkedReceiver: "chunk_remainder control_line trailer",
    WSGITask: "build_response_header channel close_on_finish complete content_length execute finish"
    " request response_headers service set_close_on_finish start status write wrote_header",
    ErrorTask: "service",
    trigger: "pull_trigger",
}

_PATIENCE_S = 5.0
_Seen = TypeVar("_Seen")


class _NotInForceError(Exception):
    """A limit has no effect."""


def demand_limits(make_server: Callable[[list[socket.socket], dict[int, Any]], Any]) -> None:
    """Test the limits with a temporary server for this process only.

    Args:
        make_server: creates a waitress server on listening sockets, with a map of its own.

    Raises:
        InsidersError: a limit has no effect.
    """
    # The limits are implemented with internals of waitress: with another version they could be
    # ignored silently.
    try:
        _expect_members()
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("")  # a unique name. Source: unix(7), "Autobind feature"
            channels: dict[int, Any] = {}
            server = make_server([listener], channels)
            try:
                _try(server, channels, str(listener.getsockname(), "ascii"))
            finally:
                server.task_dispatcher.shutdown()
                for channel in list(channels.values()):
                    channel.close()
    except (_NotInForceError, AttributeError, TypeError) as error:
        raise InsidersError(
            f"limits of clients have no effect with waitress {version('waitress')}: {error}",
            "reinstall pypi-insiders with the required version of waitress",
        ) from error


def _expect_members() -> None:
    for kind, names in MEMBERS.items():
        known = {name for base in kind.__mro__ for name in _names(base)}
        missing = set(names.split()) - known
        _expect(not missing, f"{kind.__name__} has no {', '.join(sorted(missing))}")


def _names(kind: type) -> Iterator[str]:
    """Yield the members of a class, and the names that its methods use."""
    yield from vars(kind)
    # Attributes that only methods set are not in the class, but in the names of their code.
    for member in vars(kind).values():
        if isinstance(member, FunctionType):
            yield from member.__code__.co_names


def _try(server: Any, channels: dict[int, Any], address: str) -> None:
    # With limits of 0 s, so that the test does not have to wait.
    clients = Clients(channels, Limits(header_s=0, idle_s=0), is_logged=False)

    def turn() -> None:
        server.asyncore.loop(timeout=0.01, map=channels, count=1, use_poll=True)

    with _connected(address) as client:
        clients.admit()
        (connection,) = _wait(turn, clients.all, "connections are not its own")
        client.send(b"GET / HTTP/1.1\r\n")
        _wait(
            turn, lambda: connection.state is ConnectionState.HEADER, "no request is seen to begin"
        )
        clients.dismiss_slow()
        _expect(not clients.all() and client.recv(1) == b"", "slow clients stay")
    with _connected(address) as client:
        _wait(turn, clients.all, "connections are not its own")
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")  # which waitress takes
        client.setblocking(False)
        _wait(turn, lambda: _received(client).startswith(b"HTTP/1.1 400 "), "no request is refused")
    for other in clients.all():
        other.abort()
    clients.shut_out()
    with _connected(address):
        turn()
        _expect(not clients.all(), "any number of clients is admitted")


def _received(client: socket.socket) -> bytes:
    try:
        return client.recv(1024)
    except BlockingIOError:
        return b""


@contextmanager
def _connected(address: str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(_PATIENCE_S)
        client.connect(address)
        yield client


def _wait(turn: Callable[[], None], look: Callable[[], _Seen], what: str) -> _Seen:
    """Run the server until `look` returns something true; return that."""
    deadline = time.monotonic() + _PATIENCE_S
    while not (seen := look()):
        _expect(time.monotonic() < deadline, what)
        turn()
    return seen


def _expect(is_so: bool, what: str) -> None:
    if not is_so:
        raise _NotInForceError(what)
