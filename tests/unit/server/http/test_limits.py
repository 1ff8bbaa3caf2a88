"""server: clients that are hostile, slow or many, on real sockets."""

import json
import os
import select
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

_PROGRAM = """
import json, resource, sys, tempfile, threading, time, tracemalloc
from pypi_insiders.server import http
from pypi_insiders.systemd import sockets
from pypi_insiders.util import log

options = json.loads(sys.argv[1])
if files := options.pop("files"):
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
log.setup(options.pop("verbosity"))
large = tempfile.NamedTemporaryFile()
large.truncate(64 * 1024 * 1024)
small = tempfile.NamedTemporaryFile()
small.truncate(20_000)

def app(environ, start_response):
    path = environ["PATH_INFO"]
    assert path.startswith(("/", "*")), path
    if path == "/raise":
        raise RuntimeError("a detail")
    if path == "/unreadable":
        raise PermissionError("a detail")
    if path in ("/large", "/small"):
        file = open({"/large": large, "/small": small}[path].name, "rb")
        start_response("200 OK", [])
        return environ["wsgi.file_wrapper"](file)
    if path in ("/measure", "/peak"):
        measured = [str(tracemalloc.get_traced_memory()[1]).encode()]
        (tracemalloc.start if path == "/measure" else tracemalloc.stop)()
        start_response("200 OK", [("Content-Length", str(len(measured[0])))])
        return measured
    if path == "/break":
        return broken(start_response)
    if path == "/slowly":
        return slow(start_response)
    body = environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Length", "2")])
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [b"ok"]

def broken(start_response):
    start_response("200 OK", [("Content-Length", "2")])
    yield b"o"
    raise RuntimeError("a detail")

def slow(start_response):
    start_response("200 OK", [])
    yield b"processor time of a second:"
    before_s = time.process_time()
    threading.Event().wait(1)
    yield f"{time.process_time() - before_s}".encode()

listening = sockets.bind_host("127.0.0.1", 0)
http.serve(
    app, listening, lambda: print(listening[0].getsockname()[1], flush=True),
    status=lambda: "",
    idle_timeout_s=options.pop("idle_timeout_s"), max_body_bytes=options.pop("max_body_bytes"),
    limits=http.Limits(**options),
)
"""

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
GET_LARGE = b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: x\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
SMALL = 20_000


@dataclass(frozen=True)
class Server:
    process: "subprocess.Popen[bytes]"
    port: int

    def connect(self, receive_buffer_bytes: int = 0) -> socket.socket:
        connection = socket.socket()
        connection.settimeout(60)
        if receive_buffer_bytes:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        connection.connect(("127.0.0.1", self.port))
        return connection

    def ask(self, request: bytes = GET) -> bytes:
        """Send a request on a connection of its own; return all that comes until it ends."""
        with self.connect() as connection:
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
            return read_all(connection)

    def line(self) -> str:
        """Read the next line of its log."""
        assert self.process.stderr
        return self.process.stderr.readline().decode()

    def end(self) -> str:
        """Stop it; return what it has written to its log."""
        self.process.terminate()
        _, log = self.process.communicate(timeout=100)
        assert self.process.returncode == 0
        return log.decode()


@contextmanager
def serving(
    *,
    verbosity: int = 0,
    idle_timeout_s: float = 0,
    max_body_bytes: int = 64 * 1024,
    files: int = 0,
    **limits: float,
) -> Iterator[Server]:
    """Run a server; limits that are not given are the defaults, which are too long for a test."""
    options = {
        "verbosity": verbosity,
        "idle_timeout_s": idle_timeout_s,
        "max_body_bytes": max_body_bytes,
        "files": files,
        **limits,
    }
    with subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, json.dumps(options)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout
        try:
            yield Server(process, int(process.stdout.readline()))
        finally:
            process.kill()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server with the default limits; whatever was sent to it, it has nothing to log."""
    with serving() as server:
        yield server
        assert server.end() == ""


def read_all(connection: socket.socket) -> bytes:
    """Read until the connection ends, well or not."""
    received = bytearray()
    with suppress(ConnectionError):
        while data := connection.recv(65536):
            received += data
    return bytes(received)


def read_answer(connection: socket.socket) -> bytes:
    """Read one short answer on a connection that stays open."""
    received = b""
    while not received.endswith(b"\r\n\r\nok"):
        data = connection.recv(65536)
        assert data, received
        received += data
    return received


def is_quiet(connection: socket.socket, seconds: float) -> bool:
    """Wait for data or the end, at most so long; tell whether there was neither."""
    return not select.select([connection], [], [], seconds)[0]


def trickle(connection: socket.socket, data: bytes, *, pause_s: float = 0.05) -> bool:
    """Send byte after byte, with pauses; tell whether the other side has closed meanwhile."""
    for byte in data:
        if not is_quiet(connection, pause_s):
            return read_all(connection) == b""
        connection.sendall(bytes([byte]))
    return not is_quiet(connection, pause_s) and read_all(connection) == b""


def is_cut_off(connection: socket.socket) -> bool:
    """Wait for the connection's end, without reading what has come; at most 20 s."""
    poll = select.poll()
    poll.register(connection, select.POLLHUP)
    return bool(poll.poll(20_000))


def status(answer: bytes) -> int:
    """Tell the status of an answer, after which the connection has ended."""
    first, _, _ = answer.partition(b"\r\n")
    assert first.startswith(b"HTTP/1."), answer
    return int(first.split()[1])


# What is refused


@pytest.mark.parametrize(
    "request_line",
    [
        b"hello",
        b"GET",
        b"GET /",  # HTTP/0.9
        b"get / HTTP/1.1",
        b"GET  / HTTP/1.1",
        b"\x00GET / HTTP/1.1",
        b" GET / HTTP/1.1",
        b"G\xc3\x89T / HTTP/1.1",
        b"GET / HTTP/1.10",
        b"GET / HTTP/2.0",
        b"GET / http/1.1",
        b"PRI * HTTP/2.0",
        b"GET * HTTP/1.1",
        b"GET name HTTP/1.1",
        b"GET ?query HTTP/1.1",
        b"GET ftp://x/ HTTP/1.1",
        b"GET http://[::1/ HTTP/1.1",
        b"GET http://[x]/ HTTP/1.1",
        b"GET /\x00 HTTP/1.1",
        b"GET /%00 HTTP/1.1",
        b"GET /\xc3\xa9 HTTP/1.1",
        b"GET //\xff HTTP/1.1",
        b"CONNECT x:443 HTTP/1.1",
    ],
    ids=repr,
)
def test_what_is_no_request_line_is_refused(server: Server, request_line: bytes) -> None:
    assert status(server.ask(request_line + b"\r\nHost: x\r\n\r\n")) == 400


@pytest.mark.parametrize(
    "field",
    [
        b"no colon",
        b"Name : x",
        b": x",
        b"Na\x00me: x",
        b"N\xc3\xa4me: x",
        b"Name: a\x00b",
        b"Name: a\nOther: b",
        b"Name: a\rOther: b",
        b"Name: a\r\n folded",
        b"Content-Length: x",
        b"Content-Length: -1",
        b"Content-Length: +1",
        b"Content-Length: 1, 1",
        b"Content-Length: 1\r\nContent-Length: 1",
        b"Content-Length: " + b"1" * 5000,
        b"Content-Length: 1\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: gzip",
        b"Transfer-Encoding: identity",
        b"Transfer-Encoding: gzip, chunked",
        b"Expect: 100-continue\r\nContent-Length: x",
    ],
    ids=lambda field: repr(field[:40]),
)
def test_what_is_no_header_field_is_refused(server: Server, field: bytes) -> None:
    assert status(server.ask(POST + field + b"\r\n\r\n")) == 400


@pytest.mark.parametrize(
    "hosts",
    [b"", b"Host: a\r\nHost: b\r\n", b"Host: [\r\n", b"Host: [::g]\r\n", b"Host: [1:2]\r\n",
     b"Host: a b\r\n", b"Host: a/b\r\n", b"Host: a@b\r\n", b"Host: a:b\r\n", b"Host: a:65536\r\n",
     b"Host: \xe9\r\n"],
    ids=repr,
)  # fmt: skip
def test_what_is_no_host_is_refused(server: Server, hosts: bytes) -> None:
    assert status(server.ask(b"GET / HTTP/1.1\r\n" + hosts + b"\r\n")) == 400


@pytest.mark.parametrize("host", [b"", b"x", b"X-y_z.example:80", b"127.0.0.1:", b"[::1]:31411"])
def test_what_is_a_host_is_answered(server: Server, host: bytes) -> None:
    assert status(server.ask(b"GET / HTTP/1.1\r\nHost: " + host + b"\r\n\r\n")) == 200


def test_a_body_in_chunks_is_not_of_http_1_0(server: Server) -> None:
    """It would be taken for the next request."""
    fields = b"Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n"
    answers = server.ask(b"POST / HTTP/1.0\r\n" + fields + b"1b\r\n" + GET + b"\r\n0\r\n\r\n")
    assert (status(answers), answers.count(b"HTTP/1.")) == (400, 1)


@pytest.mark.parametrize(
    "chunks",
    [b"x\r\n", b"-1\r\n", b"\x00\r\n", b"5;\x00\r\n", b"1\r\nab\r\n", b"5;" + b"x" * 40_000,
     b"0\r\n" + b"x" * 40_000],
    ids=lambda chunks: repr(chunks[:20]),
)  # fmt: skip
def test_what_is_no_chunk_is_refused(server: Server, chunks: bytes) -> None:
    assert status(server.ask(CHUNKED + chunks)) == 400


@pytest.mark.parametrize(
    "beginning",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
        b"GET / HTTP/1.1\nHost: x\n\n",
        b"GET a://" + b"1" * 32_000 + b" x\r\n\r\n",
        b"GET http://" + b"1" * 32_000 + b" x\r\n\r\n",
        POST + b"A:" + b" " * 32_000 + b"x\r\n\r\n",
        POST + b"A:" + b"\t \r\n " * 6_000 + b"x\r\n\r\n",
    ],
    ids=lambda beginning: repr(beginning[:20]),
)
def test_it_is_refused_at_once(server: Server, beginning: bytes) -> None:
    """Neither is there more to wait for, nor does it take long to see that."""
    with server.connect() as connection:
        connection.settimeout(2)
        connection.sendall(beginning)
        assert status(connection.recv(1000)) == 400


@pytest.mark.parametrize(
    "request_",
    [
        b"GET / HTTP/1.0\r\n\r\n",
        b"\r\n\r\n" + GET,
        b"GET http://example.org/ HTTP/1.1\r\nHost: example.org\r\n\r\n",
        b"GET http://example.org HTTP/1.1\r\nHost: example.org\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /%01%ff%zz% HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nOther: \xc3\xa9\r\nEmpty:\r\nMany: a   b\t\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A:\r\n" * 8_000 + b"\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nExpect: something\r\n\r\n",
        POST + b"Content-Length: 65536\r\n\r\n" + bytes(65536),
        CHUNKED + b"5;name=value\r\nhello\r\n0\r\nTrailer: x\r\n\r\n",
    ],
    ids=lambda request: repr(request[:40]),
)
def test_what_is_a_request_is_answered(server: Server, request_: bytes) -> None:
    assert status(server.ask(request_)) == 200


def test_a_body_is_asked_for(server: Server) -> None:
    with server.connect() as connection:
        connection.sendall(POST + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert connection.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"hi")
        assert status(read_answer(connection)) == 200


@pytest.mark.parametrize(
    "header",
    [
        b"GET /" + b"a" * 32 * 1024 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nName: " + b"a" * 32 * 1024 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"Name: a\r\n" * 4096 + b"\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nName: " + b"a" * 10_000_000,
    ],
    ids=("line", "field", "fields", "endless"),
)
def test_a_header_is_limited(server: Server, header: bytes) -> None:
    assert status(server.ask(header)) == 431


@pytest.mark.parametrize(
    "body",
    [
        b"Content-Length: 65537\r\n\r\n" + bytes(65537),
        b"Content-Length: 10000000\r\n\r\n" + bytes(10_000_000),
        b"Content-Length: " + b"1" * 20 + b"\r\n\r\n",
        b"Expect: 100-continue\r\nContent-Length: 65537\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n10001\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 40 + b"\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n" + (b"1000\r\n" + bytes(4096) + b"\r\n") * 16,
    ],
    ids=lambda body: repr(body[:40]),
)
def test_a_body_is_limited(server: Server, body: bytes) -> None:
    """The client can send all of it, and then reads the answer: it gets no reset before."""
    assert status(server.ask(POST + body)) == 413


def test_the_limit_of_bodies_can_be_raised() -> None:
    with serving(max_body_bytes=1_000_000) as server:
        body = b"Content-Length: %d\r\n\r\n"
        assert status(server.ask(POST + body % 1_000_000 + bytes(1_000_000))) == 200
        assert status(server.ask(POST + body % 1_000_001)) == 413


def test_who_was_refused_is_heard_out_for_a_while_only() -> None:
    with serving(linger_s=1) as server, server.connect() as connection:
        connection.sendall(b"hello\r\n\r\n")
        assert status(read_all(connection)) == 400
        poll = select.poll()
        poll.register(connection, select.POLLERR)
        heard_s = time.monotonic()
        while not poll.poll(50):
            connection.sendall(b"hello?")
        assert 0.9 < time.monotonic() - heard_s < 10


# What the log says


def test_a_client_that_is_gone_is_no_news(server: Server) -> None:
    """Refused, answered, or in the middle of a download; the timing is that of chance."""
    gone = struct.pack("ii", 1, 0)
    requests = [b"hello\r\n\r\n", POST + b"name\r\n\r\n", POST + b"Content-Length: 99999\r\n\r\n",
                GET, GET_LARGE]  # fmt: skip
    for number in range(5000):
        with server.connect() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, gone)
            connection.sendall(requests[number % len(requests)])
            if number % 3 == 0:
                connection.recv(1000)


def test_urgent_data_ends_the_connection(server: Server) -> None:
    """Nobody reads it: the loop would turn for ever, with a line in the log each time."""
    with server.connect() as connection:
        connection.send(b"!", socket.MSG_OOB)
        assert read_all(connection) == b""


@pytest.mark.parametrize("path", ["/raise", "/unreadable"])
def test_what_the_application_raises_is_logged_and_not_told(path: str) -> None:
    with serving() as server:
        answer = server.ask(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        log = server.end()
    assert (status(answer), b"detail" in answer) == (500, False)
    assert log.startswith(f"error: cannot answer GET {path}\nTraceback")
    assert log.endswith("Error: a detail\n")


def test_an_answer_that_breaks_off_is_seen_by_the_client() -> None:
    with serving() as server:
        answer = server.ask(b"GET /break HTTP/1.1\r\nHost: x\r\n\r\n")
        log = server.end()
    assert (b"Content-Length: 2\r\n" in answer, answer.endswith(b"\r\n\r\no")) == (True, True)
    assert log.endswith("RuntimeError: a detail\n")


@pytest.mark.parametrize(
    ("request_", "line"),
    [
        (GET, "GET / 200 2"),
        (b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n", "HEAD / 200 0"),
        (b"GET /small HTTP/1.0\r\n\r\n", f"GET /small 200 {SMALL}"),
        (b"GET /%0a%1b[1m?secret HTTP/1.0\r\nAuthorization: secret\r\n\r\n",
         "GET /%0a%1b[1m 200 2"),
        (b"GET http://secret@x/path?secret HTTP/1.1\r\nHost: x\r\n\r\n", "GET /path 200 2"),
        (b"GET http://secret@x HTTP/1.1\r\nHost: x\r\n\r\n", "GET / 200 2"),
        (b"GET /#secret HTTP/1.1\r\nHost: x\r\n\r\n", "GET / 200 2"),
        (b"GET /\\n" + b"a" * 1000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
         f"GET /\\\\n{'a' * 196} 200 2"),
        (b"A" * 1000 + b" / HTTP/1.1\r\nHost: x\r\n\r\n", f"{'A' * 20} / 200 2"),
        (b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", "OPTIONS * 200 2"),
    ],
    ids=lambda value: repr(value[:30]),
)  # fmt: skip
def test_each_answer_is_a_line_in_the_log(request_: bytes, line: str) -> None:
    with serving(verbosity=1) as server:
        server.ask(request_)
        assert server.line() == f"127.0.0.1 {line}\n"


@pytest.mark.parametrize(
    ("request_", "line"),
    [
        (b"GET /\x1b[1m HTTP/1.1\r\n\r\n", "- - 400 "),
        (POST + b"Content-Length: x\r\n\r\n", "POST / 400 "),
        (b"GET /" + b"a" * 40_000, "- - 431 "),
    ],
    ids=lambda value: repr(value[:30]),
)
def test_each_refusal_is_a_line_in_the_log(request_: bytes, line: str) -> None:
    with serving(verbosity=1) as server:
        server.ask(request_)
        assert server.line().startswith(f"127.0.0.1 {line}")


def test_a_failure_is_a_line_in_the_log_too() -> None:
    with serving(verbosity=1) as server:
        server.ask(b"GET /raise HTTP/1.1\r\nHost: x\r\n\r\n")
        assert server.end().splitlines()[-1].startswith("127.0.0.1 GET /raise 500 ")


# Who is slow


@pytest.mark.parametrize("first", [b"", GET], ids=("new", "kept alive"))
def test_a_header_that_trickles_in_is_not_waited_for(first: bytes) -> None:
    with serving(header_s=1) as server, server.connect() as connection:
        if first:
            connection.sendall(first)
            read_answer(connection)
        assert trickle(connection, GET[:-2] + b"A: " + b"a" * 200)


@pytest.mark.parametrize("data", [b"", b"\r\n" * 100], ids=("nothing", "blank lines"))
def test_a_client_that_asks_for_nothing_is_not_waited_for(data: bytes) -> None:
    with serving(header_s=1) as server, server.connect() as connection:
        assert trickle(connection, data) or read_all(connection) == b""


def test_a_client_that_asks_for_nothing_more_is_not_waited_for() -> None:
    """Blank lines before a request are allowed, but none."""
    with serving(idle_s=1) as server, ExitStack() as stack:
        silent, blank = (stack.enter_context(server.connect()) for _ in range(2))
        for connection in (silent, blank):
            connection.sendall(GET)
            read_answer(connection)
        assert trickle(blank, b"\r\n" * 100)
        assert read_all(silent) == b""


def test_a_client_that_asks_now_and_then_stays() -> None:
    """Ten requests take longer than may pass between two."""
    with serving(idle_s=2, header_s=2) as server, server.connect() as connection:
        for _ in range(10):
            connection.sendall(GET)
            read_answer(connection)
            assert is_quiet(connection, 0.25)


@pytest.mark.parametrize("begun", [b"", bytes(20_000)], ids=("slow", "slow after a while"))
def test_a_body_that_trickles_in_is_not_waited_for(begun: bytes) -> None:
    with serving(body_s=1, bytes_per_s=2000) as server, server.connect() as connection:
        connection.sendall(POST + b"Content-Length: 40000\r\n\r\n" + begun)
        assert trickle(connection, bytes(400))


def test_a_body_that_comes_steadily_is_taken() -> None:
    """It takes three times as long as one that does not come is waited for."""
    with serving(body_s=1, bytes_per_s=1000) as server, server.connect() as connection:
        connection.sendall(POST + b"Content-Length: 30000\r\n\r\n")
        for _ in range(30):
            connection.sendall(bytes(1000))
            is_quiet(connection, 0.1)
        assert status(read_answer(connection)) == 200


def test_a_client_that_does_not_read_is_not_waited_for() -> None:
    with serving(answer_s=1) as server, server.connect() as connection:
        connection.sendall(GET_LARGE)
        assert is_cut_off(connection)


def test_a_client_that_reads_slowly_is_served() -> None:
    """It takes three times as long as one that does not read is waited for."""
    with serving(answer_s=1, bytes_per_s=1000) as server, server.connect(4096) as connection:
        connection.sendall(GET_LARGE)
        received = 0
        for _ in range(60):
            received += len(connection.recv(4096))
            select.select([], [], [], 0.05)
        while received < 64 * 1024 * 1024:
            data = connection.recv(1024 * 1024)
            assert data
            received += len(data)


def test_an_answer_that_takes_long_takes_no_processor(server: Server) -> None:
    """While a thread is at it, the loop does not look again and again for what to send."""
    with server.connect() as connection:
        connection.sendall(b"GET /slowly HTTP/1.0\r\nHost: x\r\n\r\n")
        for _ in range(10):
            server.ask()  # which wakes it
        answer = read_all(connection)
    assert float(answer.rpartition(b"second:")[2]) < 0.2


def test_clients_that_do_not_read_hold_up_nobody(server: Server) -> None:
    """There are more of them than threads, and each wants more than may wait to be read."""
    with ExitStack() as stack:
        for _ in range(8):
            stack.enter_context(server.connect(4096)).sendall(GET_LARGE * 2)
        for _ in range(20):
            assert status(server.ask()) == 200


def test_of_a_large_file_little_is_read_at_once() -> None:
    """The kernel could take megabytes of it for each client."""
    with serving() as server:
        server.ask(b"GET /measure HTTP/1.1\r\nHost: x\r\n\r\n")
        assert len(server.ask(GET_LARGE)) > 64 * 1024 * 1024
        answer = server.ask(b"GET /peak HTTP/1.1\r\nHost: x\r\n\r\n")
    assert 100_000 < int(answer.rpartition(b"\r\n")[2]) < 1_000_000


def test_requests_that_do_not_wait_for_answers_are_answered_one_by_one(server: Server) -> None:
    """Nor do they take a file descriptor each, which would soon be all."""
    request, count = b"GET /small HTTP/1.1\r\nHost: x\r\n\r\n", 500
    total = count * len(server.ask(request))
    directory = Path(f"/proc/{server.process.pid}/fd")
    before = len(list(directory.iterdir()))
    with server.connect(4096) as connection:
        connection.sendall(request * count)
        received = connection.recv(1000)
        for _ in range(50):
            assert status(server.ask()) == 200
        assert len(list(directory.iterdir())) <= before + 5
        while len(received) < total:
            received += connection.recv(1024 * 1024)
    assert (len(received), received.count(b"HTTP/1.1 200 OK")) == (total, count)


def test_a_server_with_nothing_to_do_ends_though_somebody_is_connected() -> None:
    with serving(idle_timeout_s=1, header_s=1) as server, server.connect():
        assert server.process.wait(60) == 0


@pytest.mark.parametrize(
    "request_",
    [GET, b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"],
    ids=("HTTP/1.1", "HTTP/1.0"),
)
def test_a_client_that_asks_on_and_on_is_told_of_the_end(request_: bytes) -> None:
    """Every request is answered; the last answer says that the connection is closed."""
    with serving() as server, server.connect() as connection:
        connection.sendall(request_)
        read_answer(connection)
        server.process.terminate()
        answer = b""
        while b"Connection: close\r\n" not in answer:
            connection.sendall(request_)
            answer = read_answer(connection)
        assert answer.count(b"Connection: ") == 1
        assert read_all(connection) == b""
        assert server.process.wait(60) == 0


# Who are too many


def test_idle_connections_lock_nobody_out(server: Server) -> None:
    """There are more than the server takes."""
    with ExitStack() as stack:
        idle = [stack.enter_context(server.connect()) for _ in range(300)]
        for _ in range(10):
            assert status(server.ask()) == 200
        gone = [connection for connection in idle if not is_quiet(connection, 0)]
        assert 100 <= len(gone) <= 120  # some clients of other tests may be not gone yet
        assert gone == idle[: len(gone)]


def test_who_has_been_idle_for_longest_makes_room() -> None:
    with serving(connections=3) as server, ExitStack() as stack:
        first, second, third = (stack.enter_context(server.connect()) for _ in range(3))
        for connection in (first, second, third, first):
            connection.sendall(GET)
            read_answer(connection)
        fourth = stack.enter_context(server.connect())
        fourth.sendall(GET)
        read_answer(fourth)
        assert read_all(second) == b""
        for connection in (first, third, fourth):
            connection.sendall(GET)
            read_answer(connection)


def test_who_comes_while_all_are_busy_waits() -> None:
    """Neither is it refused, nor does anybody make room who is in the middle of a request."""
    with serving(connections=2) as server, ExitStack() as stack:
        busy = [stack.enter_context(server.connect()) for _ in range(2)]
        for connection in busy:
            connection.sendall(POST + b"Content-Length: 2\r\nExpect: 100-continue\r\n\r\n")
            connection.recv(1000)
        waiting = stack.enter_context(server.connect())
        waiting.sendall(GET)
        assert is_quiet(waiting, 1)
        for connection in busy:
            connection.sendall(b"hi")
            read_answer(connection)
        read_answer(waiting)


def test_requests_that_never_come_lock_nobody_out() -> None:
    with serving(connections=3) as server, ExitStack() as stack:
        for _ in range(10):
            stack.enter_context(server.connect()).sendall(GET[:-1])
        for _ in range(10):
            assert status(server.ask()) == 200


def test_few_file_descriptors_are_few_connections() -> None:
    """Not an error in accept(), which would make the loop turn for ever."""
    with serving(files=100) as server:
        with ExitStack() as stack:
            for _ in range(150):
                stack.enter_context(server.connect()).sendall(GET_LARGE)
        assert status(server.ask()) == 200
        assert server.end() == ""


def test_many_hostile_clients_at_once(server: Server) -> None:
    """Whoever asks properly is answered meanwhile."""
    enough = threading.Event()

    def harass() -> None:
        while not enough.is_set():
            with ExitStack() as stack:
                stack.enter_context(server.connect()).sendall(GET_LARGE * 3)
                for data in (b"", GET, GET[:-1], os.urandom(1000)) * 20:
                    stack.enter_context(server.connect()).sendall(data)

    clients = [threading.Thread(target=harass) for _ in range(4)]
    for client in clients:
        client.start()
    try:
        for _ in range(200):
            assert status(server.ask()) == 200
    finally:
        enough.set()
        for client in clients:
            client.join()
