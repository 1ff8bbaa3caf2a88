# ruff: noqa: RUF001 - characters that look like others are what is sent
"""Hostile requests by hand: what each is answered, and what it must never do.

Every row is sent to a server process, and for every row holds: one well-formed answer, no error of
the server, nothing new in its log, nothing changed on the disk, nothing secret in the answer, and
no redirect that leaves it except to the fallback.
"""

import base64
import gzip
import hashlib
import io
import json
import os
import re
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest
from hostile import (
    CONTENT,
    FALLBACK,
    HARD,
    MARKUP,
    OLD,
    READER,
    READERS_PASSWORD,
    REASON,
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
from wheels import metadata, sdist, wheel

from pypi_insiders.index import release_lists

JSON = "application/vnd.pypi.simple.v1+json"
HTML = "text/html"
_REDIRECT = re.compile(
    rf"(\.\./)*(insiders/)?(simple/)?([a-z0-9-]+/(json)?)?|{re.escape(FALLBACK)}[a-z0-9-]+/"
)
_READER = ("Authorization", basic(READER, READERS_PASSWORD))
_UPLOADER = ("Authorization", basic("__token__", TOKEN))
_NINES = 5000 * "9"
_MOST_HEADER_BYTES = 32 * 1024


class Row(NamedTuple):
    """A request, and its answer."""

    request: bytes
    status: int
    headers: dict[str, str] = {}  # noqa: RUF012 - nobody changes it
    body: bytes | None = None


def _start(directory: Path, settings: str) -> Iterator[Index]:
    furnish(directory)
    with serving(directory, settings) as index:
        settle(index)
        yield index
        assert "Traceback" not in index.log


@pytest.fixture(scope="module")
def read_only(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    """An index as it is by default, after its log has told of an upload and of a push."""
    for index in _start(tmp_path_factory.mktemp("read-only"), ""):
        for sent in (_upload(NEW, b""), request("POST", "/hooks/github", body=b"")):
            index.exchange(sent)
        assert "uploads are off" in index.log
        yield index


@pytest.fixture(scope="module")
def open_to_uploads(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    """One that everybody reads, and that takes uploads."""
    yield from _start(tmp_path_factory.mktemp("uploads"), "uploads = true\n")


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    """One that asks for passwords."""
    yield from _start(tmp_path_factory.mktemp("private"), "auth = true\nuploads = true\n")


def check(index: Index, row: Row) -> Answer:
    """Send a request; whatever it is, it must do no harm."""
    disk, log = index.disk(), index.log
    received = index.exchange(row.request)
    (answer,) = read_answers(received)
    if "x-content-type-options" not in answer.headers:
        # What is no HTTP, or too much of it, the server refuses before the application sees it.
        is_large = len(row.request.partition(b"\r\n\r\n")[0]) > _MOST_HEADER_BYTES
        assert answer.status == (431 if is_large else 400)
        assert is_large or row.status >= 400
        assert (index.log, index.disk()) == (log, disk)
        return answer
    assert (answer.status, answer.headers | row.headers) == (row.status, answer.headers)
    if row.body is not None:
        assert answer.body == row.body
    assert SECRET not in received
    assert _REDIRECT.fullmatch(answer.headers.get("location", "x/"))
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert (index.log, index.disk()) == (log, disk)
    return answer


def table(rows: dict[str, Row]) -> pytest.MarkDecorator:
    """Make a test of each row, of that name."""
    return pytest.mark.parametrize("row", list(rows.values()), ids=list(rows))


def _each(status: int, requests: dict[str, bytes], **headers: str) -> dict[str, Row]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return {name: Row(sent, status, named) for name, sent in requests.items()}


# Who is asked.

HOSTS = _each(
    200,
    {
        host: request(host=host)
        for host in (
            "localhost", "LOCALHOST", "localhost.", "LocalHost.:80", "localhost:", "127.0.0.1",
            "127.0.0.1:1", "127.255.255.254", "[::1]", "[::1]:31411", "[0:0:0:0:0:0:0:1]",
            "localhost:65535",
        )
    },
) | _each(
    421,
    {
        host: request(host=host)
        for host in (
            "evil.com", "evil.com:31411", "127.0.0.1.evil.com", "localhost.evil.com",
            "evillocalhost", "local.host", "2130706433", "0x7f.1", "0x7f000001", "0177.0.0.1",
            "127.1", "127.0.0.1.", "0", "0.0.0.0", "[::]", "169.254.169.254", "10.0.0.1",
            "[fe80::1]", "[::ffff:10.0.0.1]", "xn--lcalhost-50a", "_", "...", "localhost-",
        )
    },
) | _each(
    400,
    {
        "none": request(host=None),
        "empty": request(host=""),
        "two": request("GET", "/simple/my-dist/", ("Host", "evil.com")),
        "twice the same": request("GET", "/simple/my-dist/", ("Host", "localhost")),
        "evil one first": request("GET", "/simple/", ("Host", "localhost"), host="evil.com"),
    }
    | {
        repr(host): request(host=host)
        for host in (
            "localhost:1@evil", "evil@localhost", "user:password@localhost", "localhost:x",
            "localhost:-1", "localhost/", "localhost/../", "localhost?", "localhost#", "local host",
            "localhost,evil.com", "http://localhost", "[::1", "::1", "[::1]evil", "[localhost]",
            "[::1%25lo]", "[127.0.0.1", ":31411", ":", "lоcalhost", "ⓛocalhost", "localhost。",
            b"localhost\xff", b"\xff\xfe", "%6cocalhost", "localhost\\", "*",
            "localhost\u00a0", "[]", "[v1.x]", 70_000 * "a" + "!", '"localhost"', "localhost;",
        )
    },
)  # fmt: skip


@table(HOSTS)
def test_the_host_must_be_ours(read_only: Index, row: Row) -> None:
    """Else any web page could read the index: its name leads here by DNS rebinding."""
    answer = check(read_only, row)
    assert (row.status == 200) == (b"my_dist" in answer.body)


def test_no_other_host_reaches_any_page(read_only: Index) -> None:
    for target in ("/", "/simple/", f"/packages/{WHEEL}", "/packages/", "/my-dist/json", "/no"):
        check(read_only, Row(request("GET", target, host="evil.com"), 421))
        check(read_only, Row(request("POST", target, host="evil.com", body=b""), 421))


def test_who_guesses_does_not_hold_up_others(private: Index) -> None:
    """Whatever comes of the guesses, who has a password reads on."""
    assert private.ask(request("GET", "/simple/", _READER)).status == 200

    def guess(number: int) -> Answer:
        wrong = basic(READER, f"wrong {number}")
        return private.ask(request("GET", "/simple/", ("Authorization", wrong)))

    with ThreadPoolExecutor(16) as pool:
        guesses = [pool.submit(guess, number) for number in range(64)]
        right = {private.ask(request("GET", "/simple/", _READER)).status for _ in range(10)}
        answers = [guess.result() for guess in guesses]
    assert right == {200}
    assert {answer.status for answer in answers} == {401, 429}
    assert {answer.headers["retry-after"] for answer in answers if answer.status == 429} == {"1"}


def test_health_is_told_to_everybody(read_only: Index, private: Index) -> None:
    """Whoever watches the service knows neither its name nor a password."""
    for index in (read_only, private):
        for host in ("evil.com", "localhost", "x:1"):
            check(index, Row(request("GET", "/health", host=host), 200, body=b"Ok"))
        check(index, Row(request("HEAD", "/health", host="x"), 200, {"content-length": "2"}, b""))


def test_forwarded_hosts_are_not_believed(read_only: Index) -> None:
    """The front page tells clients which URL to use."""
    forwarded = [
        (name, value)
        for name in ("X-Forwarded-Host", "X-Forwarded-Server", "X-Host", "X-Original-Host")
        for value in ("evil.com",)
    ]
    forwarded += [("Forwarded", "host=evil.com;proto=https"), ("X-Forwarded-Proto", "javascript")]
    for target in ("/", "/packages/", "/simple/", "/my-dist/json", "/simple/My_Dist/"):
        plain = check(read_only, Row(request("GET", target), 301 if "My" in target else 200))
        row = Row(request("GET", target, *forwarded), plain.status, body=plain.body)
        answer = check(read_only, row)
        assert answer.headers.get("location") == plain.headers.get("location")
        assert b"evil" not in answer.body


# Where there is nothing.

_NOWHERE = [
    *(f"/packages/{name}" for name in (
        "../secret.txt", "../../../../secret.txt", "%2e%2e/%2e%2e/secret.txt", "..%2fsecret.txt",
        "..%5c..%5csecret.txt", "..\\secret.txt", "%252e%252e%252fsecret.txt", "....//secret.txt",
        "..;/secret.txt", "%c0%ae%c0%ae/secret.txt", "%c0%ae%c0%ae%c0%afsecret.txt",
        "..%c0%afsecret.txt", "%uff0e%uff0e/secret.txt", "\uff0e\uff0e/secret.txt", "/etc/passwd",
        "//etc/passwd", "%2fetc%2fpasswd", "%2f%2fetc%2fpasswd", "../../../../../../../etc/passwd",
        f"../dists/{WHEEL}", f"./{WHEEL}", f"%2e/{WHEEL}", f"/{WHEEL}", f"%2f{WHEEL}",
        f"x/../{WHEEL}",
        f"sub/../{WHEEL}", f"{WHEEL}/", f"{WHEEL}/.", f"{WHEEL}/..", f"{WHEEL}%00",
        f"{WHEEL}%00.txt",
        f"{WHEEL}%2f", f"%00{WHEEL}", f"{WHEEL}%0a", f"{WHEEL}%0d%0aX:%20y", f"{WHEEL}%20",
        f"%20{WHEEL}",
        f"{WHEEL};", f"{WHEEL};x=y", f"{WHEEL}.", f"{WHEEL}~", f"{WHEEL}.asc", f"{WHEEL.upper()}",
        WHEEL.replace("_", "%255f"), f"{WHEEL}.METADATA", f"{WHEEL}.metadata.metadata",
        f"{OLD}.metadata",
        "linked-1.0.tar.gz", "absolute-1.0.tar.gz", "within-1.0.tar.gz", "dangling-1.0.tar.gz",
        "loop-1.0.tar.gz", "device-1.0.tar.gz", "pipe-1.0.tar.gz", "fifo-1.0.tar.gz",
        "folder-1.0.tar.gz", "folder-1.0.tar.gz/", "folder", "folder/", "folder/linked-1.0.tar.gz",
        "folder%2flinked-1.0.tar.gz", "folder/hidden-1.0.tar.gz", "sub", "sub/",
        "sub/sub-1.0.tar.gz",
        "sub%2fsub-1.0.tar.gz", ".hidden-1.0.tar.gz", "%2ehidden-1.0.tar.gz", ".yanked.json",
        "%2eyanked.json", "./.yanked.json", ".my_dist-3.0.tar.gz.x7f_3a", ".upload-abc",
        ".upload-abc/hidden-1.0.tar.gz", ".", "..", "%2e", "%2e%2e", "%00", "%", "%f", "%zz", "%ff",
        "%ff%0a%fe", "notes.txt", "broken-1.0.tar.gz", "other-1.0-py3-none-any.whl", "%20", "*",
        "~",
        "index.html", "favicon.ico", ".git/config", "proc/self/environ", 300 * "a" + "-1.0.tar.gz",
        60_000 * "a", 20_000 * "../", 20_000 * "%2e%2e%2f", 5_000 * "%00", "x" + 5_000 * "-1",
        "é.whl",
        ".metadata", "..metadata", "%00.metadata", "../secret.txt.metadata", f"../{WHEEL}.metadata",
        "broken-1.0.tar.gz.metadata", "linked-1.0.tar.gz.metadata", "file:///etc/passwd", "C:/x",
    )),
    *(f"/simple/{name}" for name in (
        "../", "..", "./", "%2e%2e/", "%2e%2e", "..%2f", "../../packages/", "/", "//",
        "//evil.com/",
        "%2f%2fevil.com/", "/evil.com/", "\\evil.com/", "%5cevil.com/", "https://evil.com/", "-/",
        "x/y/", "x/../", "x%2fy/", "x%00/", "%00/", "x%0a/", "x%0d%0aSet-Cookie:%20a=b/", "%0d%0a",
        "x%20/", "x%20y/", "%ff/", "x%ff/", "é/", "ſ/", "K/", "x;y/", "@evil.com/", "x@y/",
        "x:y/", ":80/",
        "<script>/", "%3Cscript%3E/", "_x/", "x_/", ".x/", "x./", "x%c0%af/", "..%c0%af", "x?/",
        "~/", "*/",
        "my-dist/..", "my-dist/../", "my-dist//", "my-dist/x", "my-dist/index.html", "my-dist%00/",
        "my-dist%2f/", "my-dist%0a/", "{{7*7}}/", "%25/", "$%7bx%7d/", 60_000 * "-" + "/",
        60_000 * "/",
    ) if "?" not in name),
    *(
        "//evil.com/", "//evil.com/..", "//evil.com/simple/", "//evil.com/%2e%2e",
        "///evil.com/simple/my-dist/", "/\\evil.com/", "/%5cevil.com", "/%2fevil.com/",
        "/.//evil.com/",
        "/./simple/", "/../simple/", "/%73imple%2fmy-dist%2f/", "/SIMPLE/", "/Simple/my-dist/",
        "/packages//", "/packages/./", "/x", "/x/", "/x/y", "/my-dist", "/my-dist/",
        "/My_Dist/json",
        "/my-dist/json/", "/my-dist/JSON", "/my-dist/x/json", "/%2e%2e/json", "/%0a/json",
        "/my-dist%0a/json",
        "/x%0d%0aSet-Cookie:a=b/json", "/json", "//json", "/favicon.ico", "/robots.txt", "//x",
        "/RPC2", "/pypi", "/legacy/", "/legacy", "/server-status", "/.git/config", "/.env",
        "/etc/passwd",
        "/..", "/.", "/../../../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/health/",
        "/health/..",
        "/Health", "/health%00", "/health;x", "/insiders/", "/insiders//", "/insiders/x",
        "/insiders/simple/no-dist/", "/insiders/simple/../", "/insiders/insiders/simple/",
        "/insiders/health",
        "/insiders/my-dist/json", "/insiders/packages/", "/insiders/packages/.yanked.json",
        "/insidersx/simple/",
        "/insiders/packages/../../simple/", "/insiders/packages/linked-1.0.tar.gz", "/%00",
        "/%ff", "/%", "/*",
        "/" + 60_000 * "a", 60_000 * "/" + "x", "/static/../simple/", "/simple\u2215",
        "/simple;x/", "/simple%20/",
    ),
]  # fmt: skip


@pytest.mark.parametrize("target", _NOWHERE, ids=lambda target: target[:60])
def test_there_is_nothing_else(read_only: Index, target: str) -> None:
    """No spelling of a path leads out of the directory, to what is hidden, or past a link.

    A misspelled address leads to the right one, on this server; or it stops an installer.
    """
    (answer,) = read_answers(read_only.exchange(request("GET", target)))
    assert answer.status in (301, 400, 404, 409, 410, 431)
    check(read_only, Row(request("GET", target), answer.status))
    check(read_only, Row(request("HEAD", target), answer.status))


ANSWERED = {
    # Host and scheme of an absolute form are those of a proxy's client: there is no proxy here.
    "absolute form": Row(request("GET", "http://localhost/simple/my-dist/"), 200),
    "its path": Row(request("GET", "http://localhost/packages/../secret.txt"), 404),
    "its escapes": Row(request("GET", "http://localhost/packages/%2e%2e/secret.txt"), 404),
    "of a file": Row(request("GET", "file:///etc/passwd"), 404),
    "an old client": Row(request(host=None, version="HTTP/1.0"), 200),
    "an old client of another": Row(request(host="evil.com", version="HTTP/1.0"), 421),
    "of another scheme": Row(request("GET", "gopher://localhost/packages/.yanked.json"), 404),
    "without a path": Row(request("GET", "http://localhost"), 200),
    "a relative path": Row(request("GET", f"packages/{WHEEL}"), 404),
    "only a query": Row(request("GET", "?x"), 404),
    "only dots": Row(request("GET", ".."), 404),
    "an asterisk": Row(request("GET", "*"), 404),
    "a query": Row(request("GET", "/simple/my-dist/?format=../x&y=%00"), 200),
    "a query that is none": Row(request("GET", "/simple/my-dist/???%%%&&&===%ff"), 200),
    "a long query": Row(request("GET", "/simple/my-dist/?" + 50_000 * "&"), 200),
    "a query of a file": Row(request("GET", f"/packages/{OLD}?../../x"), 200),
    "a fragment": Row(request("GET", f"/packages/{OLD}#sha256=x"), 200),
    "a slash that is escaped": Row(request("GET", f"/packages%2f{OLD}"), 200),
    "all is escaped": Row(
        request("GET", "/" + "".join(f"%{byte:02X}" for byte in b"simple/my-dist/")), 200
    ),
    "a hard link": Row(request("GET", f"/packages/{HARD}"), 200),
    "an escaped slash at the end": Row(request("GET", "/simple%2f"), 200),
    # The server takes slashes at the begin for one.
    "two slashes": Row(request("GET", "//my-dist/json"), 200),
    "many slashes": Row(request("GET", 60_000 * "/" + "simple/"), 200),
    "slashes and a host": Row(request("GET", "//evil.com/simple/my-dist/"), 409),
    "slashes and a name": Row(
        request("GET", "//simple/My_Dist"), 301, {"location": "my-dist/"}
    ),
    "a project that is none": Row(request("GET", "/no-dist/json"), 404),
}  # fmt: skip


@table(ANSWERED)
def test_odd_forms_of_a_target(read_only: Index, row: Row) -> None:
    check(read_only, row)


REDIRECTS = {
    target: Row(request("GET", target), status, {"location": location})
    for target, status, location in (
        ("/simple", 301, "simple/"),
        ("/packages", 301, "packages/"),
        ("/insiders", 301, "insiders/"),
        ("/insiders/simple", 301, "simple/"),
        ("/simple/My_Dist/", 301, "../my-dist/"),
        ("/simple/my-dist", 301, "my-dist/"),
        ("/simple/NO--.__Dist", 301, "no-dist/"),
        ("/simple/NO_dist/", 301, "../no-dist/"),
        ("/simple/evil.com", 301, "evil-com/"),
        ("/simple/evil.com/", 301, "../evil-com/"),
        ("/simple/no-dist/", 303, f"{FALLBACK}no-dist/"),
        ("/simple/no-dist/?x=https://evil.com", 303, f"{FALLBACK}no-dist/"),
        ("/simple/" + 5_000 * "a" + "/", 303, f"{FALLBACK}{5_000 * 'a'}/"),
        ("/insiders/simple/My_Dist", 301, "my-dist/"),
    )
}


@table(REDIRECTS)
def test_redirects_stay_here_or_lead_to_the_fallback(read_only: Index, row: Row) -> None:
    check(read_only, row)


@pytest.mark.parametrize("name", ["Host", "X-Forwarded-Host", "Referer", "Origin", "X-Original-URL",
                                  "X-Rewrite-URL", "X-HTTP-Method-Override", "Script-Name",
                                  "X-Script-Name", "Path-Info", "X-Forwarded-Prefix", "Cookie",
                                  "Proxy", "Upgrade", "Via"])  # fmt: skip
def test_a_redirect_does_not_depend_on_headers(read_only: Index, name: str) -> None:
    headers = [] if name == "Host" else [(name, "https://evil.com/.yanked.json")]
    sent = request("GET", "/simple/My_Dist/", *headers, host="localhost:1")
    check(read_only, Row(sent, 301, {"location": "../my-dist/"}))


# What is shown.

# What the front page has of its own.
_OURS = (
    b'<script src="./-/script.js" defer></script>',
    b'<img src="./-/icon.svg" alt="" width="24" height="24">',
)


@pytest.mark.parametrize(
    ("target", "accept"),
    [("/simple/my-dist/", HTML), ("/simple/", HTML), ("/", "*/*"), ("/packages/", "*/*")],
)
def test_foreign_text_does_not_become_markup(read_only: Index, target: str, accept: str) -> None:
    """Names of files and reasons of yanks hold what a browser would run."""
    page = check(read_only, Row(request("GET", target, ("Accept", accept)), 200))
    body = page.body
    if target == "/":
        for ours in _OURS:
            assert body.count(ours) == 1
            body = body.replace(ours, b"")
    assert re.findall(rb"<script|<img|onclick=\"|onerror=a[^&]*\">", body) == []
    tags = set(re.findall(rb"<([a-zA-Z0-9!]+)", body))
    assert tags <= {b"!DOCTYPE", b"html", b"head", b"meta", b"title", b"body", b"h1", b"a", b"br",
                    b"p", b"pre", b"code", b"em", b"i", b"style", b"link", b"header", b"nav",
                    b"main", b"section", b"h2", b"h3", b"table", b"caption", b"thead", b"tbody",
                    b"tr", b"th", b"td", b"time", b"span", b"div", b"footer", b"ul", b"li",
                    b"strong", b"form", b"fieldset", b"legend", b"label", b"input", b"select",
                    b"option", b"details", b"summary"}  # fmt: skip
    assert "default-src 'none'" in page.headers["content-security-policy"]


def test_a_reason_is_told_as_it_is(read_only: Index) -> None:
    page = check(read_only, Row(request("GET", "/simple/my-dist/", ("Accept", JSON)), 200))
    files = {file["filename"]: file for file in json.loads(page.body)["files"]}
    assert files[YANKED]["yanked"] == REASON
    assert not any(MARKUP in name or not name.isascii() for name in files)
    assert set(files) == set(SERVED) - {HARD}


@pytest.mark.parametrize("name", ["linked", "dangling", "fifo", "folder", "broken"])
def test_the_name_of_what_is_left_out_does_not_lead_to_the_fallback(
    read_only: Index, name: str
) -> None:
    """A package of the same name is perhaps there, and is not what was meant."""
    for path in (f"/simple/{name}/", f"/insiders/simple/{name}/", f"/{name}/json"):
        answer = check(read_only, Row(request("GET", path, ("Accept", JSON)), 409))
        assert json.loads(answer.body)["title"].startswith(f"{name} has no usable file: {name}-1.0")


def test_what_is_listed_can_be_had(read_only: Index) -> None:
    """Whatever the names of the files are."""
    listing = check(read_only, Row(request("GET", "/simple/", ("Accept", JSON)), 200))
    names = [project["name"] for project in json.loads(listing.body)["projects"]]
    assert names == ["hard", "my-dist"]
    for name in names:
        page = check(read_only, Row(request("GET", f"/simple/{name}/", ("Accept", JSON)), 200))
        for file in json.loads(page.body)["files"]:
            target = file["url"].replace("../../", "/")
            answer = check(read_only, Row(request("GET", target), 200))
            assert hashlib.sha256(answer.body).hexdigest() == file["hashes"]["sha256"]


@pytest.mark.parametrize("kind", ["link", "pipe", "folder", "nothing"])
def test_what_takes_the_place_of_a_file_is_not_sent(tmp_path: Path, kind: str) -> None:
    """Not even when the directory seems to be as it was."""
    furnish(tmp_path)
    with serving(tmp_path) as index:
        settle(index)
        path = index.directory / OLD
        before = index.directory.stat()
        path.unlink()
        if kind == "link":
            path.symlink_to(tmp_path / "secret.txt")
        elif kind == "pipe":
            os.mkfifo(path)
        elif kind == "folder":
            path.mkdir()
        os.utime(index.directory, ns=(before.st_atime_ns, before.st_mtime_ns))
        answer = index.ask(request("GET", f"/packages/{OLD}"))
        assert (answer.status, SECRET in answer.body) == (409 if kind != "nothing" else 410, False)
        assert index.ask(request("GET", f"/packages/{WHEEL}")).status == 200
        assert "Traceback" not in index.log


def test_a_reason_that_is_no_text_is_told_all_the_same(tmp_path: Path) -> None:
    furnish(tmp_path)
    with serving(tmp_path) as index:
        release_lists.YANKED.save(index.directory, {"my-dist": {"1.0": "not \udcff text"}})
        for accept in (HTML, JSON):
            answer = index.ask(request("GET", "/simple/my-dist/", ("Accept", accept)))
            assert (answer.status, b"not ? text" in answer.body) == (200, True)


# How it is asked.

METHODS = {
    method: Row(request(method, target, body=b"x"), 405, {"allow": "GET, HEAD"})
    for method, target in (
        ("POST", "/"), ("PUT", f"/packages/{WHEEL}"), ("DELETE", f"/packages/{WHEEL}"),
        ("PATCH", f"/packages/{WHEEL}"), ("OPTIONS", "/simple/"), ("OPTIONS ", "*"),
        ("TRACE", "/"), ("CONNECT", "localhost:80"), ("PROPFIND", "/"), ("MKCOL", "/packages/x"),
        ("MOVE", f"/packages/{WHEEL}"), ("COPY", f"/packages/{WHEEL}"), ("LOCK", "/"),
        ("PURGE", "/simple/"), ("X" * 5000, "/"), ("GETX", "/"), ("QUERY", "/simple/"),
        ("POST /RPC2", "/RPC2"), ("POST /health", "/health"), ("DELETE /health", "/health"),
        ("POST /legacy/", "/legacy/"), ("POST //", "//"), ("POST .", "/packages/../secret.txt"),
    )
    for method in [method.split()[0]]
}  # fmt: skip
METHODS |= {
    "POST to everything": Row(request("POST", "/simple/my-dist/", body=b""), 405),
    "POST to health": Row(request("POST", "/health", body=b""), 405),
    "XML-RPC": Row(request("POST", "/RPC2", ("Content-Type", "text/xml"), body=b"<x/>"), 405),
    "override": Row(request("GET", f"/packages/{OLD}", ("X-HTTP-Method-Override", "DELETE")), 200),
}


@table(METHODS)
def test_other_methods_are_refused(read_only: Index, row: Row) -> None:
    check(read_only, row)


# A server may ignore any range, and must ignore what is none. Source: RFC 9110, section 14.2.
_NO_RANGES: list[str | bytes] = [
    "", "bytes", "bytes=", "bytes=-", "bytes=--", "bytes=--1",
    "bytes=5-2",
    "bytes=1--1", "bytes=0--5", "bytes=-5-", "bytes=-5-9", "bytes=1-2-3", "bytes=a-b",
    "bytes=0x0-0x4",
    "bytes=+1-4", "bytes=1_0-20", "bytes=1e1-20", "bytes=1.0-4", "bytes=٠-٤", "bytes=０-４",
    "bytes:0-4",
    "bytes 0-4", "bytes=0-4/9", "bytes=*", "bytes=*/9", "items=0-4", "none", "lines=0-1",
    "=0-4", "=", "-",
    "0-4", "bytes=0-0,2-3", "bytes=0-0,", ",", "bytes=,0-0", "bytes=0-4,1-5", "bytes=-1,-1",
    "bytes=2-3,0-0",
    "bytes=" + ",".join(f"{n}-{n}" for n in range(0, 10_000, 2)),
    "bytes=" + ",".join(5_000 * ["0-"]),
    b"bytes=\xff-\xfe", b"bytes=0-\xb2", "bytes=0\u00a0-4", 60_000 * "-", 10_000 * "bytes=",
    "bytes=0-4;q=1",
    "bytes=0-0, bytes=1-1", 50_000 * ",", "bytes=" + 50_000 * " ",
]  # fmt: skip
RANGES: dict[str | bytes, tuple[int, slice | None]] = dict.fromkeys(
    _NO_RANGES, (200, slice(0, None))
) | {
    "bytes=0-0": (206, slice(0, 1)),
    "bytes=0-": (206, slice(0, None)),
    "bytes=5-9": (206, slice(5, 10)),
    "bytes=-1": (206, slice(-1, None)),
    "bytes=-7": (206, slice(-7, None)),
    "bytes=-1000000": (206, slice(0, None)),
    f"bytes=-{100 * '9'}": (206, slice(0, None)),
    "bytes=0-1000000": (206, slice(0, None)),
    f"bytes=0-{100 * '9'}": (206, slice(0, None)),
    f"bytes=3-{4000 * '9'}": (206, slice(3, None)),
    "bytes=00000-00001": (206, slice(0, 2)),
    "Bytes=0-0": (206, slice(0, 1)),
    f"bytes=-{_NINES}": (206, slice(0, None)),
    f"bytes=0-{_NINES}": (206, slice(0, None)),
    f"bytes={_NINES}-": (416, None),
    f"bytes={_NINES}-{_NINES}": (416, None),
    "bytes=-0": (416, None),
    "bytes=-00": (416, None),
    "bytes=1000000-": (416, None),
    "bytes=1000000-2000000": (416, None),
    f"bytes={100 * '9'}-": (416, None),
    f"bytes={4000 * '9'}-": (416, None),
}


@pytest.mark.parametrize("header", list(RANGES), ids=lambda header: repr(header)[:60])
def test_ranges(read_only: Index, header: str | bytes) -> None:
    """What is sent are the bytes that the answer says."""
    content = (read_only.directory / OLD).read_bytes()
    size = len(content)
    assert 1_000 < size < 1_000_000
    status, part = RANGES[header]
    expected = b"" if part is None else content[part]
    sent = {"content-length": str(len(expected)), "accept-ranges": "bytes"}
    if part is None:
        sent["content-range"] = f"bytes */{size}"
    elif status == 206:
        begin, end, _ = part.indices(size)
        sent["content-range"] = f"bytes {begin}-{end - 1}/{size}"
    target = f"/packages/{OLD}"
    answer = check(
        read_only, Row(request("GET", target, ("Range", header)), status, sent, expected)
    )
    assert ("content-range" in answer.headers) == (status != 200)
    # Only for GET a range has a meaning. Source: RFC 9110, section 14.2.
    whole = {"content-length": str(size)}
    check(read_only, Row(request("HEAD", target, ("Range", header)), 200, whole, b""))


def test_the_edges_of_ranges(read_only: Index) -> None:
    content = (read_only.directory / OLD).read_bytes()
    size = len(content)
    for header, status, expected in (
        (f"bytes={size - 1}-", 206, content[-1:]),
        (f"bytes={size}-", 416, b""),
        (f"bytes={size - 1}-{size}", 206, content[-1:]),
        (f"bytes=0-{size - 1}", 206, content),
        (f"bytes=-{size}", 206, content),
        (f"bytes=-{size + 1}", 206, content),
        (f"bytes=-{size - 1}", 206, content[1:]),
    ):
        row = Row(request("GET", f"/packages/{OLD}", ("Range", header)), status, body=expected)
        check(read_only, row)


def test_conditions(read_only: Index) -> None:
    """Of a file and its parts, of its metadata, and of a page."""
    part = ("Range", "bytes=1-3")
    for target in (f"/packages/{WHEEL}", f"/packages/{WHEEL}.metadata", "/simple/my-dist/"):
        etag = check(read_only, Row(request("GET", target), 200)).headers["etag"]
        opaque = etag.strip('"')
        for header, status in (
            (etag, 304), (f"W/{etag}", 304), ("*", 304), (f'"x", {etag}', 304), (f"{etag},", 304),
            (f',,, {etag} ,, "', 304), ('"x"', 200), ("", 200), ('"', 200), ('""', 200), (",", 200),
            (f'"{opaque}', 200), (f"'{opaque}'", 200), (f'"{opaque}x"', 200),
            (f'"{opaque.upper()}"', 200),
            (5_000 * '"x", ' + etag, 304), (20_000 * '"', 200), (20_000 * "W/", 200),
            (40_000 * " ", 200),
            (20_000 * " ,", 200), ("x" + 40_000 * " " + "y", 200), (20_000 * '" ', 200),
            ("\xff", 200),
            (b"\xff\xfe", 200), (f'"{"x" * 50_000}"', 200), ("**", 200), ("*, *", 200), ("\\", 200),
        ):  # fmt: skip
            sent = request("GET", target, ("If-None-Match", header))
            check(read_only, Row(sent, status, body=b"" if status == 304 else None))
        for header, status in (
            (etag, 200), ("*", 200), (f'"x", {etag}', 200), (f"W/{etag}", 412), ('"x"', 412),
            ("", 412), (opaque, 412), (60_000 * '"', 412), ("\xff", 412),
        ):  # fmt: skip
            check(read_only, Row(request("GET", target, ("If-Match", header)), status))
        sent = request("GET", target, part, ("If-Match", '"x"'), ("If-None-Match", etag))
        check(read_only, Row(sent, 412))
        # There is no time of which a file is: a date is no condition.
        for name in ("If-Modified-Since", "If-Unmodified-Since"):
            for date in ("Thu, 01 Jan 2099 00:00:00 GMT", "x", "", "-1", _NINES, "\xff"):
                check(read_only, Row(request("GET", target, (name, date)), 200))
        for header, status in (
            (etag, 206), (f"W/{etag}", 200), ('"x"', 200), ("", 200), ("*", 200),
            (f'{etag}, "x"', 200),
            ("Thu, 01 Jan 2099 00:00:00 GMT", 200), (opaque, 200), (60_000 * '"', 200),
            ("\xff", 200),
        ):  # fmt: skip
            wanted = status if target.endswith(".whl") else 200
            check(read_only, Row(request("GET", target, part, ("If-Range", header)), wanted))
        sent = request("GET", target, part, ("If-None-Match", etag), ("If-Range", etag))
        check(read_only, Row(sent, 304, {"etag": etag}, b""))
        sent = request("GET", target, ("Range", "bytes=9999999-"), ("If-None-Match", etag))
        check(read_only, Row(sent, 304, {"etag": etag}, b""))


_TYPES = ",".join(f"x-{n}/y-{n};q=0.{n % 10}" for n in range(1_000))
_HTML: list[str | bytes] = [
    "", "*/*", "text/*", HTML, "TEXT/HTML", "text/html;q=1", "text/html;q=0.001", "*/*;q=0.1",
    "text/html, */*;q=0", f"{JSON};q=0.5, text/html", f"{JSON};q=0, text/html", f"{HTML};q=1.000",
    f"{_TYPES},text/html", f"text/html,{_TYPES}", ",,,text/html,,,", "text/html;;;", " text/html ",
    f"{JSON};q=0.1,{HTML};q=0.2", "text/html,application/xhtml+xml,*/*;q=0.8",
]  # fmt: skip
_JSON: list[str | bytes] = [
    JSON, JSON.upper(), f"{JSON};q=0.5, text/html;q=0.4",
    "application/vnd.pypi.simple.latest+json", f"{_TYPES},{JSON}", f"{JSON},{JSON},{JSON}",
    f"{JSON}, application/vnd.pypi.simple.v1+html;q=0.1, text/html;q=0.01",
]  # fmt: skip
_NONE: list[str | bytes] = [
    "application/json", "application/vnd.pypi.simple.v2+json", "image/*", "text/plain", "*/*;q=0",
    "text/html;q=0", "text/html;q=0.000", "x", "/", "//", "*/html", ";", ";q=1", ",", "=", '"',
    "\\", b"\xff\xfe", "é", _TYPES, 20_000 * "x/y,", 60_000 * ",", 60_000 * ";", 60_000 * '"',
    60_000 * "*", "text", "text/", "/html", "text/html/x", "text html", "text\\html",
    "none", f"{JSON}x", f"x{JSON}", "text/html\u00a0", 1_000 * "text/html;q=0,",
]  # fmt: skip
ACCEPTS = {
    **dict.fromkeys(_HTML, (200, HTML)),
    **dict.fromkeys(_JSON, (200, JSON)),
    **dict.fromkeys(_NONE, (406, "text/plain")),
}


@pytest.mark.parametrize("accept", list(ACCEPTS), ids=lambda accept: repr(accept)[:60])
def test_media_types(read_only: Index, accept: str | bytes) -> None:
    """Whoever takes none of ours gets none. Source: PEP 691."""
    status, media_type = ACCEPTS[accept]
    for target in ("/simple/my-dist/", "/simple/"):
        answer = check(read_only, Row(request("GET", target, ("Accept", accept)), status))
        assert answer.headers["content-type"].partition(";")[0] == media_type


@pytest.mark.parametrize(
    "quality",
    ["abc", "2", "-1", "nan", "inf", "1e999", "0,5", "0x1", "+1", "1_0", ".", "0.1.2", _NINES],
)
def test_odd_qualities(read_only: Index, quality: str) -> None:
    """They never count for more than what is right."""
    for other in (JSON, "application/vnd.pypi.simple.v1+html"):
        accept = f"{other}, text/html;q={quality}"
        row = Row(request("GET", "/simple/my-dist/", ("Accept", accept)), 200)
        assert check(read_only, row).headers["content-type"].startswith(other)


@pytest.mark.parametrize("quality", ["", "٠", '"1"', '"'])
def test_qualities_that_are_none(read_only: Index, quality: str) -> None:
    """What they were to qualify is as if it were not there."""
    accept = f"{JSON};q={quality}, text/html;q=0.1"
    answer = check(read_only, Row(request("GET", "/simple/my-dist/", ("Accept", accept)), 200))
    assert answer.headers["content-type"].startswith("text/html")


# Who asks.


def _b64(text: str | bytes) -> str:
    return base64.b64encode(text if isinstance(text, bytes) else text.encode()).decode()


_RIGHT = f"{READER}:{READERS_PASSWORD}"
STRANGERS: dict[str, str | bytes | None] = {
    "none": None,
    "empty": "",
    "only the scheme": "Basic",
    "the scheme and a space": "Basic ",
    "no scheme": _b64(_RIGHT),
    "bearer": f"Bearer {_b64(_RIGHT)}",
    "bearer token": f"Bearer {TOKEN}",
    "digest": f'Digest username="{READER}", response="x", uri="/", qop=auth, nonce="',
    "digest that is none": "Digest =,=;=\"\\",
    "digest with parameters": "Digest a*=utf-8''%ff, b*0=x, b*1=y, *=x",
    "negotiate": "Negotiate YII=",
    "wrong password": basic(READER, "wrong"),
    "empty password": basic(READER, ""),
    "no colon": f"Basic {_b64(READER)}",
    "empty user": basic("", READERS_PASSWORD),
    "both empty": basic("", ""),
    "unknown user": basic("nobody", READERS_PASSWORD),
    "unknown user, empty password": basic("nobody", ""),
    "wrong token": basic("__token__", "wrong"),
    "no token": basic("__token__", ""),
    "token of a reader": basic(READER, TOKEN),
    "password of the token": basic("__token__", READERS_PASSWORD),
    "user in capitals": basic(READER.upper(), READERS_PASSWORD),
    "user with a space": basic(f"{READER} ", READERS_PASSWORD),
    "user with a NUL": basic(f"{READER}\0", READERS_PASSWORD),
    "password with a space": basic(READER, f"{READERS_PASSWORD} "),
    "password with a NUL": basic(READER, f"{READERS_PASSWORD}\0"),
    "password with a newline": basic(READER, f"{READERS_PASSWORD}\n"),
    "password cut off": basic(READER, READERS_PASSWORD.partition(":")[0]),
    "password in latin-1": f"Basic {_b64(_RIGHT.encode('latin-1'))}",
    "password in UTF-16": f"Basic {_b64(_RIGHT.encode('utf-16'))}",
    "password decomposed": basic(READER, READERS_PASSWORD.replace("ä", "a\u0308")),
    "not UTF-8": f"Basic {_b64(bytes([0xff, 0xfe, 0x3a, 0x80]))}",
    "surrogates": f"Basic {_b64(bytes([0xed, 0xa0, 0x80, 0x3a]))}",
    "only a NUL": f"Basic {_b64(bytes(1))}",
    "no base64": "Basic !!!!",
    "base64 without padding": f"Basic {_b64(_RIGHT).rstrip('=')[:-1]}",
    "base64 with a space": f"Basic {_b64(_RIGHT)[:8]} {_b64(_RIGHT)[8:]}",
    "base64 with umlauts": "Basic äöü=",
    "raw bytes": b"Basic \xff\xfe\xfd",
    "raw bytes alone": b"\xff\xfe",
    "base64 twice": f"Basic {_b64(_b64(_RIGHT))}",
    "URL-safe base64": f"Basic {base64.urlsafe_b64encode(b'???>>>:x').decode()}",
    "two, the wrong one first": f"{basic(READER, 'x')}, {basic(READER, READERS_PASSWORD)}",
    "two, the right one first": f"{basic(READER, READERS_PASSWORD)}, {basic(READER, 'x')}",
    "quoted": f'"{basic(READER, READERS_PASSWORD)}"',
    "a hash of the file": basic(READER, "scrypt:AAAAAAAAAAAAAAAAAAAAAA==:AA=="),
    "long password": basic(READER, 40_000 * "x"),
    "long user": basic(40_000 * "x", ""),
    "long base64": "Basic " + 60_000 * "=",
    "tab": f"Basic\t{_b64(_RIGHT)}",
    "other scheme": f"Basicx {_b64(_RIGHT)}",
    "in the URL": None,
}  # fmt: skip


@pytest.mark.parametrize("name", list(STRANGERS))
def test_strangers_read_nothing(private: Index, name: str) -> None:
    header = STRANGERS[name]
    headers = [] if header is None else [("Authorization", header)]
    wanted = {"www-authenticate": 'Basic realm="pypi-insiders", charset="UTF-8"'}
    targets = ["/simple/my-dist/", f"/packages/{WHEEL}"]
    if name == "in the URL":
        targets = [f"http://{READER}:{TOKEN}@localhost/simple/my-dist/", f"/simple/?token={TOKEN}"]
    for target in targets:
        row = Row(
            request("GET", target, *headers), 401, wanted, b"a user and a password are required\n"
        )
        check(private, row)


def test_every_path_asks_for_the_password(private: Index) -> None:
    for target in ("/", "/simple/", "/simple", "/packages/", "/my-dist/json", "/simple/no-dist/",
                   f"/packages/{WHEEL}.metadata", "/insiders/simple/", "/x", "/health/",
                   "*"):  # fmt: skip
        check(private, Row(request("GET", target), 401))
        check(private, Row(request("HEAD", target), 401, body=b""))
        check(private, Row(request("POST", target, body=b"x"), 401))


def test_readers_read(private: Index) -> None:
    """The schemes' names know no case, and the token is a password as well."""
    scheme, _, credentials = _READER[1].partition(" ")
    for header in (
        _READER[1],
        _UPLOADER[1],
        f"{scheme.upper()} {credentials}",
        f"basic   {credentials}  ",
    ):
        right = ("Authorization", header)
        answer = check(private, Row(request("GET", f"/packages/{WHEEL}", right), 200))
        assert CONTENT in answer.body
        assert answer.headers["cache-control"].startswith("private")
        page = check(private, Row(request("GET", "/simple/", right), 200))
        assert page.headers["cache-control"] == "private, no-cache"


def test_passwords_that_others_may_read_let_nobody_in(tmp_path: Path) -> None:
    """The log says so once, and whoever mends it need not start the index again."""
    with serving(tmp_path, "auth = true\n") as index:
        path = index.person.paths.passwords
        for mode, status in ((0o600, 200), (0o644, 401), (0o600, 200)):
            path.chmod(mode)
            for _ in range(2):
                assert index.ask(request("GET", "/simple/", _READER)).status == status
        told = f"error: {path} is accessible by other users (mode 0644); all requests are refused\n"
        assert index.log == told


def test_no_password_without_the_right_host(private: Index) -> None:
    """Who is asked comes first: a foreign page must not even be asked for a password."""
    check(private, Row(request("GET", "/simple/", _READER, host="evil.com"), 421))


# What is sent.

_LIMIT = "limit"
_TYPE = ("Content-Type", f"multipart/form-data; boundary={_LIMIT}")
_Fields = dict[str, str | bytes]


def _form(fields: _Fields, name: str | None, content: bytes) -> bytes:
    """Encode what twine sends; without a file name there is no file."""
    parts = [
        f'Content-Disposition: form-data; name="{field}"\r\n\r\n'.encode()
        + (value if isinstance(value, bytes) else value.encode())
        for field, value in fields.items()
    ]
    if name is not None:
        disposition = f'Content-Disposition: form-data; name="content"; filename="{name}"\r\n\r\n'
        parts.append(disposition.encode() + content)
    limit = f"--{_LIMIT}".encode()
    return b"\r\n".join([*(limit + b"\r\n" + part for part in parts), limit + b"--", b""])


_UPLOAD: _Fields = {":action": "file_upload", "protocol_version": "1"}


def _upload(
    name: str | None, content: bytes, *headers: tuple[str, str | bytes], fields: _Fields = _UPLOAD
) -> bytes:
    body = _form(fields, name, content)
    return request("POST", "/", _UPLOADER, _TYPE, *headers, body=body)


def _raw(body: bytes, content_type: str | bytes = _TYPE[1]) -> bytes:
    return request("POST", "/", _UPLOADER, ("Content-Type", content_type), body=body)


def _part(head: bytes, content: bytes = b"x") -> bytes:
    return _raw(b"--limit\r\n" + head + b"\r\n\r\n" + content + b"\r\n--limit--\r\n")


def _made(make: Callable[..., Path], *arguments: str, content: bytes = b"") -> bytes:
    """Read a distribution that was made for it."""
    import tempfile

    with tempfile.TemporaryDirectory() as directory:
        return make(Path(directory), *arguments, content=content).read_bytes()


NEW = "new-1.0.tar.gz"
NEW_WHEEL = "new-1.0-py3-none-any.whl"
_SDIST, _WHEEL = _made(sdist, "new", "1.0"), _made(wheel, "new", "1.0")


def _zip(files: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    with io.BytesIO() as file:
        with zipfile.ZipFile(file, "w", compression) as archive:
            for name, content in files.items():
                archive.writestr(zipfile.ZipInfo(name), content, compression)
        return file.getvalue()


def _wheel_of(text: bytes, compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    return _zip({"new-1.0.dist-info/METADATA": text}, compression)


def _tar_of(*members: tuple[tarfile.TarInfo | str, bytes]) -> bytes:
    with io.BytesIO() as file:
        with tarfile.open(fileobj=file, mode="w:gz") as archive:
            for member, content in members:
                info = tarfile.TarInfo(member) if isinstance(member, str) else member
                info.size = info.size or len(content)
                archive.addfile(info, io.BytesIO(content) if content else None)
        return file.getvalue()


def _link(name: str, target: str, kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def _spoil(content: bytes, *places: int) -> bytes:
    """Damage bytes of it."""
    spoiled = bytearray(content)
    for place in places:
        spoiled[place] ^= 0xFF
    return bytes(spoiled)


_METADATA = metadata("new", "1.0").encode()
_LONG_METADATA = _METADATA + b"\n" + 200 * b"what makes it long enough to be damaged within\n"
_TEXT = {
    "other project": metadata("other", "1.0").encode(),
    "other version": metadata("new", "1.1").encode(),
    "no version": b"Metadata-Version: 2.1\nName: new\n",
    "no name": b"Metadata-Version: 2.1\nVersion: 1.0\n",
    "two names": _METADATA + b"Name: other\n",
    "nothing": b"",
    "zeros": bytes(1000),
    "noise": bytes(range(256)),
    "not UTF-8": b"Name: new\xff\nVersion: 1.0\n",
    "a version that is none": metadata("new", "new").encode(),
    "a version of many digits": metadata("new", _NINES).encode(),
    "a version of many dots": metadata("new", 50_000 * "1." + "1").encode(),
    "a name with markup": metadata(MARKUP, "1.0").encode(),
    "encoded words": b"Name: =?utf-8?b?bmV3?=\nVersion: =?x?q?1.0?=\n",
    "encoded words that are broken": b"Name: =?utf-8?b?\xff?=\nVersion: =?\xff?q?=ff?=\n",
    "parts": b"Content-Type: multipart/mixed; boundary=x\nName: other\n\n--x\n\n--x--\n",
}
_BAD_WHEELS = {f"METADATA: {name}": _wheel_of(text) for name, text in _TEXT.items()} | {
    "a bomb as METADATA": _wheel_of(_METADATA + bytes(5_000_000)),
    "METADATA twice": _zip({"new-1.0.dist-info/METADATA": _METADATA, "x.dist-info/METADATA": b""}),
    "no METADATA": _zip({"new.py": b""}),
    "no files": _zip({}),
    "METADATA that is deep": _zip({"x/new-1.0.dist-info/METADATA": _METADATA}),
    "METADATA outside": _zip({"../new-1.0.dist-info/METADATA": _METADATA}),
    "no zip": b"no zip",
    "empty": b"",
    "an sdist": _SDIST,
    "a zip that is cut off": _WHEEL[:-30],
    "a zip without its begin": _WHEEL[300:],
    "damaged deflate": _spoil(_wheel_of(_LONG_METADATA), 70, 71, 80),
    "damaged bzip2": _spoil(_wheel_of(_LONG_METADATA, zipfile.ZIP_BZIP2), 70, 71, 80),
    "damaged LZMA": _spoil(_wheel_of(_LONG_METADATA, zipfile.ZIP_LZMA), 70, 71, 80),
    "damaged head of LZMA": _spoil(_wheel_of(_LONG_METADATA, zipfile.ZIP_LZMA), 58, 59, 60, 61),
    "damaged sum": _spoil(_wheel_of(_METADATA, zipfile.ZIP_STORED), 60),
    "damaged directory": _spoil(_wheel_of(_METADATA), -40, -41, -42),
    "damaged end": _spoil(_WHEEL, -5, -6, -7, -8),
    "a method that is none": _wheel_of(_METADATA).replace(b"\x08\x00", b"\x63\x00"),
    "encrypted": _wheel_of(_METADATA).replace(b"\x14\x00\x00\x00\x08", b"\x14\x00\x01\x00\x08"),
    "of a later version": _wheel_of(_METADATA).replace(b"\x02\x14\x03\x14", b"\x02\x14\x03\xff"),
}  # fmt: skip
_BAD_SDISTS = {
    f"PKG-INFO: {name}": _tar_of(("new-1.0/PKG-INFO", text)) for name, text in _TEXT.items()
} | {
    "a bomb as PKG-INFO": _tar_of(("new-1.0/PKG-INFO", _METADATA + bytes(5_000_000))),
    "PKG-INFO twice": _tar_of(("new-1.0/PKG-INFO", _METADATA), ("x/PKG-INFO", _METADATA)),
    "no PKG-INFO": _tar_of(("new-1.0/x", b"x")),
    "no files": _tar_of(),
    "PKG-INFO as a link out": _tar_of(
        (_link("new-1.0/PKG-INFO", "../../../secret.txt", tarfile.SYMTYPE), b"")
    ),
    "PKG-INFO as a hard link": _tar_of(
        (_link("new-1.0/PKG-INFO", "/etc/passwd", tarfile.LNKTYPE), b"")
    ),
    "PKG-INFO as a device": _tar_of((_link("new-1.0/PKG-INFO", "", tarfile.CHRTYPE), b"")),
    "PKG-INFO as a fifo": _tar_of((_link("new-1.0/PKG-INFO", "", tarfile.FIFOTYPE), b"")),
    "PKG-INFO as a directory": _tar_of((_link("new-1.0/PKG-INFO", "", tarfile.DIRTYPE), b"")),
    "no gzip": b"no gzip",
    "empty": b"",
    "gzip of nothing": gzip.compress(b""),
    "gzip of noise": gzip.compress(bytes(range(256)) * 100),
    "a wheel": _WHEEL,
    "cut off": _SDIST[:-10],
    "without its sum": _SDIST[:-8],
    "damaged sum": _spoil(_SDIST, -5),
    "damaged": _spoil(_SDIST, 40, 41, 42),
    "damaged head of a member": gzip.compress(_spoil(gzip.decompress(_SDIST), 100, 150)),
    "a size that is negative": gzip.compress(
        gzip.decompress(_SDIST).replace(b"00000000", b"\xff" * 8, 1)
    ),
    "a bomb as the name of a member": _tar_of(
        (_link("x", "", tarfile.GNUTYPE_LONGNAME), bytes(5_000_000)),
        ("new-1.0/PKG-INFO", _METADATA)
    ),
    "a bomb as the head of a member": _tar_of(
        (_link("x", "", tarfile.XHDTYPE), bytes(5_000_000)), ("new-1.0/PKG-INFO", _METADATA)
    ),
    "a head with a size of many digits": _tar_of(
        (_link("x", "", tarfile.XHDTYPE), b"5011 size=" + _NINES.encode() + b"\n"),
        ("new-1.0/PKG-INFO", _METADATA),
    ),
}  # fmt: skip


def _many(number: int) -> _Fields:
    return {**{f"f{item}": "" for item in range(number)}, **_UPLOAD}


_BODY = _form(_UPLOAD, NEW, _SDIST)
_URLENCODED = "application/x-www-form-urlencoded"
_NAMES_OF_AN_SDIST = [
    "", ".", "..", "/", "x", "new", "new.exe", "new-1.0.exe", "new-1.0.tar", "new-1.0.tgz",
    "new-1.0.egg",
    "new-1.0.tar.gz.asc", "new-1.0.tar.gz.metadata", "new-1.0.TAR.GZ", "new-1.0.tar.gz ",
    " new-1.0.tar.gz",
    ".new-1.0.tar.gz", "-1.0.tar.gz", "new-.tar.gz", "new-x.tar.gz", "new.tar.gz", ".tar.gz",
    ".whl",
    "../new-1.0.tar.gz", "../../new-1.0.tar.gz", "/tmp/new-1.0.tar.gz", "x/new-1.0.tar.gz",
    "./new-1.0.tar.gz",
    "new/../new-1.0.tar.gz", "new-1.0/../x.tar.gz", "..%2fnew-1.0.tar.gz", "new%00-1.0.tar.gz",
    "new\0-1.0.tar.gz",
    "new-1.0\0.tar.gz", "new\x01-1.0.tar.gz", "new-1.0\x7f.tar.gz", "né-1.0.tar.gz",
    "new-1.٠.tar.gz", "neſ-1.0.tar.gz",
    "new-1.0\u202e.tar.gz", "new-1.0.tar.gz\u0000", "new-1.0\r.tar.gz", "n" * 300 + "-1.0.tar.gz",
    "n" * 240 + "-1.0.tar.gz",
    "new-" + 300 * "1" + ".tar.gz", "new-1.0.zip", ".yanked.json",
    ".upload-x", "con", "new:x-1.0.tar.gz",
]  # fmt: skip
_NAMES_OF_A_WHEEL = [
    f"new-1.0-py3-none-{MARKUP}.whl", "new-1.0-py3-none-../x.whl", "new-1.0-py3-none-any/../x.whl",
    "new-1.0-py3-none-any\t.whl", "new-1.0-py3-none-é.whl",
    "new-1.0-py3-none-" + 300 * "a" + ".whl",
    "new-1.0-py3-none-" + 200 * "a" + 25 * "b" + ".whl", "new-1.0-1/../../x-py3-none-any.whl",
    "new-1.0-none-any.whl",
    "new-1.0-py3-none-any.whl.exe", "../../new-1.0-py3-none-any.whl", "new-1.0-py3-none-a b.whl",
    "new-1.0-py3-none-a%2fb.whl",
    "new-1.0-py3-none-any\u2028.whl", "new-1.0-py3-none-any#x.whl", "new-1.0-py3-none-any?.whl",
    "new-1.0-1<b>-py3-none-any.whl", "other-1.0-py3-none-any.whl", "new-1.1-py3-none-any.whl",
    "new-1.0-a.a.a-b.b.b-c^d.whl",
]  # fmt: skip
_FIELDS: list[tuple[str, str | bytes]] = [
    ("sha256_digest", hashlib.sha256(b"x").hexdigest()), ("sha256_digest", "x"),
    ("sha256_digest", "0"),
    ("sha256_digest", 50_000 * "0"), ("sha256_digest", b"\xff"), ("sha256_digest", "é" * 64),
    ("blake2_256_digest", hashlib.sha256(b"x").hexdigest()), (":action", "doc_upload"),
    (":action", "remove_pkg"),
    (":action", "submit"), (":action", "verify"), (":action", ""), (":action", "FILE_UPLOAD"),
    (":action", b"\xff"),
    (":action", "file_upload "), (":action", 100_000 * "x"), (":action", "__class__"),
]  # fmt: skip
_FOREIGN_PAGES = [
    ("Origin", "https://evil.com"), ("Origin", "http://evil.com"), ("Origin", "null"),
    ("Origin", ""),
    ("Origin", "file://"), ("Origin", "http://localhost.evil.com"),
    ("Origin", "http://localhost@evil.com"),
    ("Origin", "http://evil.com@localhost"), ("Origin", "http://localhost:1@evil"),
    ("Origin", "evil.com"),
    ("Origin", "localhost"), ("Origin", "http://[::1"), ("Origin", "http://["),
    ("Origin", "http://]"),
    ("Origin", "http://0x7f.1"), ("Origin", "http://2130706433"), ("Origin", "*"),
    ("Origin", "\xff"),
    ("Origin", "http://localhost,http://evil.com"), ("Origin", "http://localhost http://evil.com"),
    ("Origin", "chrome-extension://abc"), ("Origin", "http://\\localhost"),
    ("Origin", 60_000 * "x"),
    ("Origin", "http://lоcalhost"), ("Origin", "http://ⓛocalhost"),
    ("Origin", "http://localhost\u2100"),
    ("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Site", "same-site"), ("Sec-Fetch-Site", ""),
    ("Sec-Fetch-Site", "None"), ("Sec-Fetch-Site", "none, cross-site"), ("Sec-Fetch-Site", "x"),
]  # fmt: skip
_NO_UPLOADS = {
    "no action": _upload(NEW, _SDIST, fields={"name": "new"}),
    "no file": _upload(None, b""),
    "no fields": _upload(NEW, _SDIST, fields={}),
    "nothing": _raw(b""),
    "no content": request("POST", "/", _UPLOADER, _TYPE),
    "no content type": request("POST", "/", _UPLOADER, body=_BODY),
    "remove_pkg": _upload(
        None, b"", fields={":action": "remove_pkg", "name": "my_dist", "version": "1.0"}
    ),
    "remove_pkg as a form": _raw(b":action=remove_pkg&name=my_dist&version=1.0", _URLENCODED),
    "doc_upload": _upload("docs.zip", _WHEEL, fields={":action": "doc_upload", "name": "my_dist"}),
    "the file as text": _raw(b":action=file_upload&content=" + NEW.encode(), _URLENCODED),
    "a form that is none": _raw(b"%%%&&&===\xff\xfe", _URLENCODED),
    "a part without a name": _part(b"Content-Disposition: form-data"),
    "a part without a disposition": _part(b"X: y"),
    "a part without headers": _part(b""),
    "a part with a broken header": _part(b"\xff\xfe"),
    "a part with a broken disposition": _part(
        b'Content-Disposition: form-data; name="x; filename='
    ),
    "a part of another charset": _part(
        b'Content-Disposition: form-data; name="x"\r\nContent-Type: text/plain; charset=zip'
    ),
    "a part with odd parameters": _part(
        b"Content-Disposition: form-data; name*=utf-8''%ff; filename*0*=x''%; filename*9=y; *=x"
    ),
    "no begin": _raw(_BODY[10:]),
    "no end": _raw(_BODY[:-12]),
    "only a limit": _raw(b"--limit"),
    "only the last limit": _raw(b"--limit--\r\n"),
    "only limits": _raw(50_000 * b"--limit\r\n"),
    "another limit": _raw(_BODY, "multipart/form-data; boundary=other"),
    "no boundary": _raw(_BODY, "multipart/form-data"),
    "an empty boundary": _raw(_BODY, "multipart/form-data; boundary="),
    "a boundary that is quoted badly": _raw(b"x", 'multipart/form-data; boundary="'),
    "a boundary of bytes": _raw(b"x", b"multipart/form-data; boundary=\xff\xfe"),
    "a boundary as a pattern": _raw(50_000 * b"a", "multipart/form-data; boundary=(a+)+$"),
    "a long boundary": _raw(b"x", "multipart/form-data; boundary=" + 50_000 * "x"),
    "mixed": _raw(_BODY, "multipart/mixed; boundary=limit"),
    "JSON": _raw(b'{":action": "file_upload"}', "application/json"),
    "XML": _raw(b'<!DOCTYPE x [<!ENTITY y SYSTEM "file:///etc/passwd">]><x>&y;</x>', "text/xml"),
    "many lines": _raw(b"--limit\r\n" + 100_000 * b"\r\n"),
    "noise": _raw(bytes(range(256)) * 500),
    "two files, the first is none": _raw(
        b'--limit\r\nContent-Disposition: form-data; name="content"; filename="x"\r\n\r\nx\r\n'
        + _BODY
    ),
    "the file under another name": _raw(_BODY.replace(b'name="content"', b'name="contents"')),
    "the action in the query": request(
        "POST", "/?:action=file_upload", _UPLOADER, _TYPE, body=_form({}, NEW, _SDIST)
    ),
}
_LARGE = {
    "100,000 fields": _upload(NEW, _SDIST, fields=_many(100_000)),
    "a name of many digits": _upload(f"new-{_NINES}.tar.gz", _SDIST),
    "1,001 fields": _upload(NEW, _SDIST, fields=_many(1000)),
    "a form of 100,000 fields": _raw(b"&".join(b"a%d=b" % n for n in range(100_000)), _URLENCODED),
    "a part with a length": _part(
        b'Content-Disposition: form-data; name="content"; filename="x"\r\nContent-Length: '
        + _NINES.encode()
    ),
    "an endless header": _part(b"X: " + 100_000 * b"y"),
    "headers without end": _raw(b"--limit\r\n" + 1000 * b"X: y\r\n"),
}
_ELSEWHERE = {
    "elsewhere": request("POST", "/simple/", _UPLOADER, _TYPE, body=_BODY),
    "below insiders": request("POST", "/insiders/", _UPLOADER, _TYPE, body=_BODY),
    "as a path": request("POST", f"/packages/{NEW}", _UPLOADER, _TYPE, body=_BODY),
    "put": request("PUT", f"/packages/{NEW}", _UPLOADER, body=_SDIST),
    "put to the root": request("PUT", "/", _UPLOADER, _TYPE, body=_BODY),
    "delete": request("DELETE", f"/packages/{WHEEL}", _UPLOADER),
    "delete of all": request("DELETE", "/", _UPLOADER),
    "RPC2": request("POST", "/RPC2", _UPLOADER, ("Content-Type", "text/xml"), body=b"<x/>"),
    "legacy without its slash": request("POST", "/legacy", _UPLOADER, _TYPE, body=_BODY),
}
_NOBODY = {
    name: request(
        "POST",
        "/",
        *([] if header is None else [("Authorization", header)]),
        _TYPE,
        body=_BODY,
    )
    for name, header in (STRANGERS | {"a reader": _READER[1]}).items()
}

REFUSED = {
    **_each(400, {f"wheel: {name}": _upload(NEW_WHEEL, it) for name, it in _BAD_WHEELS.items()}),
    **_each(400, {f"sdist: {name}": _upload(NEW, it) for name, it in _BAD_SDISTS.items()}),
    **_each(400, {f"named {name[:60]!r}": _upload(name, _SDIST) for name in _NAMES_OF_AN_SDIST}),
    **_each(400, {f"named {name[:60]!r}": _upload(name, _WHEEL) for name in _NAMES_OF_A_WHEEL}),
    **_each(
        400,
        {
            f"with {field}={value[:20]!r}": _upload(NEW, _SDIST, fields=_UPLOAD | {field: value})
            for field, value in _FIELDS
        },
    ),
    **_each(400, _NO_UPLOADS),
    **_each(413, _LARGE),
    **_each(405, _ELSEWHERE),
    **{
        f"as {name}": Row(
            sent, 401, {"www-authenticate": 'Basic realm="pypi-insiders", charset="UTF-8"'}
        )
        for name, sent in _NOBODY.items()
    },
    **_each(
        403,
        {
            f"from {name}: {value[:40]}": _upload(NEW, _SDIST, (name, value))
            for name, value in _FOREIGN_PAGES
        },
    ),
}


@table(REFUSED)
def test_uploads_that_are_refused(open_to_uploads: Index, row: Row) -> None:
    try:
        check(open_to_uploads, row)
    finally:  # what was taken nevertheless is no matter of the next row
        for name in (NEW, NEW_WHEEL):
            (open_to_uploads.directory / name).unlink(missing_ok=True)


@pytest.mark.parametrize("name", ["wheel: no zip", "no file", "as a reader", "elsewhere",
                                  "from Origin: https://evil.com"])  # fmt: skip
def test_uploads_to_a_private_index_are_refused_alike(private: Index, name: str) -> None:
    check(private, REFUSED[name])


def test_without_uploads_nothing_is_taken(read_only: Index) -> None:
    """Not with the right token, and not from a foreign page."""
    for headers in ([], [("Origin", "https://evil.com")], [("Sec-Fetch-Site", "cross-site")]):
        row = Row(_upload(NEW, _SDIST, *headers), 405, {"allow": "GET, HEAD"})
        check(read_only, row._replace(body=b"this index is read-only\n"))


def _published(index: Index, row: Row, name: str, content: bytes) -> None:
    """Send what is to be published; take it away again."""
    disk, log = index.disk(), index.log
    answer = index.ask(row.request)
    assert (answer.status, answer.body) == (200, f"published {name}\n".encode())
    path = index.directory / name
    assert path.read_bytes() == content
    assert {key: value for key, value in index.disk().items() if key != str(path)} == disk
    assert index.ask(request("GET", f"/packages/{name}", _READER)).body == content
    path.unlink()
    assert (index.disk(), index.log) == (disk, log)


@pytest.mark.parametrize(
    ("name", "content"),
    [(NEW, _SDIST), (NEW_WHEEL, _WHEEL), ("new-1.0.zip", _zip({"new-1.0/PKG-INFO": _METADATA}))],
    ids=["sdist", "wheel", "zip"],
)
def test_what_is_right_is_published(open_to_uploads: Index, name: str, content: bytes) -> None:
    """So what is refused is not refused for another reason."""
    right: _Fields = {
        "sha256_digest": hashlib.sha256(content).hexdigest().upper(),
        "blake2_256_digest": hashlib.blake2b(content, digest_size=32).hexdigest(),
        "md5_digest": "",
    }
    for headers in ([], [("Origin", "http://localhost:80")], [("Sec-Fetch-Site", "same-origin")],
                    [("Sec-Fetch-Site", "none"), ("Origin", "http://[::1]:1")]):  # fmt: skip
        sent = _upload(name, content, *headers, fields=_UPLOAD | right)
        _published(open_to_uploads, Row(sent, 200), name, content)
    legacy = request("POST", "/legacy/", _UPLOADER, _TYPE, body=_form(_UPLOAD, name, content))
    _published(open_to_uploads, Row(legacy, 200), name, content)


def test_the_token_uploads_to_a_private_index(private: Index) -> None:
    _published(private, Row(_upload(NEW, _SDIST), 200), NEW, _SDIST)


def test_what_is_there_stays(open_to_uploads: Index) -> None:
    """The same again is done already; another under its name is refused."""
    index = open_to_uploads
    content = (index.directory / WHEEL).read_bytes()
    check(index, Row(_upload(WHEEL, content), 200, body=f"{WHEEL} is there already\n".encode()))
    other = _made(wheel, "my-dist", "1.0", content=b"other")
    disk, log = index.disk(), index.log
    answer = index.ask(_upload(WHEEL, other))
    assert (answer.status, answer.body) == (
        409,
        f"{WHEEL} was published with other content\n".encode(),
    )
    assert index.disk() == disk
    assert index.log == log


@pytest.mark.parametrize("kind", ["linked", "dangling", "loop", "fifo", "folder", "device"])
def test_what_is_no_file_is_not_written_through(open_to_uploads: Index, kind: str) -> None:
    """A link, a pipe or a directory has the name: nothing is read from it, or written to it."""
    name, disk = f"{kind}-1.0.tar.gz", open_to_uploads.disk()
    assert open_to_uploads.ask(_upload(name, _made(sdist, kind, "1.0"))).status == 409
    assert open_to_uploads.disk() == disk


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    """The limit on the size of a file stands for it."""
    with serving(tmp_path, "uploads = true\n", file_limit_bytes=300_000) as index:
        large = _made(sdist, "new", "1.0", content=bytes(range(256)) * 2000)
        assert index.ask(_upload(NEW, _SDIST)).status == 200
        disk = index.disk()
        answer = index.ask(_upload("new-1.0-1-py3-none-any.whl", large + bytes(400_000)))
        assert (answer.status, index.disk()) == (507, disk)
        assert "Traceback" not in index.log


def test_a_directory_that_is_gone_is_made_anew(tmp_path: Path) -> None:
    """Until then nobody is sent to the fallback, for a package of the same name."""
    with serving(tmp_path, "uploads = true\n") as index:
        index.directory.rmdir()
        for path in (
            "/simple/",
            "/simple/new/",
            "/insiders/simple/",
            "/",
            "/new/json",
            "/packages/",
        ):
            answer = index.ask(request("GET", path))
            assert (answer.status, answer.headers["retry-after"]) == (503, "1")
            title = f"cannot read {index.directory}: No such file or directory"
            assert json.loads(answer.body)["title"] == title
        assert index.ask(request("GET", f"/packages/{NEW}")).status == 503
        health = index.ask(request("GET", "/health"))
        assert (health.status, b"No such file" in health.body) == (503, True)
        assert index.ask(_upload(NEW, _SDIST)).status == 200
        assert (index.directory / NEW).read_bytes() == _SDIST
        assert index.ask(request("GET", "/simple/new/")).status == 200
        assert index.log.splitlines()[0] == (
            f"error: cannot read {index.directory}: No such file or directory; nothing is "
            "served until this is fixed"
        )
        assert "Traceback" not in index.log
