"""server: what systemd is told, and when the service ends by itself."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

import pytest

_PROGRAM = """
import sys, threading
from pypi_insiders.server import http
from pypi_insiders.systemd import sockets
never = threading.Event()

def app(environ, start_response):
    if environ["PATH_INFO"] == "/hang":
        never.wait()
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]

listening = sockets.bind_host("127.0.0.1", 0)
http.serve(
    app, listening, lambda: print(listening[0].getsockname()[1], flush=True),
    status=lambda: "all is well", idle_timeout_s=float(sys.argv[1]),
)
"""


class Manager:
    """What systemd would read of a service's notifications."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))

    def read(self, timeout_s: float) -> list[str] | None:
        """Read one notification; `None` if there is none in time."""
        self._socket.settimeout(timeout_s)
        try:
            return self._socket.recv(4096).decode().splitlines()
        except TimeoutError:
            return None


@contextmanager
def serving(
    directory: Path, *, idle_timeout_s: float = 0, watchdog_s: float = 0
) -> Iterator[tuple["subprocess.Popen[str]", Manager, int]]:
    """Run a server whose path /hang hangs; give the process, its manager and its port."""
    manager = Manager(directory / "notify")
    # `exec` keeps the process ID, which systemd writes down too.
    script = 'WATCHDOG_PID=$$ exec "$@"'
    process = subprocess.Popen(
        ["sh", "-c", script, "sh", sys.executable, "-c", _PROGRAM, str(idle_timeout_s)],
        env={
            **os.environ,
            "NOTIFY_SOCKET": str(directory / "notify"),
            "WATCHDOG_USEC": str(int(watchdog_s * 1e6)) if watchdog_s else "",
        },
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout
        yield process, manager, int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()


def ask(port: int, path: str = "/") -> None:
    """Send a request, and read the answer if there is one."""
    connection = HTTPConnection("127.0.0.1", port, timeout=50)
    connection.request("GET", path)
    if path != "/hang":
        assert connection.getresponse().read() == b"ok"


def test_systemd_is_told_the_beginning_the_state_and_the_end(tmp_path: Path) -> None:
    """READY=1 comes when requests are answered, with the status; STOPPING=1 before the end."""
    with serving(tmp_path) as (process, manager, port):
        assert manager.read(60) == ["READY=1", "STATUS=all is well"]
        ask(port)
        process.terminate()
        while (told := manager.read(60)) != ["STOPPING=1"]:
            assert told is not None
        assert process.wait(60) == 0


def test_the_watchdog_is_answered_while_requests_are_served_and_not_when_all_hang(
    tmp_path: Path,
) -> None:
    """A loop that turns is not enough: some thread must be free to serve."""
    with serving(tmp_path, watchdog_s=0.6) as (_, manager, port):
        assert manager.read(60) == ["READY=1", "STATUS=all is well"]
        for _ in range(3):
            assert manager.read(5) == ["WATCHDOG=1"]
        hanging = [
            threading.Thread(target=ask, args=(port, "/hang"), daemon=True) for _ in range(4)
        ]
        for thread in hanging:
            thread.start()
        while manager.read(3) is not None:  # what was said before the last one hung
            pass
        assert manager.read(1) is None


def test_an_idle_server_ends_and_one_that_is_asked_does_not(tmp_path: Path) -> None:
    """The time counts from the last request; the exit status is 0."""
    with serving(tmp_path, idle_timeout_s=1) as (process, _, port):
        ask(port)
        assert process.wait(60) == 0
    (tmp_path / "notify").unlink()
    with serving(tmp_path, idle_timeout_s=0) as (process, _, port):
        ask(port)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(2)
