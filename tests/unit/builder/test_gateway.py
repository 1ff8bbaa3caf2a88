"""gateway: which requests of builds are handed on."""

import socket
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
