"""gateway: which requests of builds are handed on."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pypi_insiders.builder import gateway


def lead_to_proxy(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """Name a proxy of this machine in the environment."""
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, url)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)


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
        lead_to_proxy(monkeypatch, f"http://me:secret@127.0.0.1:{port}")
        place = tmp_path / "gateway"
        rest = b" http://192.0.2.7/ HTTP/1.1\r\nHost: 192.0.2.7\r\nMax-Forwards: 0\r\n\r\n"
        with gateway.opened(place):
            refused = ask(place, method.encode() + rest)
            assert refused.startswith(b"HTTP/1.1 501 Not Implemented\r\n")
            assert refused.endswith(b"\r\n\r\nbuilds may only use CONNECT, GET, HEAD, POST\n")
            proxy.setblocking(False)
            with pytest.raises(BlockingIOError):
                proxy.accept()


@pytest.mark.parametrize(
    ("address", "is_own"),
    [
        ("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("0.0.0.0", True), ("::", True),
        ("::ffff:127.0.0.1", True), ("::ffff:0.0.0.0", True), ("169.254.7.7", True),
        ("fe80::7%1", True), ("224.0.0.1", True), ("ff02::1", True), ("192.0.2.7", False),
        ("2001:db8::7", False), ("::ffff:192.0.2.7", False),
    ],
)  # fmt: skip
def test_addresses_of_this_machine_are_told_from_others(address: str, is_own: bool) -> None:
    """However they are spelled."""
    assert gateway.is_own(address) is is_own


@pytest.mark.parametrize("request_", ["CONNECT 127.0.0.1:{0}", "GET http://localhost:{0}/x"])
def test_no_build_reaches_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request_: str
) -> None:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with socket.create_server(("127.0.0.1", 0)) as server:
        line = request_.format(server.getsockname()[1])
        place = tmp_path / "gateway"
        with gateway.opened(place):
            refused = ask(place, f"{line} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert refused.startswith(b"HTTP/1.1 403 Forbidden\r\n")
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.accept()


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
        lead_to_proxy(monkeypatch, f"http://me:secret@127.0.0.1:{server.getsockname()[1]}")
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
    other = b"Host: localhost\r\nhOST:localhost\r\n"
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
    assert answer.endswith(b"cannot resolve host.invalid\n")
    assert heard == []


def _keep_alive(server: socket.socket, found: list[bytes], answer: bytes) -> None:
    """Answer every request on every connection of a proxy that closes none."""

    def attend(client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            received = b""
            while part := client.recv(4096):
                received += part
                while b"\r\n\r\n" in received:
                    header, _, received = received.partition(b"\r\n\r\n")
                    found.append(header)
                    client.sendall(answer)

    with contextlib.ExitStack() as stack:
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            stack.callback(client.close)
            thread = threading.Thread(target=attend, args=(client,), daemon=True)
            thread.start()


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bytes]]:
    """Run a proxy that refuses all, and waits for another request; give the headers it gets."""
    found: list[bytes] = []
    refusal = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno"
    with socket.create_server(("127.0.0.1", 0)) as server:
        serving = threading.Thread(target=_keep_alive, args=(server, found, refusal))
        serving.start()
        lead_to_proxy(monkeypatch, f"http://127.0.0.1:{server.getsockname()[1]}")
        yield found
        server.shutdown(socket.SHUT_RDWR)
        serving.join()


_SECOND = b"GET http://127.0.0.1:31411/simple/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
_PLAIN = b"Host: 192.0.2.7\r\n\r\n"


@pytest.mark.parametrize(
    ("first", "status"),
    [
        (b"CONNECT 192.0.2.7:443 HTTP/1.1\r\n" + _PLAIN, b"502 Bad Gateway"),
        (b"GET http://192.0.2.7/ HTTP/1.1\r\n" + _PLAIN, b"403 Forbidden"),
        (b"HEAD http://192.0.2.7/ HTTP/1.0\r\n" + _PLAIN, b"403 Forbidden"),
        (
            b"POST http://192.0.2.7/ HTTP/1.1\r\nContent-Length: 4\r\n" + _PLAIN + b"body",
            b"403 Forbidden",
        ),
    ],
)
@pytest.mark.parametrize("is_split", [True, False])
def test_a_proxy_gets_one_request_on_a_connection(
    tmp_path: Path, patient: list[bytes], first: bytes, status: bytes, is_split: bool
) -> None:
    """It answers the next one as well, for which nobody has looked where it leads."""
    place = tmp_path / "gateway"
    with gateway.opened(place), socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(place))
        client.sendall(first if is_split else first + _SECOND)
        assert client.recv(4096).startswith(b"HTTP/1.1 " + status)
        if is_split:
            with contextlib.suppress(OSError):
                client.sendall(_SECOND)
        # By the end of the gateway, all that it hands on has been handed on.
        client.shutdown(socket.SHUT_WR)
    assert [it.partition(b" ")[0] for it in patient] == [first.partition(b" ")[0]]


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (b"X: y\n\n" + _SECOND[:-4], b"400 Bad Request"),
        (b"X: y\r\r" + _SECOND[:-4], b"400 Bad Request"),
        (b"X: y\r\n folded", b"400 Bad Request"),
        (b"Host : localhost", b"400 Bad Request"),
        (b"X: \0", b"400 Bad Request"),
        (b"none", b"400 Bad Request"),
        (b"Transfer-Encoding: chunked", b"411 Length Required"),
        (b"Content-Length: 1\r\nContent-Length: 2", b"400 Bad Request"),
        (b"Content-Length: +1", b"400 Bad Request"),
        (b"Content-Length: 1, 1", b"400 Bad Request"),
    ],
)
def test_a_header_is_read_in_one_way(
    tmp_path: Path, patient: list[bytes], lines: bytes, status: bytes
) -> None:
    """What others could take for the end of a request, or of its header, is not handed on."""
    place = tmp_path / "gateway"
    with gateway.opened(place):
        answer = ask(place, b"POST http://192.0.2.7/ HTTP/1.1\r\n" + lines + b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 " + status + b"\r\n")
    assert patient == []
