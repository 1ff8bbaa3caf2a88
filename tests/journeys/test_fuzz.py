"""Requests and files that nobody would think of: valid parts, mixed and damaged by hypothesis.

The same every time; `make fuzz` tries a hundred thousand others.
"""

import gzip
import io
import os
import re
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from fuzzing import damaged, fuzzed
from hostile import (
    CONTENT,
    FALLBACK,
    OLD,
    READER,
    READERS_PASSWORD,
    SECRET,
    SERVED,
    TOKEN,
    WHEEL,
    YANKED,
    Answer,
    Index,
    basic,
    furnish,
    read_answers,
    request,
    serving,
    settle,
)
from hypothesis import given
from hypothesis import strategies as st
from wheels import metadata

from pypi_insiders.index import distribution, file_contents
from pypi_insiders.index.distribution import DistributionError

_READER, _UPLOADER = basic(READER, READERS_PASSWORD), basic("__token__", TOKEN)
_LOCATION = re.compile(
    rf"(\.\./)*(insiders/)?(simple/)?([a-z0-9-]+/)?|{re.escape(FALLBACK)}[a-z0-9-]+/"
)
_NOT_OURS = b"the host name is not one of this index\n"
_ANY_LINES = re.compile(r"Traceback|error", re.IGNORECASE)


# What requests are made of.

_ODD_METHODS = st.sampled_from(
    [b"PUT", b"DELETE", b"PATCH", b"OPTIONS", b"TRACE", b"CONNECT", b"PROPFIND", b"X"]
)
_SEGMENTS = st.sampled_from(
    [*(name.encode() for name in SERVED), *(name.encode() + b".metadata" for name in SERVED),
     b"simple", b"packages",
     b"insiders", b"my-dist", b"My_Dist", b"hard", b"no-dist", b"json", b"health", b"legacy",
     b"..", b".", b"",
     b".yanked.json", b".hidden-1.0.tar.gz", b"linked-1.0.tar.gz", b"absolute-1.0.tar.gz",
     b"within-1.0.tar.gz",
     b"fifo-1.0.tar.gz", b"device-1.0.tar.gz", b"folder", b"sub", b"sub-1.0.tar.gz",
     b"broken-1.0.tar.gz", b"notes.txt",
     b".upload-abc", b"secret.txt", b"outside", b"dists", b"etc", b"passwd", b"%ff%0a%fe", b"RPC2"]
)  # fmt: skip
_ROUTES = st.sampled_from(
    [b"/", b"/simple/", b"/simple", b"/simple/my-dist/", b"/simple/no-dist/", b"/simple/My_Dist",
     b"/packages/", b"/project/my-dist/", b"/project/My_Dist/", b"/project/no-dist/",
     b"/-/style.css",
     b"/my-dist/json", b"/health", b"/legacy/", b"/insiders/simple/", b"/insiders/simple/my-dist/",
     b"/insiders",
     *(b"/packages/" + name.encode() for name in SERVED),
     b"/packages/" + WHEEL.encode() + b".metadata"]
)  # fmt: skip
_TARGETS = st.one_of(
    _ROUTES,
    st.builds(
        lambda begin, parts: begin + b"/".join(parts),
        st.sampled_from([b"/simple/", *3 * [b"/packages/"], b"/", b"//", b"/insiders/", b"",
        b"http://localhost/"]),
        st.lists(damaged(_SEGMENTS), max_size=4),
    ),
    st.builds(lambda route, query: route + b"?" + query, _ROUTES, damaged(_SEGMENTS)),
)  # fmt: skip
_OURS = [b"localhost", b"127.0.0.1", b"[::1]", b"LOCALHOST.", b"localhost:31411"]
_FOREIGN = [
    b"evil.com",
    b"localhost.evil.com",
    b"2130706433",
    b"10.0.0.1",
    b"[::2]",
    b"localhost@evil.com",
    b"",
]

_VALUES: dict[bytes, list[bytes]] = {
    b"Accept": [b"*/*", b"text/html", b"application/vnd.pypi.simple.v1+json;q=0.5",
                b"text/*;q=0.1", b"*/*;q=0",
                b"application/vnd.pypi.simple.v1+json, text/html;q=0.01", b'text/html;x="y"',
                b",".join(500 * [b"x/y;q=1"])],
    b"Range": [b"bytes=0-9", b"bytes=-5", b"bytes=5-", b"bytes=0-", b"bytes=9999999-",
               b"bytes=0-0,2-3", b"bytes=-99999",
               b"items=0-1", b"bytes=5-2"],
    b"If-None-Match": [b"*", b'"x"', b'W/"x", "y"', b",".join(500 * [b'"x"'])],
    b"If-Range": [b'"x"', b"Thu, 01 Jan 2099 00:00:00 GMT"],
    b"If-Match": [b"*", b'"x"'],
    b"If-Modified-Since": [b"Thu, 01 Jan 2099 00:00:00 GMT"],
    b"Authorization": [b"Basic eDp5", b"Basic Og==", b"Basic \xe4", b"Bearer x",
                       b'Digest username="x", uri="/", qop=auth', b"Basic"],
    b"Origin": [b"http://localhost", b"https://evil.com", b"null", b"http://[::1]:1"],
    b"Sec-Fetch-Site": [b"none", b"same-origin", b"cross-site"],
    b"Referer": [b"https://evil.com/"],
    b"Cookie": [b"a=b; c=d"],
    b"Content-Type": [b"multipart/form-data; boundary=limit", b"application/x-www-form-urlencoded",
                      b"text/xml",
                      b'multipart/form-data; boundary="li"'],
    b"X-Forwarded-Host": [b"evil.com"],
    b"X-Forwarded-Proto": [b"https"],
    b"Forwarded": [b"host=evil.com"],
    b"X-HTTP-Method-Override": [b"DELETE"],
    b"User-Agent": [b"pip/25", b"twine/6"],
    b"Accept-Encoding": [b"gzip, br;q=0.1"],
}  # fmt: skip


def _headers(
    etags: list[bytes], names: list[bytes], min_size: int
) -> st.SearchStrategy[list[tuple[bytes, bytes]]]:
    values = {name: st.sampled_from(known + (etags if name[:2] == b"If" else []))
              for name, known in _VALUES.items()}  # fmt: skip
    one = st.sampled_from(names).flatmap(
        lambda name: st.tuples(st.just(name), damaged(values[name]))
    )
    return st.lists(one, min_size=min_size, max_size=4)


def _sendable(value: bytes, allowed: bytes) -> bytes:
    """Leave out what lets the server refuse a request before the application sees it."""
    return re.sub(rb"[^" + allowed + rb"]", b"", value)


@dataclass(frozen=True)
class Case:
    """One request; whose host is asked for is known."""

    is_private: bool
    is_foreign: bool
    method: bytes
    target: bytes
    version: bytes
    host: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes

    def write(self, body: bytes) -> bytes:
        """Write the request with some body."""
        # What says where it ends comes first, so that nothing that follows can move it.
        lines = [
            b" ".join([self.method, self.target, self.version]),
            b"Connection: close",
            b"Content-Length: %d" % len(body),
            b"Host: " + self.host,
            *(name + b": " + value for name, value in self.headers),
        ]
        return b"\r\n".join([*lines, b"", body])


def _part(name: bytes, value: bytes, filename: bytes | None = None) -> bytes:
    disposition = b'Content-Disposition: form-data; name="' + name + b'"'
    if filename is not None:
        disposition += b'; filename="' + filename + b'"'
    return b"--limit\r\n" + disposition + b"\r\n\r\n" + value + b"\r\n"


_FIELDS = st.sampled_from(
    [(b":action", b"file_upload"), (b":action", b"remove_pkg"), (b"sha256_digest", 64 * b"0"),
     (b"name", b"my-dist"),
     (b"version", b"1.0"), (b"protocol_version", b"1"), (b"metadata_version", b"2.1"),
     (b"blake2_256_digest", b"x")]
)  # fmt: skip


@st.composite
def _forms(draw: Callable[..., Any], files: dict[bytes, bytes]) -> bytes:
    """An upload of what is there already, more or less."""
    name = draw(st.sampled_from(list(files)))
    parts = [_part(b":action", b"file_upload")]
    parts += [_part(*item) for item in draw(st.lists(_FIELDS, max_size=2))]
    content = draw(st.sampled_from([files[name], files[name], *files.values(), b""]))
    parts.append(_part(b"content", content, draw(damaged(st.just(name)))))
    found: bytes = draw(damaged(st.just(b"".join([*parts, b"--limit--\r\n"]))))
    return found


@st.composite
def _cases(draw: Callable[..., Any], files: dict[bytes, bytes]) -> Case:
    one_in_ten = st.sampled_from([*9 * [False], True])
    is_private = draw(st.sampled_from([False, False, True]))
    is_foreign = draw(one_in_ten)
    host = draw(st.sampled_from(_FOREIGN if is_foreign else _OURS))
    method = draw(st.sampled_from([b"GET", b"GET", b"GET", b"HEAD", b"POST", b"POST"]))
    target, body = draw(damaged(_TARGETS)), b""
    names, min_size = list(_VALUES), 0
    shape = draw(st.sampled_from(["any", "any", "file", "file", "page"]))
    if shape == "file":
        target, min_size = b"/packages/" + draw(st.sampled_from(list(files))), 1
        names = [*3 * [b"Range"], b"If-None-Match", b"If-Match", b"If-Range"]
    elif shape == "page":
        target, min_size = draw(_ROUTES), 1
        names = [*3 * [b"Accept"], b"If-None-Match"]
    etags = [b'"' + sha256(content).hexdigest().encode() + b'"' for content in files.values()]
    headers = draw(_headers(etags, names, min_size))
    # Credentials that are right lead further.
    credentials = [None, basic(READER, "wrong").encode(), *3 * [_READER.encode()]]
    if method == b"POST":
        headers.append((b"Content-Type", b"multipart/form-data; boundary=limit"))
        target = draw(st.sampled_from([b"/", b"/", b"/legacy/", target]))
        body = draw(_forms(files))
        credentials += 10 * [_UPLOADER.encode()]
    elif draw(one_in_ten):
        method, body = draw(_ODD_METHODS), draw(st.binary(max_size=100))
    credential = draw(st.sampled_from(credentials))
    if credential is not None:
        headers = [item for item in headers if item[0] != b"Authorization"]
        headers.append((b"Authorization", credential))
    if not draw(one_in_ten):
        target = _sendable(target, rb"!-~")
        headers = [(name, _sendable(value, rb"\t -~\x80-\xff")) for name, value in headers]
    if not target.startswith(b"/"):
        # A request line that is none is a matter of the server, not of the application.
        target = target.replace(b"[", b"(").replace(b"]", b")")
    version = b"HTTP/1.0" if draw(one_in_ten) else b"HTTP/1.1"
    return Case(is_private, is_foreign, method, target, version, host, headers, body)


# What holds of every answer.


@dataclass(frozen=True)
class Watched:
    """An index, and how it was before."""

    index: Index
    disk: dict[str, tuple[object, ...]]
    seen: dict[str, tuple[int, ...]]

    @classmethod
    def of(cls, index: Index) -> "Watched":
        return cls(index, index.disk(), _look(index.directory))


def _look(directory: Path) -> dict[str, tuple[int, ...]]:
    """Tell the state of a directory's files at little cost."""
    with os.scandir(directory) as items:
        return {
            item.name: (status.st_ino, status.st_size, status.st_mtime_ns, status.st_mode)
            for item in items
            for status in [item.stat(follow_symlinks=False)]
            if not item.is_dir(follow_symlinks=False)
        }


def _start(home: Path, settings: str) -> Iterator[Watched]:
    furnish(home)
    with serving(home, settings) as index:
        settle(index)
        watched = Watched.of(index)
        yield watched
        assert index.disk() == watched.disk
        assert _ANY_LINES.findall(index.log) == []


@pytest.fixture(scope="module")
def public(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    yield from _start(tmp_path_factory.mktemp("public"), "uploads = true\n")


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    yield from _start(tmp_path_factory.mktemp("private"), "auth = true\nuploads = true\n")


def _take_back(watched: Watched, answers: list[Answer]) -> None:
    """Remove what was published, if only that was done, and under a name that it may have."""
    for answer in answers:
        if answer.status == 200 and answer.body.startswith(b"published "):
            name = answer.body.decode().removeprefix("published ").removesuffix("\n")
            assert distribution.release_of(name)[0] in ("my-dist", "hard")
            assert name not in watched.seen
            (watched.index.directory / name).unlink()


def _check(watched: Watched, case: Case, files: dict[bytes, bytes]) -> None:
    index = watched.index
    log_bytes = index.log_file.stat().st_size
    sent = case.write(case.body)
    try:
        received = index.exchange(sent)
        answers = read_answers(received)
    except ConnectionResetError:
        # A head that is none is refused before the body is read; so that is what it must be.
        received = index.exchange(case.write(b""))
        answers = read_answers(received)
        assert answers[0].status in (400, 431)
    assert answers
    _take_back(watched, answers)
    assert _look(index.directory) == watched.seen
    assert SECRET not in received
    for answer in answers:
        assert answer.status < 500
        assert _LOCATION.fullmatch(answer.headers.get("location", "x/"))
        if case.is_foreign:
            # pip shows the reason of a page that it cannot read only.
            assert answer.status in (400, 421, 431) or answer.body in (b"Ok", b"", _NOT_OURS)
        assert answer.status not in (206, 416) or case.method == b"GET"
        if answer.status == 206:
            span = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", answer.headers["content-range"])
            assert span is not None
            begin, last, size = map(int, span.groups())
            parts = [it[begin : last + 1] for it in files.values() if len(it) == size]
            assert answer.body in parts
        elif answer.headers.get("content-type") == "application/octet-stream" and answer.body:
            assert answer.body in files.values()
    if case.is_private and not any(it.encode() in sent for it in (_READER, _UPLOADER)):
        assert CONTENT not in received
        assert b"my_dist" not in received
    with index.log_file.open() as log:
        log.seek(log_bytes)
        assert _ANY_LINES.findall(log.read()) == []
    assert index.ask(request("GET", "/health")).body == b"Ok"


def test_no_request_does_harm(public: Watched, private: Watched) -> None:
    files = {name.encode(): (public.index.directory / name).read_bytes() for name in SERVED}
    assert files[OLD.encode()] == (private.index.directory / OLD).read_bytes()
    assert YANKED.encode() in files

    @fuzzed(10, usual=400)
    @given(_cases(files))
    def check(case: Case) -> None:
        _check(private if case.is_private else public, case, files)

    check()


_TEXT = metadata("my-dist", "1.0", "Requires-Python: >=3.8", "", "Text").encode()


def _zip(name: str, compression: int, text: bytes) -> bytes:
    with io.BytesIO() as file:
        with zipfile.ZipFile(file, "w", compression) as archive:
            archive.writestr(zipfile.ZipInfo(name), text, compression)
        return file.getvalue()


def _tar(kind: int) -> bytes:
    """Write an archive some of whose members need a head of their own."""
    with io.BytesIO() as file:
        with tarfile.open(fileobj=file, mode="w", format=kind) as archive:
            for name, content in (
                (f"my_dist-1.0/{150 * 'x'}é", b"x"),
                ("my_dist-1.0/PKG-INFO", _TEXT),
            ):
                member = tarfile.TarInfo(name)
                member.size, member.mtime = len(content), 1.5
                archive.addfile(member, io.BytesIO(content))
        return file.getvalue()


_METHODS_OF_ZIP = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
_METADATA, _PKG_INFO = "my_dist-1.0.dist-info/METADATA", "my_dist-1.0/PKG-INFO"
_SDIST, _WHEEL, _ZIP = "my_dist-1.0.tar.gz", "my_dist-1.0-py3-none-any.whl", "my_dist-1.0.zip"
_Pack = Callable[[bytes], bytes]
_packed: _Pack = partial(gzip.compress, compresslevel=1, mtime=0)
# What is damaged, and what is made of it then.
_FILES: list[tuple[str, bytes, _Pack]] = [
    *((_WHEEL, _zip(_METADATA, method, _TEXT), bytes) for method in _METHODS_OF_ZIP),
    (_WHEEL, _TEXT, partial(_zip, _METADATA, zipfile.ZIP_STORED)),
    (_ZIP, _zip(_PKG_INFO, zipfile.ZIP_DEFLATED, _TEXT), bytes),
    (_SDIST, _tar(tarfile.GNU_FORMAT), _packed),
    (_SDIST, _tar(tarfile.PAX_FORMAT), _packed),
    (_SDIST, _packed(_tar(tarfile.PAX_FORMAT)), bytes),
]


def test_no_file_does_harm(tmp_path: Path) -> None:
    """Whatever it is, it is read, or refused in one line."""
    for name, sound, pack in _FILES:
        (tmp_path / name).write_bytes(pack(sound))
        assert file_contents.read(tmp_path / name).requires_python == ">=3.8"

    @fuzzed(14, usual=400)
    @given(
        st.sampled_from(_FILES).flatmap(
            lambda item: st.tuples(st.just(item[0]), damaged(st.just(item[1])).map(item[2]))
        )
    )
    def check(file: tuple[str, bytes]) -> None:
        name, content = file
        path = tmp_path / name
        path.write_bytes(content)
        problem, digest = "", sha256(content).hexdigest()
        try:
            digest = file_contents.read(path).sha256
        except DistributionError as error:
            problem = error.message
        assert (digest, problem.isprintable()) == (sha256(content).hexdigest(), True)

    check()
