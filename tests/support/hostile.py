"""A server process with foreign things in its directories, and raw requests to it."""

import hashlib
import os
import re
import resource
import socket
import stat
import string
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from fixtures import Person, start_command
from wheels import sdist, wheel

from pypi_insiders.config import passwords
from pypi_insiders.index import release_lists

FALLBACK = "https://fallback.example/simple/"
READER, READERS_PASSWORD, TOKEN = "reader", "päss:word", "pypi-the-token"
WHEEL, OLD, YANKED = (
    "my_dist-1.0-py3-none-any.whl",
    "my_dist-0.9.tar.gz",
    "my_dist-2.0-py3-none-any.whl",
)
HARD = "hard-1.0.tar.gz"
SERVED = (WHEEL, OLD, YANKED, HARD)
SECRET = b"lies-where-no-request-leads"
CONTENT = b"what-only-readers-read"
"""In each file that is served; neither format compresses it."""
MARKUP = "<script>alert(1)<"
REASON = f"\"'><img src=x onerror=alert(1)>{MARKUP}"

_LONG_AGO_S = 1_600_000_000
_NAMELESS = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2}) [ -~]*")


class MalformedError(Exception):
    """An answer is not as HTTP wants it."""


@dataclass(frozen=True)
class Answer:
    """What the server answered; the names of the headers are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


def read_answers(received: bytes) -> list[Answer]:
    """Read all answers that came over one connection, strictly.

    Raises:
        MalformedError: one is no well-formed answer.

    Source: RFC 9112, sections 4 to 6.
    """
    answers = []
    while received:
        head, limit, received = received.partition(b"\r\n\r\n")
        status_line, *lines = head.split(b"\r\n")
        match = _STATUS_LINE.fullmatch(status_line)
        if not limit or match is None:
            raise MalformedError(f"no status line, or no end of the headers: {head[:200]!r}")
        headers: dict[str, str] = {}
        for line in lines:
            name, colon, value = line.partition(b":")
            if not colon or not _NAMELESS.fullmatch(name) or re.search(rb"[\x00-\x1f]", value):
                raise MalformedError(f"no header: {line!r}")
            key = name.decode().lower()
            if key in headers:
                raise MalformedError(f"twice: {line!r}")
            headers[key] = value.decode("latin-1").strip()
        if "content-length" not in headers:
            body, received = received, b""
        elif not received or received.startswith(b"HTTP/1."):  # to HEAD
            body = b""
        else:
            size = int(headers["content-length"])
            if len(received) < size:
                raise MalformedError(f"{len(received)} bytes instead of {size}")
            body, received = received[:size], received[size:]
        answers.append(Answer(int(match[1]), headers, body))
    return answers


def request(
    method: str = "GET",
    target: str = "/simple/my-dist/",
    *headers: tuple[str, str | bytes],
    host: str | bytes | None = "localhost",
    body: bytes | None = None,
    version: str = "HTTP/1.1",
) -> bytes:
    """Write a request; text goes over the wire as UTF-8, in the target with escapes."""
    sent = [("Connection", "close"), *([] if host is None else [("Host", host)]), *headers]
    if body is not None:
        sent.append(("Content-Length", str(len(body))))
    target = quote(target, safe=string.printable)
    lines = [f"{method} {target} {version}".encode()]
    lines += [name.encode() + b": " + _bytes(value) for name, value in sent]
    return b"\r\n".join([*lines, b"", body or b""])


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode()


@dataclass(frozen=True)
class Index:
    """A server process, and what it could harm."""

    person: Person
    port: int
    log_file: Path
    process_id: int

    @property
    def directory(self) -> Path:
        """Its distributions directory."""
        return self.person.paths.distributions

    @property
    def log(self) -> str:
        """All that it has written to standard error."""
        return self.log_file.read_text()

    def exchange(self, sent: bytes) -> bytes:
        """Send something; return all that comes until the server closes the connection."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=100) as connection:
            connection.sendall(sent)
            return b"".join(iter(lambda: connection.recv(1 << 16), b""))

    def ask(self, sent: bytes) -> Answer:
        """Send one request; there must be one answer."""
        (answer,) = read_answers(self.exchange(sent))
        return answer

    def disk(self) -> dict[str, tuple[object, ...]]:
        """Tell of every file of the person; only what the index remembers is its own to change."""
        found: dict[str, tuple[object, ...]] = {}
        for at, directories, files in os.walk(self.person.home):
            if Path(at) == self.person.paths.state:
                continue
            for name in directories:
                found[str(Path(at, name))] = ("directory",)
            for name in files:
                path = Path(at, name)
                if path == self.log_file:
                    continue
                status = path.lstat()
                content = path.read_bytes() if stat.S_ISREG(status.st_mode) else b""
                found[str(path)] = (
                    status.st_mode, status.st_ino, status.st_mtime_ns,
                    hashlib.sha256(content).digest(),
                )  # fmt: skip
        return found


@contextmanager
def serving(
    home: Path, settings: str = "", *options: str, file_limit_bytes: int | None = None
) -> Iterator[Index]:
    """Run a server in a home.

    Args:
        home: of the person.
        settings: of its config.toml.
        options: further ones of `server run`.
        file_limit_bytes: of how many bytes a file may be that the server writes.
    """
    person = Person(home)
    person.paths.config.mkdir(parents=True, exist_ok=True)
    person.paths.settings.write_text(f"[server]\n{settings}")
    for user, password in ((READER, READERS_PASSWORD), (passwords.UPLOADER, TOKEN)):
        passwords.save(person.paths.passwords, user, password)
    log = home / "log"

    words = ("server", "run", "--port", "0", "--fallback-url", FALLBACK, *options)
    with (
        log.open("wb") as stderr,
        start_command(words, person.environment, stderr) as process,
    ):
        try:
            if file_limit_bytes is not None:
                limits = (file_limit_bytes, file_limit_bytes)
                resource.prlimit(process.pid, resource.RLIMIT_FSIZE, limits)
            assert process.stdout is not None
            line = process.stdout.readline()
            match = re.fullmatch(r"http://127\.0\.0\.1:(\d+)/simple/\n", line)
            assert match is not None, line + log.read_text()
            yield Index(person, int(match[1]), log, process.pid)
        finally:
            process.kill()


def furnish(home: Path) -> None:
    """Make distributions that are served, and whatever else may lie beside them."""
    directory = Person(home).paths.distributions
    outside = home / "outside"
    for version in ("1.0", "2.0"):
        wheel(directory, "my-dist", version, content=CONTENT)
    _stored(sdist(directory, "my-dist", "0.9", content=CONTENT))
    _stored(sdist(outside, "hard", "1.0", content=CONTENT))
    release_lists.YANKED.save(directory, {"my-dist": {"2.0": REASON}})
    (outside / HARD).rename(home / HARD)
    (directory / HARD).hardlink_to(home / HARD)
    for name in ("linked", "absolute", "hidden", "sub"):
        _stored(sdist(outside, name, "1.0", content=SECRET))
    (home / "secret.txt").write_bytes(SECRET)
    (directory / "linked-1.0.tar.gz").symlink_to("../../../outside/linked-1.0.tar.gz")
    (directory / "absolute-1.0.tar.gz").symlink_to(outside / "absolute-1.0.tar.gz")
    (directory / "within-1.0.tar.gz").symlink_to(OLD)
    (directory / "dangling-1.0.tar.gz").symlink_to("nowhere")
    (directory / "loop-1.0.tar.gz").symlink_to("loop-1.0.tar.gz")
    (directory / "device-1.0.tar.gz").symlink_to("/dev/zero")
    (directory / "folder").symlink_to(outside)
    (directory / "folder-1.0.tar.gz").mkdir()
    (directory / "sub").mkdir()
    os.mkfifo(directory / "fifo-1.0.tar.gz")
    (directory / "pipe-1.0.tar.gz").symlink_to("fifo-1.0.tar.gz")
    for name in (".hidden-1.0.tar.gz", ".my_dist-3.0.tar.gz.x7f_3a", "sub/sub-1.0.tar.gz"):
        (directory / name).write_bytes((outside / "hidden-1.0.tar.gz").read_bytes())
    (directory / ".upload-abc").mkdir()
    (directory / ".upload-abc/hidden-1.0.tar.gz").write_bytes(SECRET)
    # Of the names only the tags differ from those of an honest wheel.
    content = (directory / WHEEL).read_bytes()
    for tag in (b"any" + MARKUP.encode(), b'any"onclick="x', b"any\xff", b"any\nx", "änÿ".encode(),
                b"any%2e", b"any#x", b"any?x", b"any&lt;x", b"any x", b"any\x7f"):  # fmt: skip
        (directory / os.fsdecode(b"my_dist-1.0-py3-none-" + tag + b".whl")).write_bytes(content)
    (directory / "broken-1.0.tar.gz").write_bytes(SECRET)
    (directory / "other-1.0-py3-none-any.whl").write_bytes(content)
    (directory / "notes.txt").write_bytes(SECRET)
    (directory / os.fsdecode(b"\xff\n\xfe")).write_bytes(SECRET)
    for path in (*directory.rglob("*"), directory):
        os.utime(path, (_LONG_AGO_S, _LONG_AGO_S), follow_symlinks=False)


def _stored(path: Path) -> None:
    """Write a compressed archive anew, so that its content is seen."""
    import gzip

    content = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(content, compresslevel=0, mtime=0))


def settle(index: Index) -> None:
    """Have the index examine every file, so that its log says all there is to say."""
    right = ("Authorization", basic(READER, READERS_PASSWORD))
    for path in list(index.directory.iterdir()):
        quoted = "".join(f"%{byte:02x}" for byte in os.fsencode(path.name))
        index.ask(request("GET", f"/packages/{quoted}", right))


def basic(user: str, password: str) -> str:
    """Write credentials for `Authorization`."""
    import base64

    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"
