"""A host of Git repositories over https or http, which can want a token."""

import base64
import json
import os
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from email.message import Message  # noqa: TC003
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

import pytest
from fixtures import need

from pypi_insiders.git import Access


def make_certificate(directory: Path) -> Path:
    """Write a certificate for localhost, with its key in the same file."""
    certificate = directory / "certificate.pem"
    certificate.write_text(_certificate())
    return certificate


@cache
def _certificate() -> str:
    """Make it once for each test process."""
    with TemporaryDirectory() as name:
        key, certificate = Path(name, "key.pem"), Path(name, "certificate.pem")
        subprocess.run(
            [need("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt",
             "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=localhost", "-addext",
             "subjectAltName=DNS:localhost", "-keyout", key, "-out", certificate],
            check=True, capture_output=True,
        )  # fmt: skip
        return certificate.read_text() + key.read_text()


Answer = tuple[int, list[tuple[str, str]], bytes]


class GitHost:
    """Serves the bare repositories below a directory, through `git http-backend`.

    Args:
        directory: of the repositories.
        certificate: with its key; `None`: it speaks http.
        token: what readers must have as their password; `None`: nothing.
    """

    on_request: Callable[[], None]
    """Called before each answer."""

    def __init__(self, directory: Path, certificate: Path | None, token: str | None = None) -> None:
        self.directory = directory
        self.token = token
        self.status = 200
        self.elsewhere: str | None = None
        """Another host, to which every request is sent."""
        self.page: bytes | None = None
        """A page for people, which it sends in place of every answer."""
        self.is_cutting = False
        """Whether it ends connections in the middle of its answer."""
        self.is_plain = False
        """Whether it only has files, and knows nothing of git."""
        self.on_request = lambda: None
        self.api: Callable[[str, Message[str, str]], Answer | None] = lambda _path, _headers: None
        """Answers what is no request of git; `None`: git does."""
        self.connections = 0
        self.requests: list[str] = []
        self.passwords: list[str] = []

        class Handler(_Handler):
            host = self

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._scheme = "http" if certificate is None else "https"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        # A short poll, for which each test waits at its end.
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self) -> str:
        """Where it is, without a slash at the end."""
        return f"{self._scheme}://localhost:{self._server.server_port}"

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    host: GitHost
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        super().setup()
        self.host.connections += 1

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def log_message(self, *arguments: object) -> None:
        pass

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.host.requests.append(f"{self.command} {self.path}")
        self.host.on_request()
        if (answer := self.host.api(self.path, self.headers)) is not None:
            self._say(*answer)
            return
        scheme, _, words = self.headers.get("Authorization", "").partition(" ")
        password = ""
        if scheme == "Basic":
            password = base64.b64decode(words).decode().partition(":")[2]
            self.host.passwords.append(password)
        if self.host.elsewhere is not None:
            self._say(302, [("Location", self.host.elsewhere + self.path)])
        elif self.host.status != 200:
            self._say(self.host.status)
        elif self.host.page is not None:
            self._say(200, [("Content-Type", "text/html; charset=utf-8")], self.host.page)
        elif self.host.is_cutting:
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.close_connection = True
        elif self.host.token is not None and password != self.host.token:
            self._say(401, [("WWW-Authenticate", 'Basic realm="private"')])
        elif self.host.is_plain:
            path = self.host.directory / urlsplit(self.path).path.lstrip("/")
            self._say(200, content=path.read_bytes()) if path.is_file() else self._say(404)
        elif "/info/lfs/" in self.path:
            self._give_lfs(body)
        else:
            self._run(body)

    def _give_lfs(self, body: bytes) -> None:
        """Answer as a server of Git LFS, with the files of the bare repository.

        Source: https://github.com/git-lfs/git-lfs/blob/main/docs/api/batch.md
        """
        repository, _, what = self.path.partition("/info/lfs/")
        objects = self.host.directory / repository.lstrip("/") / "lfs/objects"
        if what != "objects/batch":
            self._say(200, content=next(objects.rglob(what.rpartition("/")[2])).read_bytes())
            return
        answers = []
        for wanted in json.loads(body)["objects"]:
            oid = wanted["oid"]
            if list(objects.rglob(oid)):
                url = f"{self.host.url}{repository}/info/lfs/objects/{oid}"
                answers.append({**wanted, "actions": {"download": {"href": url}}})
            else:
                answers.append({**wanted, "error": {"code": 404, "message": "not there"}})
        kind = [("Content-Type", "application/vnd.git-lfs+json")]
        content = json.dumps({"transfer": "basic", "objects": answers}).encode()
        self._say(200, kind, content)

    def _run(self, body: bytes) -> None:
        url = urlsplit(self.path)
        done = subprocess.run(
            ["git", "http-backend"],
            input=body,
            capture_output=True,
            env={
                "PATH": os.environ["PATH"],
                "HOME": os.devnull,
                "GIT_CONFIG_NOSYSTEM": "1",
                "GIT_PROJECT_ROOT": str(self.host.directory),
                "GIT_HTTP_EXPORT_ALL": "1",
                "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
                "REQUEST_METHOD": self.command,
                "PATH_INFO": url.path,
                "QUERY_STRING": url.query,
                "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                "CONTENT_LENGTH": str(len(body)),
                "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            },
        )
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        fields = [tuple(line.split(": ", 1)) for line in head.decode().split("\r\n")]
        status = next((int(value[:3]) for name, value in fields if name == "Status"), 200)
        self._say(status, [(n, v) for n, v in fields if n != "Status"], content)

    def _say(
        self, status: int, headers: list[tuple[str, str]] | None = None, content: bytes = b""
    ) -> None:
        self.send_response(status)
        for name, value in headers or []:
            self.send_header(name, value)
        if "Content-Length" not in dict(headers or []):
            self.send_header("Content-Length", str(len(content)))
        else:  # of more than follows
            self.close_connection = True
        self.end_headers()
        self.wfile.write(content)


TOKEN = "t0ken-that-nobody-may-see"


@pytest.fixture
def make_host(
    gitconfig: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., GitHost]]:
    """Start https hosts of the repositories below a directory; git trusts their certificate."""
    certificate = make_certificate(tmp_path)
    monkeypatch.setenv("GIT_SSL_CAINFO", str(certificate))
    with ExitStack() as hosts:

        def make(directory: Path = tmp_path / "git", token: str | None = None) -> GitHost:
            host = GitHost(directory, certificate, token)
            hosts.callback(host.close)
            return host

        yield make


@pytest.fixture
def access(tmp_path: Path) -> Access:
    """A token, in a file."""
    path = tmp_path / "token"
    path.touch(mode=0o600)
    path.write_text(f"{TOKEN}\n")
    return Access(path)
