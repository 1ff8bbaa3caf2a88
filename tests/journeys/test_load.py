"""The load generator of the benchmark counts only what is as it was at first."""

import json
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, repeat

import pytest
from fixtures import ROOT

LOAD = ROOT / "tests/support/load.py"
GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
LAST = b"HTTP/1.0 200 OK\r\n\r\nhello"
WRONG = {
    "status": b"HTTP/1.1 500 No\r\nContent-Length: 5\r\n\r\nhello",
    "longer": b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello!",
    "closed": b"",
}


@contextmanager
def answering(answers: Iterator[bytes]) -> Iterator[str]:
    """Serve these answers one after the other, whoever asks."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while self.rfile.readline():
                while self.rfile.readline().strip():
                    pass
                answer = next(answers)
                self.wfile.write(answer)
                if answer in (LAST, b""):
                    return

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()


def generate(url: str) -> subprocess.CompletedProcess[str]:
    """Run the generator for a short time."""
    argv = [sys.executable, str(LOAD), url, "--connections", "2", "--seconds", "0.2"]
    return subprocess.run(argv, capture_output=True, text=True)


@pytest.mark.parametrize("answer", [GOOD, LAST], ids=["kept", "closed"])
def test_equal_answers_are_counted(answer: bytes) -> None:
    """Also where each has a connection of its own."""
    with answering(repeat(answer)) as url:
        done = generate(url)
    assert done.returncode == 0, done.stderr
    counted = json.loads(done.stdout)
    assert counted["requests"] > 10
    assert counted["per_second"] == pytest.approx(counted["requests"] / counted["seconds"])


@pytest.mark.parametrize("wrong", WRONG)
def test_another_answer_ends_the_run(wrong: str) -> None:
    """However it differs."""
    with answering(chain(repeat(GOOD, 10), [WRONG[wrong]], repeat(GOOD))) as url:
        done = generate(url)
    assert done.returncode == 1
    assert "instead of" in done.stderr


def test_what_is_no_success_at_first_is_not_measured() -> None:
    """A redirect, say."""
    answer = b"HTTP/1.1 303 See Other\r\nContent-Length: 0\r\n\r\n"
    with answering(repeat(answer)) as url:
        done = generate(url)
    assert done.returncode == 1
    assert "303" in done.stderr
