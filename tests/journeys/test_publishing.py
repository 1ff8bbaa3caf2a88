"""Uploads to another index: real devpi and pypiserver, with real uv."""

import base64
import contextlib
import hashlib
import json
import logging
import os
import secrets
import socket
import ssl
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from bench_servers import DEVPI_WEAKLY, Server, devpi_server, fetch, make_devpi_index, on_port
from fixtures import Person, Watch, free_port, names, need, untimed
from wheels import sdist, wheel

from pypi_insiders.config.settings import PublishSettings
from pypi_insiders.remote_index import VARIABLE, Destination, PublishError, destination, publish
from pypi_insiders.remote_index.errors import failure
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import sha256

VERSION = "1.0+insiders.1"
NAME = f"my_dist-{VERSION}-py3-none-any.whl"
CHECK_BOTH = "check PYPI_INSIDERS_INDEX_PASSWORD, ~/.netrc, and user under [publish]"
CHECK_URL = "check index-url under [publish], and check-url if you have set it"


@pytest.fixture(autouse=True)
def everything_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)


def nobody(home: Path) -> dict[str, str]:
    """The environment of somebody with an empty home, without any password; uv tries once."""
    home.mkdir(exist_ok=True)
    ours = (VARIABLE, "CREDENTIALS_DIRECTORY", "NETRC", "DBUS_SESSION_BUS_ADDRESS")
    environment = {key: value for key, value in os.environ.items() if key not in ours}
    return {**environment, "HOME": str(home), "PATH": "/usr/bin:/bin", "UV_HTTP_RETRIES": "0"}


def at(url: str, check_url: str | None = None, user: str | None = "me") -> Destination:
    found = destination(PublishSettings(url, user, check_url=check_url))
    assert found is not None
    return found


@dataclass(frozen=True)
class Index:
    """A running index, and somebody who may upload to it."""

    destination: Destination
    home: Path
    password: str
    directory: Path | None = None
    """Where it keeps its files; `None` where that is its own affair."""

    @property
    def port(self) -> int:
        return urlsplit(self.destination.url).port or 0

    @property
    def environment(self) -> dict[str, str]:
        return {**nobody(self.home), VARIABLE: self.password}

    def publish(self, *files: Path, **environment: str) -> list[str]:
        environment = {**self.environment, **environment}
        return publish(self.destination, files, environment, patience_s=0)

    def refusal(self, *files: Path, **environment: str) -> PublishError:
        with pytest.raises(PublishError) as caught:
            self.publish(*files, **environment)
        return caught.value

    def through(self, wire: "Wire") -> "Index":
        """Reach it by way of a proxy."""
        url = self.destination.url.replace(f":{self.port}/", f":{wire.port}/")
        return replace(self, destination=at(url, user=self.destination.user))

    def files(self) -> dict[str, str]:
        """Tell by name what it gives to those who install."""
        if self.directory is not None:
            return {path.name: sha256(path) for path in self.directory.iterdir()}
        page = f"{self.destination.simple_url}my-dist/"
        try:
            urls = fetch(page).files(page)
        except RuntimeError:
            return {}
        return {
            name.replace("%2B", "+"): hashlib.sha256(fetch(url).body).hexdigest()
            for name, url in urls.items()
        }


@pytest.fixture
def password() -> str:
    """A password that is found wherever it is written down."""
    return secrets.token_hex(16)


MakePypiserver = Callable[..., AbstractContextManager[Index]]


@pytest.fixture
def make_pypiserver(pypiserver: Path, tmp_path: Path, password: str) -> MakePypiserver:
    """Start pypiservers; their user is `me`."""

    @contextmanager
    def make(*options: str, name: str = "index", guarded: str = "update") -> Iterator[Index]:
        directory, home = tmp_path / name, tmp_path / "home"
        directory.mkdir()
        digest = base64.b64encode(hashlib.sha1(password.encode()).digest()).decode()
        users = tmp_path / "htpasswd"
        users.write_text(f"me:{{SHA}}{digest}\n")
        port = free_port()
        argv = ("run", "--interface", "127.0.0.1", "--port", str(port), "--passwords", str(users),
                "--authenticate", guarded, *options, str(directory))  # fmt: skip
        with on_port(port, pypiserver / "pypi-server", *argv, env=nobody(home)) as server:
            yield Index(at(server.simple), home, password, directory)

    return make


@pytest.fixture
def index(make_pypiserver: MakePypiserver) -> Iterator[Index]:
    """A pypiserver that wants a password for uploads."""
    with make_pypiserver("--disable-fallback") as index:
        yield index


@pytest.fixture(scope="module")
def devpi_root(devpi: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A devpi-server without users but root."""
    with devpi_server(devpi, tmp_path_factory.mktemp("devpi"), *DEVPI_WEAKLY) as server:
        yield server


@pytest.fixture
def devpi_index(devpi_root: Server, tmp_path: Path, password: str) -> Index:
    """An index of devpi that lets files be replaced, as its indexes do by default."""
    user = f"u{secrets.token_hex(4)}"
    made = make_devpi_index(devpi_root, user, password, volatile=True)
    return Index(at(made.url, user=user), tmp_path / "home", password)


@pytest.fixture(params=["devpi", "open", "guarded", "without hashes"])
def any_index(request: pytest.FixtureRequest) -> Iterator[Index]:
    """Each kind of index: of JSON, of HTML, one that none may read, one that tells no hash."""
    if request.param == "devpi":
        yield request.getfixturevalue("devpi_index")
        return
    make = request.getfixturevalue("make_pypiserver")
    options = ("--hash-algo", "off") if request.param == "without hashes" else ()
    guarded = "update" if request.param == "open" else "update,download,list"
    with make("--disable-fallback", *options, guarded=guarded) as index:
        yield index


class Wire:
    """A TCP proxy: it remembers what is asked, and breaks after some bytes.

    Args:
        port: of the server.
        limit_bytes: of one client, after which the server is gone.
        on_upload: called when an upload has begun, while it waits.
        context: with which it speaks TLS to clients.
    """

    def __init__(
        self,
        port: int,
        limit_bytes: int | None = None,
        on_upload: Callable[[], object] = lambda: None,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self.heads: list[str] = []
        self._target = port
        self._limit_bytes = limit_bytes
        self._on_upload = on_upload
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

    @property
    def requests(self) -> list[str]:
        """The first line of each request, without the version of HTTP."""
        return [head.partition(" HTTP/")[0] for head in self.heads]

    def __enter__(self) -> "Wire":
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def _end(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._carry, args=(client,), daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            if self._context:
                client = self._context.wrap_socket(client, server_side=True)
            with client, socket.create_connection(("127.0.0.1", self._target)) as server:
                head = b""
                while b"\r\n\r\n" not in head and (block := client.recv(65536)):
                    head += block
                self.heads.append(head.partition(b"\r\n\r\n")[0].decode())
                if head.startswith(b"POST"):
                    self._on_upload()
                threading.Thread(target=_copy, args=(server, client), daemon=True).start()
                try:
                    self._send(head, client, server)
                finally:
                    server.shutdown(socket.SHUT_RDWR)  # also for the thread that reads

    def _send(self, block: bytes, client: socket.socket, server: socket.socket) -> None:
        sent_bytes = 0
        while block:
            sent_bytes += len(block)
            if self._limit_bytes is not None and sent_bytes > self._limit_bytes:
                self._end()
                # What is closed so ends with a reset, as if the process had died.
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return
            server.sendall(block)
            block = client.recv(65536)


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while block := source.recv(65536):
            sink.sendall(block)
        sink.shutdown(socket.SHUT_RDWR)


@contextmanager
def answering(
    method: Callable[[BaseHTTPRequestHandler], object], *, has_pages: bool = False
) -> Iterator[str]:
    """Run a web server that answers uploads as told, and pages if it has any; its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if has_pages:
                method(self)
            else:
                self.send_error(404)

        def do_POST(self) -> None:
            while (size := int(self.rfile.readline(), 16)) if _is_chunked(self) else 0:
                self.rfile.read(size + 2)
            self.rfile.read(int(self.headers.get("Content-Length", 2)))
            method(self)

        def log_message(self, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/legacy/"
        server.shutdown()


def _is_chunked(request: BaseHTTPRequestHandler) -> bool:
    return request.headers.get("Transfer-Encoding") == "chunked"


def test_what_is_missing_is_uploaded(any_index: Index, tmp_path: Path) -> None:
    """Byte for byte, an sdist and a wheel of a local version; the second time nothing is left."""
    files = [
        wheel(tmp_path, "my-dist", VERSION, content=os.urandom(300_000)),
        sdist(tmp_path, "my-dist", VERSION),
    ]
    assert any_index.publish(*files) == [file.name for file in files]
    assert any_index.files() == {file.name: sha256(file) for file in files}
    assert any_index.publish(*files) == []


def test_where_all_is_there_one_question_is_asked(any_index: Index, tmp_path: Path) -> None:
    """For the page of a project; where that has no hash, also for the file."""
    files = [wheel(tmp_path, "my-dist", VERSION), sdist(tmp_path, "my-dist", VERSION)]
    any_index.publish(*files)
    with Wire(any_index.port) as wire:
        assert any_index.through(wire).publish(*files) == []
    path = urlsplit(any_index.destination.simple_url).path
    assert wire.requests[0] == f"GET {path}my-dist/"
    assert [line for line in wire.requests[1:] if not line.startswith("GET /packages/")] == []
    assert len(wire.requests) in (1, 3)


def test_another_file_of_the_same_name_is_an_error(any_index: Index, tmp_path: Path) -> None:
    """Nothing is replaced, nor is what is beside it uploaded, though the index would take both."""
    first = wheel(tmp_path, "my-dist", VERSION)
    any_index.publish(first)
    before = any_index.files()
    for content in (b"x", os.urandom(100_000)):
        other = wheel(tmp_path / "other", "my-dist", VERSION, content=content)
        error = any_index.refusal(sdist(tmp_path, "my-dist", VERSION), other)
        page = f"{any_index.destination.simple_url}my-dist/"
        assert error.message == f"{page} already has a different {NAME}, which is never replaced"
        assert error.hint == "release a new version"
        assert any_index.files() == before


def test_several_projects_are_uploaded_at_once(index: Index, tmp_path: Path) -> None:
    """Each by its own page."""
    files = [wheel(tmp_path, name, "1.0") for name in ("first", "second")]
    assert index.publish(*files) == [file.name for file in files]
    assert sorted(index.files()) == [file.name for file in files]


def test_a_directory_may_have_any_name(index: Index, tmp_path: Path) -> None:
    """uv takes what it is given for a pattern."""
    assert index.publish(wheel(tmp_path / "[a]*", "my-dist", VERSION)) == [NAME]


@pytest.mark.parametrize("kind", ["index", "devpi_index"])
def test_many_threads_may_publish_the_same(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str
) -> None:
    """Who comes late finds what the first has brought."""
    index: Index = request.getfixturevalue(kind)
    file = wheel(tmp_path, "my-dist", VERSION, content=os.urandom(100_000))
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: index.publish(file), range(4)))
    assert [NAME] in results
    assert index.files() == {NAME: sha256(file)}


def test_a_lost_answer_is_no_failure(index: Index, tmp_path: Path) -> None:
    """The index has the file, whatever became of the answer."""
    file = wheel(tmp_path, "my-dist", VERSION)
    with Wire(index.port, on_upload=lambda: index.publish(file)) as wire:
        assert index.through(wire).publish(file) == [NAME]
    assert [line.partition(" ")[0] for line in wire.requests] == ["GET", "POST", "GET", "GET"]


@pytest.mark.parametrize("content", [b"", b"x"])
def test_what_the_index_forwards_counts_by_its_hash(
    make_pypiserver: MakePypiserver, tmp_path: Path, content: bytes
) -> None:
    """An index sends whoever asks for an unknown name to another; the password stays here."""
    with make_pypiserver("--disable-fallback", name="public") as public:
        public.publish(wheel(tmp_path / "public-files", "my-dist", VERSION))
        with Wire(public.port) as wire:
            fallback = f"http://localhost:{wire.port}/simple/"
            with make_pypiserver("--fallback-url", fallback) as index:
                file = wheel(tmp_path, "my-dist", VERSION, content=content)
                if content:
                    assert index.refusal(file).message == (
                        f"{fallback}my-dist/ already has a different {NAME}, "
                        "which is never replaced"
                    )
                else:
                    assert index.publish(file) == []
                assert index.files() == {}
    assert wire.requests == ["GET /simple/my-dist/"]
    assert "authorization" not in wire.heads[0].lower()


@pytest.mark.parametrize("kind", ["index", "devpi_index"])
def test_a_wrong_password_is_told(
    request: pytest.FixtureRequest, tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    """In one line, which does not have it."""
    index: Index = request.getfixturevalue(kind)
    error = index.refusal(wheel(tmp_path, "my-dist", VERSION), **{VARIABLE: "wr0ng-one"})
    assert error.message.startswith(
        f"cannot upload {NAME} to {index.destination.url}: access denied: the index rejects "
        "the user or the password (Server returned status code 40"
    )
    assert (error.hint, error.is_unreachable) == (CHECK_BOTH, False)
    assert "wr0ng-one" not in error.message + caplog.text
    assert "\n" not in error.message
    assert index.files() == {}


def test_a_wrong_password_for_reading_is_told(
    make_pypiserver: MakePypiserver, tmp_path: Path
) -> None:
    """Before anything is uploaded."""
    with make_pypiserver("--disable-fallback", guarded="update,download,list") as index:
        error = index.refusal(wheel(tmp_path, "my-dist", VERSION), **{VARIABLE: "wr0ng-one"})
        assert error.message == (
            f"cannot read {index.destination.simple_url}my-dist/: access denied: the index "
            "rejects the user or the password (status code 403 Forbidden)"
        )
        assert error.hint == CHECK_BOTH


def test_a_simple_url_takes_no_uploads(index: Index, tmp_path: Path) -> None:
    """It is what installers are given."""
    wrong = replace(index, destination=at(index.destination.simple_url))
    error = wrong.refusal(wheel(tmp_path, "my-dist", VERSION))
    assert error.message.startswith(
        f"cannot upload {NAME} to {index.destination.simple_url}: not the upload URL of an "
        "index (POST requests are not supported by the endpoint"
    )
    assert (error.hint, error.is_unreachable) == (CHECK_URL, False)


@pytest.mark.parametrize("path", ["nobody/dev/", ""])
def test_an_unknown_index_is_told(devpi_index: Index, tmp_path: Path, path: str) -> None:
    """One that devpi does not have, and its root, where pages are but no index."""
    root = f"http://127.0.0.1:{devpi_index.port}/"
    wrong = replace(devpi_index, destination=at(f"{root}{path}"))
    error = wrong.refusal(wheel(tmp_path, "my-dist", VERSION))
    assert f"cannot upload {NAME} to {root}{path}: not the upload URL of an index" in (
        error.message
    )
    assert (error.hint, error.is_unreachable) == (CHECK_URL, False)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("text/plain", "Ok"),
        ("application/json", '{"result": {}}'),
        ("application/json", '{"files": [{"name": 1}]}'),
        ("application/json", "[" * 100_000),
        ("application/vnd.pypi.simple.v1+json", "<html></html>"),
    ],
)
def test_a_page_that_is_of_no_index_is_told(
    tmp_path: Path, password: str, kind: str, body: str
) -> None:
    """Nothing is uploaded where nobody can tell what is there."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        assert request.command == "GET"
        request.send_response(200)
        request.send_header("Content-Type", kind)
        request.end_headers()
        request.wfile.write(body.encode())

    with answering(answer, has_pages=True) as url:
        error = Index(at(url), tmp_path / "home", password).refusal(
            wheel(tmp_path, "my-dist", VERSION)
        )
    page = url.replace("/legacy/", "/simple/my-dist/")
    assert error.message == f"{page} is not a page of a simple API ({kind})"
    assert error.hint is not None
    assert "set check-url to the URL of its simple API" in error.hint


def test_a_page_that_is_cut_off_is_no_page(tmp_path: Path, password: str) -> None:
    """What is not seen of it might be the file."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        assert request.command == "GET"
        request.send_response(200)
        request.send_header("Content-Type", "text/html")
        request.send_header("Content-Length", "1000")
        request.end_headers()
        request.wfile.write(b"<html>")

    with answering(answer, has_pages=True) as url:
        error = Index(at(url), tmp_path / "home", password).refusal(
            wheel(tmp_path, "my-dist", VERSION)
        )
    assert "/simple/my-dist/: the index closed the connection (" in error.message
    assert error.is_unreachable


def test_a_page_may_show_a_file_late(tmp_path: Path, password: str) -> None:
    """A cache is between; and on the way, password and user are kept on the same server."""
    file = wheel(tmp_path, "my-dist", VERSION)
    asked: list[str] = []
    both = base64.b64encode(f"me:{password}".encode()).decode()

    def answer(request: BaseHTTPRequestHandler) -> None:
        assert request.headers["Authorization"] == f"Basic {both}"
        asked.append(f"{request.command} {request.path}")
        is_page = request.path == "/page/"
        is_late = len(asked) < 6
        body = b"" if is_late else f"<a href='f/{NAME}#sha256={sha256(file)}'>f</a>".encode()
        request.send_response(302 if request.command == "GET" and not is_page else 200)
        request.send_header("Location", "/page/")
        request.send_header("Content-Type", "text/html")
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    with answering(answer, has_pages=True) as url:
        place, environment = at(url), nobody(tmp_path / "home") | {VARIABLE: password}
        assert publish(place, [file], environment) == [NAME]
    question = ["GET /simple/my-dist/", "GET /page/"]
    assert asked == [*question, "POST /legacy/", *question, *question]


def test_a_file_that_is_taken_and_not_kept_is_missed(tmp_path: Path, password: str) -> None:
    """An old devpi answers 200 to whatever is sent to a wrong URL."""

    def take(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Length", "0")
        request.end_headers()

    with answering(take) as url:
        error = Index(at(url), tmp_path / "home", password).refusal(
            wheel(tmp_path, "my-dist", VERSION)
        )
    page = url.replace("/legacy/", "/simple/my-dist/")
    assert error.message == f"{url} accepted {NAME}, but it is missing from {page}"


@pytest.mark.parametrize(
    ("status", "message", "is_unreachable"),
    [
        (301, "not the upload URL of an index (Redirected URL", False),
        (400, "Server returned status code 400 Bad Request: No: <me> [password] & more", False),
        (413, "the file is too large for the index (", False),
        (501, "the index refuses the request (", False),
        (503, "the index has an internal error (", True),
        (505, "the index refuses the request (", False),
    ],
)
def test_what_the_index_answers_is_said(
    tmp_path: Path, password: str, status: int, message: str, is_unreachable: bool
) -> None:
    """With its own words, of which the password is none."""

    def refuse(request: BaseHTTPRequestHandler) -> None:
        body = f"<html><head><title>x</title></head>No: &lt;me&gt;\n{password} &amp; more</html>"
        request.send_response(status)
        request.send_header("Location", "http://localhost:1/elsewhere/")
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body.encode())

    with answering(refuse) as url:
        error = Index(at(url), tmp_path / "home", password).refusal(
            wheel(tmp_path, "my-dist", VERSION)
        )
    assert f"cannot upload {NAME} to {url}: {message}" in error.message
    assert password not in error.message
    assert error.is_unreachable == is_unreachable


@pytest.mark.parametrize(
    ("password", "told"),
    [
        ("x", "Error code explanation: not for [password]"),
        ("xpla", "Error code e[password]nation: not for x"),
        ("$", "Error code explanation: not for x"),
    ],
)
def test_a_short_password_is_taken_out_as_a_word_only(password: str, told: str) -> None:
    """The letters of other words stay."""
    said = "Error code explanation: not for x"
    assert failure("cannot upload", said, password).message == f"cannot upload: {told}"


@pytest.mark.parametrize(
    ("host", "message"),
    [
        ("127.0.0.1", "index unreachable (Connection refused)"),
        (
            "nowhere.invalid",
            "its host name cannot be resolved (Name or service not known)",
        ),
    ],
)
def test_an_index_that_is_down_is_unreachable(tmp_path: Path, host: str, message: str) -> None:
    """That may pass."""
    url = f"http://{host}:{free_port()}/"
    error = Index(at(url), tmp_path / "home", "").refusal(wheel(tmp_path, "my-dist", VERSION))
    assert error.message == f"cannot read {url}simple/my-dist/: {message}"
    assert error.is_unreachable


@pytest.mark.parametrize("kind", ["index", "devpi_index"])
def test_an_index_that_dies_half_way_gets_the_rest_later(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str
) -> None:
    """What it had whole by then stays, and no part of a file is ever seen."""
    index: Index = request.getfixturevalue(kind)
    small = sdist(tmp_path, "my-dist", VERSION)
    large = wheel(tmp_path, "my-dist", VERSION, content=os.urandom(1_000_000))
    with Wire(index.port, limit_bytes=200_000) as wire:
        error = index.through(wire).refusal(small, large)
        assert error.message.startswith(
            f"cannot upload {NAME} to {index.through(wire).destination.url}: "
            "the index closed the connection ("
        )
    assert error.is_unreachable
    assert index.files() == {small.name: sha256(small)}
    with Wire(index.port) as wire:
        assert index.through(wire).publish(small, large) == [large.name]
    assert [line.partition(" ")[0] for line in wire.requests] == ["GET", "POST", "GET"]
    assert index.files() == {file.name: sha256(file) for file in (small, large)}


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, ssl.SSLContext]:
    """A certificate that nobody knows."""
    key, path = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        [need("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
         "-addext", "basicConstraints=critical,CA:FALSE", "-keyout", key, "-out", path],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path, key)
    return path, context


def test_a_certificate_must_be_known(
    index: Index,
    tmp_path: Path,
    certificate: tuple[Path, ssl.SSLContext],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By `SSL_CERT_FILE` both our question and uv trust it."""
    path, context = certificate
    file = wheel(tmp_path, "my-dist", VERSION)
    with Wire(index.port, context=context) as wire:
        safe = replace(index, destination=at(f"https://localhost:{wire.port}/"))
        error = safe.refusal(file)
        assert "the certificate of the index is not trusted here (" in error.message
        assert error.hint is not None
        assert "SSL_CERT_FILE" in error.hint
        assert wire.heads == []
        monkeypatch.setenv("SSL_CERT_FILE", str(path))
        assert safe.publish(file, SSL_CERT_FILE=str(path)) == [NAME]
    assert index.files() == {NAME: sha256(file)}


def _in_environment(index: Index) -> dict[str, str]:
    return {VARIABLE: index.password}


def _in_unit(index: Index) -> dict[str, str]:
    directory = index.home / "credentials"
    directory.mkdir()
    (directory / "pypi-insiders-index-password").write_text(f"{index.password}\n")
    return {"CREDENTIALS_DIRECTORY": str(directory)}


def _in_netrc(index: Index) -> dict[str, str]:
    path = index.home / ".netrc"
    path.write_text(f"machine 127.0.0.1\nlogin me\npassword {index.password}\n")
    return {}


def _in_other_netrc(index: Index) -> dict[str, str]:
    _in_netrc(index)
    path = (index.home / ".netrc").rename(index.home / "netrc")
    return {"NETRC": str(path)}


SOURCES = (_in_environment, _in_unit, _in_netrc, _in_other_netrc)


@pytest.mark.parametrize("source", SOURCES)
def test_a_password_is_found(
    index: Index,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    source: Callable[[Index], dict[str, str]],
) -> None:
    """Where it is looked for; and while uv uploads, no command line on the machine has it."""
    lines: list[bytes] = []

    def look() -> None:
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                lines.append(path.read_bytes())

    environment = nobody(index.home) | source(index)
    with Wire(index.port, on_upload=look) as wire:
        place = index.through(wire).destination
        files = [wheel(tmp_path, "my-dist", VERSION)]
        assert publish(place, files, environment, patience_s=0) == [NAME]
    assert [line for line in lines if b"publish" in line and place.url.encode() in line]
    assert [line for line in lines if index.password.encode() in line] == []
    assert "publish" in caplog.text
    assert index.password not in caplog.text


def test_netrc_names_the_user_too(index: Index, tmp_path: Path) -> None:
    """Where none is set."""
    _in_netrc(index)
    place = at(index.destination.url, user=None)
    files = [wheel(tmp_path, "my-dist", VERSION)]
    assert publish(place, files, nobody(index.home), patience_s=0) == [NAME]


def test_a_password_of_somebody_else_is_none(index: Index, tmp_path: Path) -> None:
    """It is not sent, by uv neither, which reads netrc too."""
    _in_netrc(index)
    files = [wheel(tmp_path, "my-dist", VERSION)]
    with Wire(index.port) as wire:
        place = at(index.through(wire).destination.url, user="somebody")
        with pytest.raises(PublishError, match="access denied"):
            publish(place, files, nobody(index.home), patience_s=0)
    sent = [line.split()[-1] for head in wire.heads for line in head.splitlines()
            if line.lower().startswith("authorization:")]  # fmt: skip
    assert [base64.b64decode(value) for value in sent] == [b"somebody:"]


def test_the_keyring_is_asked(index: Index, tmp_path: Path, keyring: Path) -> None:
    """By the URL and by the host."""
    environment = nobody(index.home) | {
        "PATH": f"{keyring.parent}:/usr/bin:/bin",
        "PYTHON_KEYRING_BACKEND": "keyrings.alt.file.PlaintextKeyring",
    }
    for number, service in enumerate((index.destination.url, "127.0.0.1")):
        subprocess.run(
            [keyring, "set", service, "me"], input=index.password, text=True, env=environment,
            check=True, capture_output=True,
        )  # fmt: skip
        file = wheel(tmp_path, "my-dist", f"{number}")
        assert publish(index.destination, [file], environment, patience_s=0) == [file.name]
        subprocess.run([keyring, "del", service, "me"], env=environment, check=True)


def test_the_environment_comes_first(index: Index, tmp_path: Path) -> None:
    """Then the unit, then netrc."""
    (index.home / ".netrc").write_text("machine 127.0.0.1 login me password wr0ng")
    of_unit = _in_unit(index)
    publish(
        index.destination,
        [wheel(tmp_path, "my-dist", "1.0")],
        nobody(index.home) | of_unit,
        patience_s=0,
    )
    (index.home / "credentials/pypi-insiders-index-password").write_text("wr0ng")
    index.publish(wheel(tmp_path, "my-dist", "2.0"), **of_unit)
    assert len(index.files()) == 2


def test_a_damaged_netrc_is_named_and_not_repeated(index: Index, tmp_path: Path) -> None:
    """A line of it may be the password."""
    path = index.home / ".netrc"
    path.write_text(f"machine 127.0.0.1\nlogin me\n{index.password}\n")
    with pytest.raises(InsidersError) as caught:
        publish(index.destination, [wheel(tmp_path, "my-dist", VERSION)], nobody(index.home))
    assert caught.value.message == f"{path} is not a valid netrc file"
    assert caught.value.hint == f"edit {path}"


def test_a_password_of_two_lines_is_refused(index: Index, tmp_path: Path) -> None:
    """It is not what was meant."""
    error = index.refusal(wheel(tmp_path, "my-dist", VERSION), **{VARIABLE: "first\nsecond"})
    assert error.message.startswith("the password of the index has several lines")


def test_without_a_password_one_may_try(
    make_pypiserver: MakePypiserver, pypiserver: Path, tmp_path: Path
) -> None:
    """There are indexes in closed networks that want none."""
    directory, home, port = tmp_path / "open", tmp_path / "home", free_port()
    directory.mkdir()
    argv = ("run", "--interface", "127.0.0.1", "--port", str(port), "--passwords", ".",
            "--authenticate", ".", "--disable-fallback", directory)  # fmt: skip
    with on_port(port, pypiserver / "pypi-server", *argv, env=nobody(home)) as server:
        files = [wheel(tmp_path, "my-dist", VERSION)]
        assert publish(at(server.simple), files, nobody(home), patience_s=0) == [NAME]


@pytest.mark.parametrize(
    ("url", "simple_url"),
    [
        ("http://devpi.example/root/dev/", "http://devpi.example/root/dev/+simple/"),
        ("http://devpi.example/root/dev", "http://devpi.example/root/dev/+simple/"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080/simple/"),
        ("https://upload.pypi.org/legacy/", "https://pypi.org/simple/"),
        ("https://test.pypi.org/legacy/", "https://test.pypi.org/simple/"),
        ("https://h.example/a/b/c/legacy/", "https://h.example/a/b/c/simple/"),
        ("https://h.example/a/simple/", "https://h.example/a/simple/"),
        ("https://h.example/a/b/+simple/", "https://h.example/a/b/+simple/"),
        ("https://h.example/repository/mine/", "https://h.example/repository/mine/simple/"),
        ("https://x-python.pkg.dev/p/mine/", "https://x-python.pkg.dev/p/mine/simple/"),
        (
            "https://h.example/api/v4/projects/1/packages/pypi",
            "https://h.example/api/v4/projects/1/packages/pypi/simple/",
        ),
    ],
)
def test_where_an_index_tells_what_it_has_is_derived(url: str, simple_url: str) -> None:
    assert at(url) == Destination(url, simple_url, "me")


def test_what_is_set_counts_and_what_is_said_comes_first() -> None:
    """A URL on the command line has nothing to do with the `check-url` of another."""
    settings = PublishSettings("https://h.example/a/", "me", check_url="https://h.example/b")
    assert destination(settings) == Destination(
        "https://h.example/a/", "https://h.example/b/", "me"
    )
    assert destination(settings, "https://i.example/", "you") == Destination(
        "https://i.example/", "https://i.example/simple/", "you"
    )
    assert destination(PublishSettings()) is None
    with pytest.raises(PublishError, match="must not contain credentials"):
        destination(settings, "https://me:secret@i.example/")


def _settings(person: Person, index: Index, *more: str) -> None:
    person.paths.config.mkdir(parents=True, exist_ok=True)
    lines = [f'index-url = "{index.destination.url}"', f'user = "{index.destination.user}"', *more]
    (person.paths.config / "config.toml").write_text("\n".join(["[publish]", *lines, ""]))


def _uploads(person: Person) -> list[list[str]]:
    path = person.paths.state / "repositories/me/my-dist.json"
    return [build["uploaded_to"] for build in json.loads(path.read_text())["builds"]]


@pytest.mark.parametrize("kind", ["index", "devpi_index"])
def test_an_update_publishes_here_and_there(
    person: Person, watch: Watch, request: pytest.FixtureRequest, kind: str
) -> None:
    """The same bytes; what is there already is not asked for again."""
    index: Index = request.getfixturevalue(kind)
    _settings(person, index)
    project = watch("my-dist")
    project.release("1.0")
    told = person.run("update", PYPI_INSIDERS_INDEX_PASSWORD=index.password)
    assert index.password not in told.stderr + told.stdout
    here = {path.name: sha256(path) for path in person.paths.distributions.glob("[!.]*")}
    assert sorted(here) == names("my_dist-1.0")
    assert index.files() == here
    assert _uploads(person) == [[index.destination.url]]
    assert person.run("update", PYPI_INSIDERS_INDEX_PASSWORD="wrong").stderr == ""
    project.release("1.1")
    failed = person.run("update", status=1, PYPI_INSIDERS_INDEX_PASSWORD="wrong")
    assert "error: me/my-dist: tag v1.1: " in failed.stderr
    assert sorted(index.files()) == names("my_dist-1.0")
    assert (
        person.run("update", status=1, PYPI_INSIDERS_INDEX_PASSWORD=index.password).stdout
        == "Checked 1 repository, published 0 files; 1 failed: me/my-dist\n"
    )
    assert sorted(index.files()) == names("my_dist-1.0")  # after a pause
    person.run("update", "me/my-dist", PYPI_INSIDERS_INDEX_PASSWORD=index.password)
    assert sorted(index.files()) == names("my_dist-1.0", "my_dist-1.1")


def test_an_update_publishes_only_there(person: Person, watch: Watch, index: Index) -> None:
    """With `local = false` this machine's index holds nothing, and nothing is built twice."""
    _settings(person, index, "local = false")
    watch("my-dist").release("1.0")
    assert (
        untimed(person.run("update", PYPI_INSIDERS_INDEX_PASSWORD=index.password).stdout)
        == "Checked 1 repository, published 2 files\n"
    )
    assert person.distributions() == []
    assert sorted(index.files()) == names("my_dist-1.0")
    assert person.run("update").stdout == "Checked 1 repository, published 0 files\n"


def test_what_was_published_here_before_can_be_brought_there(
    person: Person, watch: Watch, index: Index
) -> None:
    """By `--index-url`, once; another file of the same name there is an error, and stays."""
    project = watch("my-dist")
    project.release("1.0")
    person.run("update")
    there = ("--index-url", index.destination.url, "--index-user", "me")
    assert index.directory
    (index.directory / "my_dist-1.0.tar.gz").write_bytes(b"something else")
    failed = person.run("update", *there, status=1, PYPI_INSIDERS_INDEX_PASSWORD=index.password)
    assert "my_dist-1.0.tar.gz" in failed.stderr
    assert (index.directory / "my_dist-1.0.tar.gz").read_bytes() == b"something else"
    (index.directory / "my_dist-1.0.tar.gz").unlink()
    person.run("update", "me/my-dist", *there, PYPI_INSIDERS_INDEX_PASSWORD=index.password)
    here = {path.name: sha256(path) for path in person.paths.distributions.glob("[!.]*")}
    assert index.files() == here


def test_another_index_out_of_reach_is_no_failure_until_it_lasts(
    person: Person, watch: Watch
) -> None:
    """What is built is published here at once, and there when it can be."""
    watch("my-dist").release("1.0")
    there = ("--index-url", f"http://127.0.0.1:{free_port()}/")
    done = person.run("update", *there)
    assert (
        untimed(done.stdout)
        == "Checked 1 repository, published 2 files; 1 unreachable: me/my-dist\n"
    )
    assert _uploads(person) == [[]]
    person.run("update", "me/my-dist", *there, status=1)
