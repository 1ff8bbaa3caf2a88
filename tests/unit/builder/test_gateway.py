"""gateway: which requests of builds are handed on."""

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pypi_insiders.builder import gateway


def ask(place: Path, request: bytes) -> bytes:
    """Send a request; return the beginning of the answer, which is nothing where the end comes."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(5)
        client.connect(str(place))
        client.sendall(request)
        return client.recv(4096)


@pytest.mark.parametrize("method", ["TRACE", "OPTIONS", "PUT", "DELETE", "PATCH", "PROPFIND"])
def test_no_method_is_handed_on_that_builds_do_not_need(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """TRACE would come back with the password of the proxy in it. Source: RFC 9110, 9.3.8."""
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        port = proxy.getsockname()[1]
        for name in ("http_proxy", "https_proxy"):
            monkeypatch.setenv(name, f"http://me:secret@127.0.0.1:{port}")
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        place = tmp_path / "gateway"
        rest = b" http://192.0.2.7/ HTTP/1.1\r\nHost: 192.0.2.7\r\nMax-Forwards: 0\r\n\r\n"
        with gateway.opened(place):
            refused = ask(place, method.encode() + rest)
            assert refused.startswith(b"HTTP/1.1 501 Not Implemented\r\n")
            assert refused.endswith(
                b"\r\n\r\nbuilds may use CONNECT, GET, HEAD, POST and no other\n"
            )
            proxy.setblocking(False)
            with pytest.raises(BlockingIOError):
                proxy.accept()


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bytes]]:
    """Run a proxy on this machine that the environment names; give the headers that it gets."""
    found: list[bytes] = []

    def serve() -> None:
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            with client:
                found.append(client.recv(4096))
                client.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as server:
        serving = threading.Thread(target=serve)
        serving.start()
        for name in ("http_proxy", "https_proxy"):
            monkeypatch.setenv(name, f"http://me:secret@127.0.0.1:{server.getsockname()[1]}")
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        yield found
        server.shutdown(socket.SHUT_RDWR)
        serving.join()


_NAME = b"0xc0000207"  # a name for 192.0.2.7, and no DNS has to be asked


@pytest.mark.parametrize(
    ("request_", "line", "host"),
    [
        (b"CONNECT %s:443", b"CONNECT 192.0.2.7:443 HTTP/1.1", b"Host: 0xc0000207:443"),
        (b"GET http://%s/x?y", b"GET http://192.0.2.7:80/x?y HTTP/1.1", b"Host: 0xc0000207:80"),
        (b"POST http://%s:81", b"POST http://192.0.2.7:81/ HTTP/1.1", b"Host: 0xc0000207:81"),
    ],
)
def test_a_proxy_on_this_machine_resolves_no_name(
    tmp_path: Path, heard: list[bytes], request_: bytes, line: bytes, host: bytes
) -> None:
    """Asked again, DNS could name this machine: what was looked at is what is handed on."""
    place = tmp_path / "gateway"
    first = request_ % _NAME
    other = b"Host: localhost\r\nhOST : localhost\r\n"
    with gateway.opened(place):
        answer = ask(place, first + b" HTTP/1.1\r\n" + other + b"Accept: */*\r\n\r\n")
    assert answer == b"HTTP/1.1 204 No Content\r\n\r\n"
    (header,) = heard
    lines = header.split(b"\r\n")
    assert lines[0] == line
    assert [it for it in lines if it.lower().startswith(b"host")] == [host]
    assert b"Proxy-Authorization: Basic bWU6c2VjcmV0" in lines
    assert b"Accept: */*" in lines


def test_a_proxy_on_this_machine_is_asked_for_no_name_that_we_cannot_look_at(
    tmp_path: Path, heard: list[bytes]
) -> None:
    """It may know more names than we do, and some may be ours."""
    place = tmp_path / "gateway"
    with gateway.opened(place):
        answer = ask(place, b"CONNECT host.invalid:443 HTTP/1.1\r\nHost: host.invalid\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 502 Bad Gateway\r\n")
    assert answer.endswith(b"the name host.invalid cannot be resolved\n")
    assert heard == []
