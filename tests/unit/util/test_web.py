"""Requests to web servers, with a real one."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.error import HTTPError
from urllib.request import Request

import pytest

from pypi_insiders import __version__
from pypi_insiders.util.web import NoAnswerError, answer_to


@contextmanager
def answering(answer: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """Give every client the same bytes; yield the URL, and what the clients sent."""
    received: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            client, _ = server.accept()
            with client:
                received.append(client.recv(65536))
                client.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}/page", received
        finally:
            thread.join(60)


@pytest.mark.parametrize("status", ["200 OK", "304 Not Modified", "404 Not Found", "503 Down"])
def test_every_status_is_an_answer(status: str) -> None:
    """With the program's name in the request, so that its owner can be asked about it."""
    with (
        answering(f"HTTP/1.0 {status}\r\n\r\n".encode()) as (url, received),
        answer_to(Request(url), 10) as answer,
    ):
        is_error = not status.startswith("200")
        assert (answer.status, isinstance(answer, HTTPError)) == (int(status[:3]), is_error)
    assert f"\r\nUser-Agent: pypi-insiders/{__version__}\r\n".encode() in received[0]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"", "Remote end closed connection without response"),
        (b"SSH-2.0-x\r\n", "SSH-2.0-x\r\n"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf",
            "IncompleteRead(4 bytes read, 5 more expected)",
        ),
    ],
)
def test_what_is_no_answer_says_why(answer: bytes, message: str) -> None:
    """Also where it breaks off while it is read."""
    with (
        answering(answer) as (url, _),
        pytest.raises(NoAnswerError) as caught,
        answer_to(Request(url), 10) as found,
    ):
        found.read()
    assert str(caught.value) == message


def test_the_cause_is_what_urllib_wraps() -> None:
    """A certificate, for example, says more than the text of `URLError`."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(NoAnswerError) as caught, answer_to(Request(f"http://127.0.0.1:{port}"), 10):
        raise AssertionError
    assert isinstance(caught.value.cause, ConnectionRefusedError)
    assert str(caught.value) == "Connection refused"
    assert not isinstance(caught.value.cause, ssl.SSLError)


@pytest.mark.parametrize(
    ("scheme", "start"),
    [
        ("http", b"HTTP/1.1 200 OK\r\nX: "),
        ("http", b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n"),
        ("http", b"HTTP/1.1 200 OK\r\n\r\n"),
        ("http", b"HTTP/1.1 404 Not Found\r\n\r\n"),
        ("https", b"\x16\x03\x03\x3f\xff"),
    ],
)
def test_a_server_that_sends_a_byte_at_a_time_is_left(scheme: str, start: bytes) -> None:
    """In its headers, its answer or the handshake of TLS: no single read takes long."""
    left, pause = list[bool](), threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            client, _ = server.accept()
            with client, suppress(OSError):
                client.sendall(start)
                # No end that a client would wait for.
                for _ in range(60_000):
                    client.sendall(b"x")
                    pause.wait(0.001)
                left.append(False)
            left.append(True)

        thread = threading.Thread(target=serve)
        thread.start()
        url = f"{scheme}://127.0.0.1:{server.getsockname()[1]}/page"
        with (
            pytest.raises(NoAnswerError) as caught,
            answer_to(Request(url), 10, total_s=0.2) as answer,
        ):
            answer.read()
        thread.join(90)
    assert (str(caught.value), left) == ("timed out after 0.2 s", [True])
