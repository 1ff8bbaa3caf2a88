"""public_versions: an index that does not answer, or refuses."""

import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pypi_insiders.remote_index import public_versions

NAMES = [f"p-{number}" for number in range(50)]


class _Index(socketserver.ThreadingTCPServer):
    """An index that sends the same to each client.

    Args:
        answer: all of it; empty: it closes the connection.
    """

    daemon_threads = True

    def __init__(self, answer: bytes) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer = answer
        self.asked: list[bytes] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}/simple/"


class _Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        """Read the request line, and send the answer."""
        assert isinstance(self.server, _Index)
        self.server.asked.append(self.rfile.readline())
        while self.rfile.readline() not in (b"\r\n", b""):
            pass
        self.wfile.write(self.server.answer)


@pytest.fixture
def index(request: pytest.FixtureRequest) -> Iterator[_Index]:
    with _Index(request.param) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


SILENT = b""
REFUSING = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
EMPTY = b'HTTP/1.1 200 OK\r\nContent-Length: 12\r\nConnection: close\r\n\r\n{"files":[]}'


@pytest.mark.parametrize("index", [SILENT], indirect=True)
def test_a_silent_index_is_not_asked_for_each_of_many_projects(
    index: _Index, tmp_path: Path
) -> None:
    """Each would wait for its timeout, and with them all the update, and the next ones."""
    public_versions.look_up(tmp_path, index.url, NAMES)
    assert 8 <= len(index.asked) < 16
    assert public_versions.existing(index.url, NAMES) == set()
    assert len(index.asked) < 32


@pytest.mark.parametrize("index", [REFUSING], indirect=True)
def test_a_refusal_is_an_answer(index: _Index, tmp_path: Path) -> None:
    """An index that does not show some names may show the next one."""
    public_versions.look_up(tmp_path, index.url, NAMES)
    assert len(index.asked) == len(NAMES)


@pytest.mark.parametrize("index", [EMPTY], indirect=True)
def test_projects_without_files_exist(index: _Index) -> None:
    """Their owners can publish at any time."""
    assert public_versions.existing(index.url, NAMES[:3]) == set(NAMES[:3])
