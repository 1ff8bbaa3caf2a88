"""index_check: whatever listens at the address of the index, the answer is one line."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from pypi_insiders.reporting import index_check
from pypi_insiders.reporting.directory import Files

Answering = Callable[[bytes], str]


@pytest.fixture
def answering() -> Iterator[Answering]:
    """Return a function that lets something give one answer, and returns its URL."""
    threads, listeners = list[threading.Thread](), list[socket.socket]()

    def answer(listener: socket.socket, text: bytes) -> None:
        with closing(listener.accept()[0]) as client:
            client.recv(65536)
            client.sendall(text)

    def begin(text: bytes) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)
        threads.append(threading.Thread(target=answer, args=(listener, text)))
        threads[-1].start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

    yield begin
    for thread in threads:
        thread.join()
    for listener in listeners:
        listener.close()


def test_nothing_listens() -> None:
    """That the connection is refused is said in the words of the system."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    found = index_check.fetch(url, Files())
    refused = f"no answer at {url}/simple/ (Connection refused)"
    assert found == index_check.Fetched(url, error=refused, is_refused=True)
    assert not index_check.is_index(url)


@pytest.mark.parametrize("url", ["http://127.0.0.1:99999", "http://", "http://ä.invalid"])
def test_an_address_that_is_none(url: str) -> None:
    """Such as a port that cannot be."""
    found = index_check.fetch(url, Files())
    assert found.error is not None
    assert found.error.startswith(f"no answer at {url}/simple/ (")
    assert not index_check.is_index(url)


@pytest.mark.parametrize("text", [b"SSH-2.0-OpenSSH_9.2\r\n", b"", b"HTTP/1.1 2\r\n\r\n"])
def test_what_is_no_http(answering: Answering, text: bytes) -> None:
    """An ssh server, for example."""
    url = answering(text)
    found = index_check.fetch(url, Files())
    assert found.error is not None
    assert found.error.startswith(f"no answer at {url}/simple/ (")
    assert "\n" not in found.error
    assert not found.is_answering
    assert not index_check.is_index(answering(text))


def test_another_program(answering: Answering) -> None:
    """Its status is named."""
    url = answering(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
    found = index_check.fetch(url, Files())
    expected = index_check.Fetched(
        url, is_answering=True, error=f"{url} belongs to another program (404)"
    )
    assert found == expected


class _Pypiserver(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write(b"Ok" if self.path == "/health" else b"<html>")


def test_another_index_with_the_same_health_check() -> None:
    """Such as pypiserver, which has no page in JSON."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Pypiserver) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}"
        found = index_check.fetch(url, Files())
        server.shutdown()
        thread.join()
    assert found.error == (
        f"{url}/simple/ cannot be fetched: it is no JSON, but text/html: another program may answer"
    )
