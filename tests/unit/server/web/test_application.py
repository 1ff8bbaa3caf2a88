"""The index, served by the installed command and asked over HTTP."""

import contextlib
import hashlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.parse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from html import unescape
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from fixtures import free_port, need
from wheels import metadata, sdist, wheel

from pypi_insiders.config.paths import Paths
from pypi_insiders.index import store
from pypi_insiders.index.catalog import Catalog
from pypi_insiders.index.metadata_cache import MetadataCache, Origin
from pypi_insiders.index.release_lists import YANKED
from pypi_insiders.server.current_names import CurrentNames
from pypi_insiders.server.http import Waiters
from pypi_insiders.server.readme import Reader
from pypi_insiders.server.web.application import make_app
from pypi_insiders.server.web.guard import RequestGuard
from pypi_insiders.server.web.held import Held
from pypi_insiders.server.web.request import Request
from pypi_insiders.server.web.site import Site

COMMAND = str(Path(sys.executable).with_name("pypi-insiders"))
FALLBACK = "https://fallback.example/simple/"
WHEEL, SDIST = "my_dist-1.0+insiders.2-py3-none-any.whl", "my_dist-0.9.tar.gz"
METADATA = metadata("my-dist", "1.0+insiders.2", "Requires-Python: >=3.8").encode()


@dataclass(frozen=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes


@dataclass(frozen=True)
class Server:
    process: subprocess.Popen[str]
    host: str
    port: int

    def request(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> Answer:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=60)
        with contextlib.closing(connection):
            connection.request(method, path, body or None, headers or {})
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())

    def get(self, path: str) -> Answer:
        return self.request("GET", path)


def _environment(home: Path) -> dict[str, str]:
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("XDG_")}
    inherited.pop("JOURNAL_STREAM", None)
    return {**inherited, "HOME": str(home)}


def _argv(distributions: Path, *options: str) -> list[str]:
    return [COMMAND, "server", "run", "--dist-dir", str(distributions), *options]


@contextmanager
def _running(
    argv: list[str], home: Path, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        argv,
        env={**_environment(home), **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def _url(process: subprocess.Popen[str]) -> tuple[str, int]:
    """Read the line that the server prints when it answers."""
    assert process.stdout is not None
    line = process.stdout.readline()
    match = re.fullmatch(r"http://(?:\[(::1)\]|(127\.0\.0\.1)):(\d+)/simple/\n", line)
    assert match is not None, line
    return match[1] or match[2], int(match[3])


@contextmanager
def _serving(distributions: Path, environment: Mapping[str, str] | None = None) -> Iterator[Server]:
    argv = _argv(distributions, "--port", "0", "--fallback-url", FALLBACK)
    with _running(argv, distributions.parent, environment) as process:
        yield Server(process, *_url(process))


def _end(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Wait for the end; return status, the rest of standard output, and standard error."""
    stdout, stderr = process.communicate(timeout=60)
    return process.returncode, stdout, stderr


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make what no test changes: two distributions, and what must not be served."""
    home = tmp_path_factory.mktemp("home")
    directory = home / "dists"
    (directory / ".hidden").mkdir(parents=True)
    wheel(directory, "my-dist", "1.0+insiders.2", "Requires-Python: >=3.8")
    sdist(directory, "my-dist", "0.9")
    for path in (".secret-1.0.tar.gz", ".hidden/secret-1.0.tar.gz", "../secret-1.0.tar.gz"):
        (directory / path).write_text("confidential")
    return directory


@pytest.fixture(scope="module")
def server(distributions: Path) -> Iterator[Server]:
    with _serving(distributions) as server:
        yield server


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _links(answer: Answer) -> list[tuple[str, str]]:
    return re.findall(r'<a href="([^"]*)"[^>]*>([^<]*)</a>', answer.body.decode())


def test_the_index_lists_the_distributions(server: Server) -> None:
    answer = server.get("/simple/")
    assert (answer.status, _links(answer)) == (200, [("my-dist/", "my-dist")])


def test_a_project_lists_its_files_with_their_sha256(server: Server, distributions: Path) -> None:
    answer = server.get("/simple/my-dist/")
    assert (answer.status, _links(answer)) == (
        200,
        [
            (
                f"../../packages/{name.replace('+', '%2B')}"
                f"#sha256={_sha256((distributions / name).read_bytes())}",
                name,
            )
            for name in (SDIST, WHEEL)
        ],
    )


@pytest.mark.parametrize("name", [WHEEL, SDIST, WHEEL.replace("+", "%2B")])
def test_what_is_downloaded_is_the_file(server: Server, distributions: Path, name: str) -> None:
    answer = server.get(f"/packages/{name}")
    content = (distributions / name.replace("%2B", "+")).read_bytes()
    assert (answer.status, answer.headers["Content-Length"], answer.body) == (
        200,
        str(len(content)),
        content,
    )


@pytest.mark.parametrize("path", ["/simple/", "/simple/my-dist/", f"/packages/{WHEEL}", "/health"])
def test_head_is_get_without_the_body(server: Server, path: str) -> None:
    get, head = server.get(path), server.request("HEAD", path)
    assert (head.status, head.body) == (200, b"")
    assert head.headers["Content-Length"] == get.headers["Content-Length"] == str(len(get.body))


@pytest.mark.parametrize("name", ["My_Dist/", "my.dist/", "MY--DIST/", "my-dist", "My_Dist"])
@pytest.mark.parametrize("base", ["/simple/", "/insiders/simple/"])
def test_other_spellings_are_redirected_to_the_normalized_name(
    server: Server, base: str, name: str
) -> None:
    """The location is relative: it is right behind any proxy."""
    answer = server.get(base + name)
    location = urllib.parse.urljoin(base + name, answer.headers["Location"])
    assert (answer.status, location) == (301, f"{base}my-dist/")


@pytest.mark.parametrize("name", ["other-dist/", "nope"])
def test_without_fallback_unknown_names_are_not_found(server: Server, name: str) -> None:
    answer = server.get(f"/insiders/simple/{name}")
    if answer.status == 301:
        answer = server.get(f"/insiders/simple/{answer.headers['Location']}")
    assert (answer.status, "Location" in answer.headers) == (404, False)


def test_what_is_held_is_the_same_without_fallback(server: Server) -> None:
    """The links lead to files below the same prefix."""
    for path in ("simple/", "simple/my-dist/", f"packages/{WHEEL}", f"packages/{WHEEL}.metadata"):
        ours = server.get(f"/{path}")
        assert (ours.status, ours.body) == (200, server.get(f"/insiders/{path}").body)


@pytest.mark.parametrize("name", ["other-dist/", "Other.Dist", "other_dist/"])
def test_unknown_names_are_redirected_to_the_fallback(server: Server, name: str) -> None:
    answer = server.get(f"/simple/{name}")
    if answer.status == 301:
        answer = server.get(urllib.parse.urljoin(f"/simple/{name}", answer.headers["Location"]))
    assert (answer.status, answer.headers["Location"], answer.body) == (
        303,
        "https://fallback.example/simple/other-dist/",
        b"",
    )


def test_without_a_fallback_unknown_names_are_not_found(distributions: Path) -> None:
    """No name leaves the machine."""
    argv = _argv(distributions, "--port", "0", "--fallback-url", "")
    with _running(argv, distributions.parent) as process:
        server = Server(process, *_url(process))
        for path in ("/simple/other-dist/", "/insiders/simple/other-dist/"):
            answer = server.get(path)
            assert (answer.status, answer.headers["Location"]) == (404, None)
        assert server.get("/simple/my-dist/").status == 200


def test_the_fallback_is_pypi_by_default(distributions: Path) -> None:
    argv = _argv(distributions, "--port", "0")
    with _running(argv, distributions.parent) as process:
        answer = Server(process, *_url(process)).get("/simple/other-dist/")
    assert (answer.status, answer.headers["Location"]) == (
        303,
        "https://pypi.org/simple/other-dist/",
    )


JSON = "application/vnd.pypi.simple.v1+json"


def _json(server: Server, path: str) -> Any:
    answer = server.request("GET", path, headers={"Accept": JSON})
    assert (answer.status, answer.headers["Content-Type"]) == (200, JSON)
    return json.loads(answer.body)


def test_the_page_of_a_project_as_json(server: Server, distributions: Path) -> None:
    """All that the standards foresee; PEP 691, 700, 714."""
    page = _json(server, "/simple/my-dist/")
    wheel, sdist = distributions / WHEEL, distributions / SDIST
    published = [file.pop("upload-time") for file in page["files"]]
    assert page == {
        "meta": {"api-version": "1.1"},
        "name": "my-dist",
        "versions": ["0.9", "1.0+insiders.2"],
        "files": [
            {
                "filename": SDIST,
                "url": f"../../packages/{SDIST}",
                "hashes": {"sha256": _sha256(sdist.read_bytes())},
                "size": sdist.stat().st_size,
                "yanked": False,
            },
            {
                "filename": WHEEL,
                "url": f"../../packages/{WHEEL.replace('+', '%2B')}",
                "hashes": {"sha256": _sha256(wheel.read_bytes())},
                "size": wheel.stat().st_size,
                "yanked": False,
                "requires-python": ">=3.8",
                "core-metadata": {"sha256": _sha256(METADATA)},
            },
        ],
    }
    now = datetime.now(UTC)
    for time in published:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", time)
        assert now - timedelta(minutes=5) < datetime.fromisoformat(time) <= now


def test_the_list_of_projects_as_json(server: Server) -> None:
    assert _json(server, "/simple/") == {
        "meta": {"api-version": "1.1"},
        "projects": [{"name": "my-dist"}],
    }


def test_where_a_file_was_built_from_is_told(tmp_path: Path) -> None:
    """Under keys of our own; PEP 700 leaves those with `_` to the index."""
    directory = tmp_path / "dists"
    record = MetadataCache(tmp_path / ".local/state/pypi-insiders/distributions.sqlite", directory)
    built = wheel(tmp_path, "my-dist", "1.0")
    store.publish(directory, record, [built], Origin("ns/proj", "v1.0", "c0ffee"))
    with _serving(directory) as server:
        (file,) = _json(server, "/simple/my-dist/")["files"]
    told = {key: value for key, value in file.items() if key.startswith("_")}
    assert told == {"_repository": "ns/proj", "_tag": "v1.0", "_commit": "c0ffee"}


def test_a_yank_is_told_with_its_reason(tmp_path: Path) -> None:
    """In both forms, and never as markup; PEP 592."""
    directory = tmp_path / "dists"
    for version in ("1.0", "1.1", "1.2"):
        wheel(directory, "my-dist", version)
    reason = """it's <b>"bad"</b> & ugly"""
    YANKED.save(directory, {"my-dist": {"1.1": reason, "1.2": ""}})
    with _serving(directory) as server:
        files = _json(server, "/simple/my-dist/")["files"]
        html = server.get("/simple/my-dist/").body.decode()
    assert [file["yanked"] for file in files] == [False, reason, True]
    yanked = re.findall(r'<a href="[^"]*"[^>]*?(?: data-yanked="([^"]*)")?>', html)
    assert [unescape(reason) for reason in yanked] == ["", reason, ""]
    assert (html.count("data-yanked"), "<b>" in html) == (2, False)


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ({}, "text/html; charset=utf-8"),
        ({"Accept": "*/*"}, "text/html; charset=utf-8"),
        ({"Accept": f"{JSON};q=0.5, text/html;q=0.4"}, JSON),
        ({"Accept": f"{JSON};q=0.4, text/html;q=0.5"}, "text/html; charset=utf-8"),
        ({"Accept": "application/vnd.pypi.simple.latest+json"}, JSON),
        (
            {"Accept": "application/vnd.pypi.simple.v1+html"},
            "application/vnd.pypi.simple.v1+html; charset=utf-8",
        ),
    ],
)
@pytest.mark.parametrize("path", ["/simple/", "/simple/my-dist/"])
def test_the_form_is_the_one_that_the_client_likes_best(
    server: Server, path: str, accept: dict[str, str], media_type: str
) -> None:
    answer = server.request("GET", path, headers=accept)
    assert (answer.status, answer.headers["Content-Type"], answer.headers["Vary"]) == (
        200,
        media_type,
        "Accept",
    )


def test_a_form_that_there_is_not_is_refused(server: Server) -> None:
    assert server.request("GET", "/simple/", headers={"Accept": "image/png"}).status == 406


@pytest.mark.parametrize("path", ["/simple/", "/simple/my-dist/"])
@pytest.mark.parametrize("accept", [JSON, "text/html"])
def test_a_page_that_the_client_has_is_not_sent_again(
    server: Server, path: str, accept: str
) -> None:
    """It must ask each time, so that a new release is seen at once."""
    first = server.request("GET", path, headers={"Accept": accept})
    assert first.headers["Cache-Control"] == "no-cache"
    known = {"Accept": accept, "If-None-Match": first.headers["ETag"]}
    again = server.request("GET", path, headers=known)
    assert (again.status, again.body, again.headers["ETag"]) == (304, b"", first.headers["ETag"])
    other = {"Accept": "text/html" if accept == JSON else JSON}
    assert server.request("GET", path, headers=known | other).status == 200


@pytest.mark.parametrize("path", [f"/packages/{WHEEL}", f"/packages/{WHEEL}.metadata"])
def test_files_are_kept_by_caches_for_ever(server: Server, path: str) -> None:
    """They never change."""
    first = server.get(path)
    assert first.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert first.headers["ETag"] == f'"{_sha256(first.body)}"'
    again = server.request("GET", path, headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status, again.body) == (304, b"")


def test_the_metadata_of_a_wheel_are_beside_it(server: Server) -> None:
    """PEP 658; an sdist has none there, for it may say something else when it is built."""
    assert server.get(f"/packages/{WHEEL}.metadata").body == METADATA
    assert server.get(f"/packages/{SDIST}.metadata").status == 404


def test_a_part_of_a_file_can_be_had(server: Server, distributions: Path) -> None:
    """For downloads that broke off, and for installers that read the end of a wheel."""
    content = (distributions / WHEEL).read_bytes()
    size = len(content)
    tag = f'"{_sha256(content)}"'
    for wanted, begin, end in (
        ("bytes=0-9", 0, 10), ("bytes=10-", 10, size), ("bytes=-5", size - 5, size)
    ):  # fmt: skip
        for condition in ({}, {"If-Range": tag}):
            headers = {"Range": wanted, **condition}
            part = server.request("GET", f"/packages/{WHEEL}", headers=headers)
            assert (part.status, part.body) == (206, content[begin:end])
            assert part.headers["Content-Range"] == f"bytes {begin}-{end - 1}/{size}"
            # Of HEAD no range is defined. Source: RFC 9110, 14.2.
            head = server.request("HEAD", f"/packages/{WHEEL}", headers=headers)
            assert (head.status, head.headers["Content-Length"]) == (200, str(size))
            assert "Content-Range" not in head.headers
    headers = {"Range": "bytes=0-9", "If-Range": '"another"'}
    whole = server.request("GET", f"/packages/{WHEEL}", headers=headers)
    assert (whole.status, whole.body) == (200, content)
    beyond = server.request("GET", f"/packages/{WHEEL}", headers={"Range": f"bytes={size}-"})
    assert (beyond.status, beyond.headers["Content-Range"]) == (416, f"bytes */{size}")


def test_what_pypiserver_answers_besides(server: Server) -> None:
    """Its list of packages."""
    assert [name for _, name in _links(server.get("/packages/"))] == [SDIST, WHEEL]


NO_INFO: dict[str, Any] = {
    **dict.fromkeys((
        *("author", "author_email", "description_content_type", "download_url", "home_page"),
        *("keywords", "license", "license_expression", "maintainer", "maintainer_email"),
        *("project_urls", "provides_extra", "requires_dist", "summary"),
    )),
    "classifiers": [],
    "description": "",
}  # fmt: skip


@pytest.mark.parametrize("path", ["/pypi/my-dist/json", "/my-dist/json"])
def test_a_project_as_pypi_describes_it(server: Server, distributions: Path, path: str) -> None:
    """All that clients read of it: https://docs.pypi.org/api/json/."""
    answer = server.get(path)
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    content = json.loads(answer.body)
    for item in [*chain.from_iterable(content["releases"].values()), *content["urls"]]:
        at = item["upload_time_iso_8601"]
        assert datetime.fromisoformat(at) <= datetime.now(UTC)
        assert item.pop("upload_time_iso_8601").startswith(item.pop("upload_time"))
    url = f"http://127.0.0.1:{server.port}"
    sdist, wheel = (
        {
            "digests": {"sha256": _sha256((distributions / name).read_bytes())},
            "filename": name,
            "packagetype": kind,
            "python_version": python,
            "requires_python": requires,
            "size": (distributions / name).stat().st_size,
            "url": f"{url}/packages/{name.replace('+', '%2B')}",
            "yanked": False,
            "yanked_reason": None,
        }
        for name, kind, python, requires in (
            (SDIST, "sdist", "source", None),
            (WHEEL, "bdist_wheel", "py3", ">=3.8"),
        )
    )
    page = f"{url}/project/my-dist/"
    assert content == {
        "info": {
            **NO_INFO,
            "name": "my-dist",
            "version": "1.0+insiders.2",
            "requires_python": ">=3.8",
            "package_url": page,
            "project_url": page,
            "release_url": f"{page}#1.0+insiders.2",
            "yanked": False,
            "yanked_reason": None,
        },
        "last_serial": 0,
        "releases": {"0.9": [sdist], "1.0+insiders.2": [wheel]},
        "urls": [wheel],
        "vulnerabilities": [],
    }
    assert server.get(str(wheel["url"]).removeprefix(url)).status == 200
    again = server.request("GET", path, headers={"If-None-Match": answer.headers["ETag"]})
    assert (again.status, again.body) == (304, b"")


@pytest.mark.parametrize(
    ("path", "status", "location"),
    [
        ("/pypi/My_Dist/json", 301, "../my-dist/json"),
        ("/My.Dist/json", 301, "../my-dist/json"),
        ("/pypi/none/json", 404, None),
        ("/none/json", 404, None),
        ("/pypi/-x/json", 404, None),
        ("/insiders/project/my-dist/releases.atom", 301, "../../../project/my-dist/releases.atom"),
        ("/pypi/My_Dist/1.0%2Binsiders.2/json", 301, "../../my-dist/1.0%2Binsiders.2/json"),
        ("/pypi/none/1.0/json", 404, None),
        ("/pypi/my-dist/3.0/json", 410, None),
        (f"/pypi/my-dist/{'1' * 5000}/json", 410, None),
        (f"/packages/my_dist-{'1' * 5000}.tar.gz", 410, None),
    ],
)
def test_other_names_of_json(server: Server, path: str, status: int, location: str | None) -> None:
    """The location is relative: it is right behind any proxy. No answer repeats a long request."""
    answer = server.get(path)
    assert (answer.status, answer.headers["Location"]) == (status, location)
    assert len(answer.body) < 2500


def test_a_release_as_pypi_describes_it(tmp_path: Path) -> None:
    """The metadata of its wheel, however its version is written; the newest one is of the project.

    Each has a process that reads it: 0.4 s.
    """
    directory = tmp_path / "dists"
    # With a newer version of the metadata each new field is allowed.
    metadata = """\
Summary: The first
Requires-Python: >=3.9
Requires-Dist: rich>=13
Requires-Dist: click; extra == "cli"
Provides-Extra: cli
Home-page: https://example.org/
Project-URL: Source, https://example.org/source
Author: A. Uthor
Author-email: a@example.org
License-Expression: MIT
Classifier: Topic :: Utilities
Classifier: Typing :: Typed
Keywords: one,two
Description-Content-Type: text/markdown

# Title
"""
    wheel(directory, "my-dist", "1.0", metadata)
    wheel(directory, "my-dist", "1.1", "Summary: The second")
    YANKED.save(directory, {"my-dist": {"1.0": "bad"}})
    with _serving(directory) as server:
        url = f"http://127.0.0.1:{server.port}/project/my-dist/"
        first = json.loads(server.get("/pypi/my-dist/1.0.0/json").body)
        assert first.keys() == {"info", "last_serial", "urls", "vulnerabilities"}
        assert [file["filename"] for file in first["urls"]] == ["my_dist-1.0-py3-none-any.whl"]
        assert first["info"] == {
            **NO_INFO,
            "name": "my-dist",
            "version": "1.0",
            "summary": "The first",
            "requires_python": ">=3.9",
            "requires_dist": ["rich>=13", 'click; extra == "cli"'],
            "provides_extra": ["cli"],
            "home_page": "https://example.org/",
            "project_urls": {"Source": "https://example.org/source"},
            "author": "A. Uthor",
            "author_email": "a@example.org",
            "license_expression": "MIT",
            "classifiers": ["Topic :: Utilities", "Typing :: Typed"],
            "keywords": "one,two",
            "description": "# Title\n\n",
            "description_content_type": "text/markdown",
            "package_url": url,
            "project_url": url,
            "release_url": f"{url}#1.0",
            "yanked": True,
            "yanked_reason": "bad",
        }
        newest = json.loads(server.get("/pypi/my-dist/json").body)["info"]
        assert (newest["version"], newest["summary"]) == ("1.1", "The second")


def test_dependencies_that_are_not_known_are_not_said_to_be_none(tmp_path: Path) -> None:
    """Long texts are left out; of too many dependencies the answer is an error.

    With a process for each wheel: 0.4 s.
    """
    directory = tmp_path / "dists"
    most = "\n".join(["Requires-Dist: rich"] * 70_000)
    wheel(directory, "my-dist", "1.0", "Requires-Dist: rich", f"License: {'x' * 600_000}")
    wheel(directory, "my-dist", "1.1", most)
    with _serving(directory) as server:
        info = json.loads(server.get("/pypi/my-dist/1.0/json").body)["info"]
        assert (info["requires_dist"], info["license"]) == (["rich"], None)
        answer = server.get("/pypi/my-dist/1.1/json")
        assert (answer.status, json.loads(answer.body)["title"]) == (
            500, "the metadata of my-dist 1.1 cannot be read"
        )  # fmt: skip


def test_metadata_that_has_to_wait_is_asked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One distribution is read at a time; what waits too long has no answer yet."""
    monkeypatch.setattr("pypi_insiders.server.readme._PATIENCE_S", 0.001)
    directory, reader = tmp_path / "dists", Reader()
    wheel(directory, "my-dist", "1.0", "Requires-Dist: rich")
    with contextlib.closing(MetadataCache(tmp_path / "record.sqlite", directory)) as cache:
        catalog, names = Catalog(directory, cache), CurrentNames(Paths(*[tmp_path] * 4))
        monkeypatch.setattr("pypi_insiders.server.web.site.Reader", lambda: reader)
        held = Held(catalog, names, Waiters())
        site = Site(catalog, held, None, is_private=False, loopback=None)
        path = "/pypi/my-dist/1.0/json"
        request = Request({"REQUEST_METHOD": "GET", "PATH_INFO": path, "HTTP_HOST": "localhost"})
        answers = []

        def open_file() -> None:
            answers.append(site(request))  # while the other one is read

        reader.read("0", "other-1.0.tar.gz", open_file)
        answers.append(site(request))
    busy, known = answers
    assert (busy.status[:3], dict(busy.headers)["Retry-After"].isdigit()) == ("503", True)
    assert json.loads(known.body)["info"]["requires_dist"] == ["rich"]


def test_a_yanked_release_is_never_the_current_one(tmp_path: Path) -> None:
    """Nor a pre-release, where there is a final one; without any other there is none."""
    directory = tmp_path / "dists"
    for version in ("1.0", "1.1", "2.0rc1"):
        wheel(directory, "my-dist", version)
    YANKED.save(directory, {"my-dist": {"1.1": "bad"}})
    with _serving(directory) as server:
        content = json.loads(server.get("/pypi/my-dist/json").body)
        assert content["info"]["version"] == "1.0"
        assert [item["filename"] for item in content["urls"]] == ["my_dist-1.0-py3-none-any.whl"]
        (bad,) = content["releases"]["1.1"]
        assert (bad["yanked"], bad["yanked_reason"]) == (True, "bad")
        YANKED.save(directory, {"my-dist": {"1.0": "", "1.1": "bad", "2.0rc1": ""}})
        content = json.loads(server.get("/my-dist/json").body)
    assert (content["info"]["version"], content["urls"]) == (None, [])
    assert set(content["releases"]) == {"1.0", "1.1", "2.0rc1"}
    assert [item["yanked_reason"] for item in content["releases"]["1.0"]] == [None]


def test_health(server: Server) -> None:
    answer = server.get("/health")
    assert (answer.status, answer.body) == (200, b"Ok")


def _tree(directory: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def _form(**fields: str) -> tuple[bytes, dict[str, str]]:
    """Encode what `twine upload` sends; `content` is a file."""
    parts = [
        f'--limit\r\nContent-Disposition: form-data; name="{name}"'
        + ('; filename="new-1.0.tar.gz"' if name == "content" else "")
        + f"\r\n\r\n{value}\r\n"
        for name, value in fields.items()
    ]
    body = "".join([*parts, "--limit--\r\n"]).encode()
    return body, {"Content-Type": "multipart/form-data; boundary=limit"}


_UPLOAD = _form(**{":action": "file_upload", "name": "new", "version": "1.0", "content": "x"})
_REMOVAL = _form(**{":action": "remove_pkg", "name": "my_dist", "version": "0.9"})
_BASIC = {"Authorization": "Basic Og=="}  # no name, no password


@pytest.mark.parametrize(
    ("method", "path", "content"),
    [
        ("POST", "/", _UPLOAD),
        ("POST", "/", (_UPLOAD[0], _UPLOAD[1] | _BASIC)),
        ("POST", "/legacy/", _UPLOAD),
        ("POST", "/", _REMOVAL),
        ("POST", "/", (_REMOVAL[0], _REMOVAL[1] | _BASIC)),
        ("POST", "/RPC2", (b"<methodCall/>", {"Content-Type": "text/xml"})),
        ("PUT", "/packages/new-1.0.tar.gz", (b"x", {})),
        ("PUT", f"/packages/{WHEEL}", (b"x", {})),
        ("DELETE", f"/packages/{WHEEL}", (b"", {})),
        ("PATCH", f"/packages/{WHEEL}", (b"x", {})),
        ("OPTIONS", "/simple/", (b"", {})),
    ],
)
def test_nothing_can_be_changed(
    server: Server,
    distributions: Path,
    method: str,
    path: str,
    content: tuple[bytes, dict[str, str]],
) -> None:
    before = _tree(distributions.parent)
    answer = server.request(method, path, *content)
    assert (answer.status, answer.headers["Allow"], answer.body) == (
        405,
        "GET, HEAD",
        b"this index is read-only\n",
    )
    assert _tree(distributions.parent) == before


@pytest.mark.parametrize(
    "path",
    [".secret-1.0.tar.gz", ".hidden/secret-1.0.tar.gz", "../secret-1.0.tar.gz",
     "..%2fsecret-1.0.tar.gz", "%2e%2e/secret-1.0.tar.gz", "..%5csecret-1.0.tar.gz",
     "./../secret-1.0.tar.gz", ".hidden/../../secret-1.0.tar.gz", "/etc/passwd",
     "%2fetc%2fpasswd", "../../../../../../etc/passwd", "."],
)  # fmt: skip
def test_only_distributions_are_served(server: Server, path: str) -> None:
    """Neither what starts with a dot, nor what lies outside."""
    answer = server.get(f"/packages/{path}")
    assert (answer.status, b"confidential" in answer.body, b"root:" in answer.body) == (
        404,
        False,
        False,
    )


def test_a_name_cannot_inject_a_header(server: Server) -> None:
    answer = server.get("/simple/x%0d%0aSet-Cookie:a=b/")
    assert "Set-Cookie" not in answer.headers


def test_a_file_that_appears_is_served_at_once(tmp_path: Path) -> None:
    """The directory need not even be there when the server starts."""
    directory = tmp_path / "dists"
    with _serving(directory) as server:
        assert server.get("/simple/my-dist/").status == 303
        wheel(directory, "my-dist", "1.0+insiders.2")
        assert server.get("/simple/my-dist/").status == 200
        (directory / WHEEL).unlink()
        assert server.get("/simple/my-dist/").status == 303


def test_both_loopback_addresses_are_listened_on(server: Server) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        expected: list[str] = ["127.0.0.1"]
    else:
        expected = ["127.0.0.1", "::1"]
    answering = []
    for host in ("127.0.0.1", "::1"):
        with contextlib.suppress(OSError):
            if Server(server.process, host, server.port).get("/health").body == b"Ok":
                answering.append(host)
    assert answering == expected


def test_a_taken_port_is_one_line_and_a_hint(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        argv = _argv(tmp_path / "dists", "--port", str(port))
        with _running(argv, tmp_path) as process:
            assert _end(process) == (
                1,
                "",
                f"error: cannot listen on 127.0.0.1:{port}: the port is taken\n"
                f"hint: find its process: `ss -ltnp 'sport = :{port}'`; or choose another port\n",
            )


def test_an_address_of_another_machine_is_one_line(tmp_path: Path) -> None:
    argv = _argv(tmp_path / "dists", "--host", "192.0.2.1", "--port", "0")
    with _running(argv, tmp_path) as process:
        assert _end(process) == (
            1,
            "",
            "error: cannot listen on 192.0.2.1:0: Cannot assign requested address\n"
            "hint: list the addresses of this machine: `ip address`\n",
        )


def test_an_index_without_passwords_is_not_opened_to_others(tmp_path: Path) -> None:
    port = str(free_port())
    argv = _argv(tmp_path / "dists", "--host", "0.0.0.0", "--port", port)
    with _running(argv, tmp_path) as process:
        assert _end(process) == (
            1,
            "",
            f"error: 0.0.0.0:{port} is reachable from other machines without a password\n"
            "hint: set `auth = true` under [server], and run "
            "`pypi-insiders server password USER`\n",
        )


def test_a_port_that_is_taken_on_the_second_address_is_not_passed_over(tmp_path: Path) -> None:
    """Clients that look up `localhost` may try ::1 first, and would reach another server."""
    try:
        taken = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("this machine has no ::1")
    with taken:
        port = taken.getsockname()[1]
        with _running(_argv(tmp_path / "dists", "--port", str(port)), tmp_path) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == ""
            assert _end(process) == (
                1,
                "",
                f"error: cannot listen on [::1]:{port}: the port is taken\n"
                f"hint: find its process: `ss -ltnp 'sport = :{port}'`; or choose another port\n",
            )


def _wait_until_idle(process: subprocess.Popen[str]) -> None:
    """Wait until the kernel has the server asleep; then only an event wakes it."""
    status = Path(f"/proc/{process.pid}/stat")
    while status.read_text().rpartition(")")[2].split()[0] != "S":
        pass


SIGNALS = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])


@SIGNALS
def test_a_signal_ends_it_well_while_nobody_asks(tmp_path: Path, number: signal.Signals) -> None:
    with _serving(tmp_path / "dists") as server:
        _wait_until_idle(server.process)
        server.process.send_signal(number)
        assert _end(server.process) == (0, "", "")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((server.host, server.port))


def test_a_client_that_asks_for_nothing_is_not_waited_for(tmp_path: Path) -> None:
    with (
        _serving(tmp_path / "dists") as server,
        socket.create_connection((server.host, server.port)),
    ):
        assert server.get("/health").body == b"Ok"
        server.process.terminate()
        assert _end(server.process) == (0, "", "")


@pytest.fixture
def manager() -> Iterator[socket.socket]:
    """Listen to what a service tells its manager. Source: sd_notify(3)."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.settimeout(60)
        listening.bind("")  # the kernel finds a free abstract name
        yield listening


def _stops(manager: socket.socket) -> bool:
    """Read on, past changes of the status, to the notification that it stops."""
    return any(manager.recv(100) == b"STOPPING=1" for _ in range(3))


def _notify(manager: socket.socket) -> dict[str, str]:
    return {"NOTIFY_SOCKET": f"@{manager.getsockname()[1:].decode()}"}


def test_it_tells_its_manager_when_it_answers_and_when_it_stops(
    tmp_path: Path, manager: socket.socket
) -> None:
    with _serving(tmp_path / "dists", _notify(manager)) as server:
        assert manager.recv(100).startswith(b"READY=1\nSTATUS=")
        assert server.get("/health").body == b"Ok"
        server.process.terminate()
        assert _stops(manager)
        assert _end(server.process) == (0, "", "")


@SIGNALS
def test_a_download_under_way_is_finished_first(tmp_path: Path, number: signal.Signals) -> None:
    """It is far larger than what the kernel holds for a client that does not read."""
    directory = tmp_path / "dists"
    path = wheel(directory, "my-dist", "1.0", content=os.urandom(32 * 1024 * 1024))
    content = path.read_bytes()
    with _serving(directory) as server:
        connection = http.client.HTTPConnection(server.host, server.port, timeout=60)
        with contextlib.closing(connection):
            connection.request("GET", f"/packages/{path.name}")
            answer = connection.getresponse()
            beginning = answer.read(100_000)
            server.process.send_signal(number)
            received = beginning + answer.read()
        assert (answer.status, _sha256(received)) == (200, _sha256(content))
        assert _end(server.process) == (0, "", "")


def test_a_request_whose_last_byte_is_still_to_come_is_answered(
    tmp_path: Path, manager: socket.socket
) -> None:
    with _serving(tmp_path / "dists", _notify(manager)) as server:
        assert manager.recv(100).startswith(b"READY=1\nSTATUS=")
        with socket.create_connection((server.host, server.port), timeout=60) as connection:
            connection.sendall(b"GET /health HTTP/1.0\r\n")
            assert server.get("/health").body == b"Ok"  # so the line before has been read
            _wait_until_idle(server.process)
            server.process.terminate()
            assert _stops(manager)
            connection.sendall(b"\r\n")
            with connection.makefile("rb") as file:
                assert file.read().endswith(b"\r\n\r\nOk")
        assert _end(server.process) == (0, "", "")


def test_many_clients_at_once(server: Server, distributions: Path) -> None:
    """More than there are threads, each over and over."""
    content = (distributions / WHEEL).read_bytes()
    wrong: list[Answer] = []

    def client() -> None:
        for _ in range(5):
            answer = server.get(f"/packages/{WHEEL}")
            if (answer.status, answer.body) != (200, content):
                wrong.append(answer)

    threads = [threading.Thread(target=client) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert (wrong, [thread.is_alive() for thread in threads]) == ([], 20 * [False])


def test_the_socket_that_systemd_listens_on_is_taken_over(distributions: Path) -> None:
    program, port = need("systemd-socket-activate"), free_port()
    argv = [program, "-l", f"127.0.0.1:{port}", "-E", f"HOME={distributions.parent}",
            *_argv(distributions, "--port", "1")]  # fmt: skip
    with _running(argv, distributions.parent) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == f"Listening on 127.0.0.1:{port} as 3.\n"
        answer = Server(process, "127.0.0.1", port).get("/health")
        assert (answer.body, _url(process)) == (b"Ok", ("127.0.0.1", port))
        process.terminate()
        assert _end(process)[:2] == (0, "")


def test_a_socket_that_is_meant_for_another_process_is_left_alone(distributions: Path) -> None:
    """The variables are inherited by all that a service starts."""
    environment = ["env", "LISTEN_PID=1", "LISTEN_FDS=1"]
    argv = [*environment, *_argv(distributions, "--port", "0")]
    with _running(argv, distributions.parent) as process:
        assert Server(process, *_url(process)).get("/health").body == b"Ok"


def test_while_files_are_read_pages_answer_and_no_name_is_redirected(tmp_path: Path) -> None:
    """The front page counts what is unread, and a feed waits, as it would show old releases."""
    directory = tmp_path / "dists"
    for number in range(30):
        wheel(directory, f"proj-{number}", "1.0")
    (directory / "damaged-1.0.tar.gz").write_text("no archive")
    # Without the thread that keeps up, all files stay unread that nobody asks for.
    with contextlib.closing(MetadataCache(tmp_path / "record.sqlite", directory)) as cache:
        catalog, names = Catalog(directory, cache), CurrentNames(Paths(*[tmp_path] * 4))
        app = make_app(catalog, RequestGuard(), Held(catalog, names, Waiters()))

        def get(path: str, accept: str = JSON) -> tuple[int, dict[str, str], str]:
            told: list[tuple[int, dict[str, str]]] = []
            environ = {
                "REQUEST_METHOD": "GET", "PATH_INFO": path, "HTTP_HOST": "localhost",
                "HTTP_ACCEPT": accept, "QUERY_STRING": "", "wsgi.url_scheme": "http",
            }  # fmt: skip

            def start_response(status: str, headers: list[tuple[str, str]], *_: object) -> Any:
                told.append((int(status[:3]), dict(headers)))

            body = b"".join(app(environ, start_response)).decode()
            return *told[0], body

        assert get("/health")[0] == 200
        assert "<strong>31 files still to be read.</strong>" in get("/", "text/html")[2]
        status, headers, _ = get("/-/releases.atom")
        assert (status, "Retry-After" in headers) == (503, True)
        status, _, body = get("/simple/proj-7/")
        assert (status, json.loads(body)["versions"]) == (200, ["1.0"])
        assert get("/simple/damaged/")[0] == 409
        assert get("/packages/damaged-1.0.tar.gz")[0] == 409
        assert get("/simple/elsewhere/")[0] in (302, 303)
        assert get("/project/proj-7/releases.atom")[0] == 200
        front = get("/", "text/html")[2]
        assert "<strong>29 files still to be read.</strong>" in front
        assert (front.count("not read yet"), front.count(">1.0</a>")) == (29, 1)
        assert len(json.loads(get("/simple/")[2])["projects"]) == 30
