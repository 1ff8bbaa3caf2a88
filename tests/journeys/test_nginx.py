"""The index as plain files, served by nginx."""

import base64
import os
import re
import subprocess
import sys
import tempfile
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import pytest
import wheels
from exports import JSON, PAGES, Answer, dists, export, fill, get, live
from fixtures import COMMAND, ROOT, Person, free_port, need
from nginx import running

from pypi_insiders.index.release_lists import YANKED

__all__ = ["dists"]

ATOM = "{http://www.w3.org/2005/Atom}"
HTML = "text/html; charset=utf-8"
FALLBACK = "https://fallback.example/a$1/simple/"


@dataclass(frozen=True)
class Site:
    """An export as nginx serves it."""

    directory: Path
    url: str
    log: Path

    def get(self, path: str, **headers: str) -> Answer:
        """Fetch a path."""
        return get(f"{self.url}{path}", **headers)


@contextmanager
def serving(person: Person, *options: str, settings: str = "") -> Iterator[Site]:
    """Export to where another user reaches it, and serve that with nginx under that user."""
    # pytest's own directories are for the user alone.
    with tempfile.TemporaryDirectory(prefix="pypi-insiders-nginx-") as name:
        root = Path(name)
        root.chmod(0o755)
        site = Site(root / "web", f"http://127.0.0.1:{free_port()}", root / "run/access.log")
        export(person, site.directory, *options, umask=0o077)
        server = (
            f"    listen {site.url.removeprefix('http://')};\n"
            f"    root {site.directory};\n    include {site.directory}/nginx.conf;\n{settings}"
        )
        with running(root / "run", server):
            yield site


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """An export with a fallback, for tests that do not change it, and with files to be hidden."""
    person = Person(tmp_path_factory.mktemp("home"))
    fill(person.paths.distributions)
    with serving(person, "--fallback-url", FALLBACK) as site:
        for hidden in ("packages/.hidden", "packages/hidden/file", "simple/.hidden/index.html"):
            (site.directory / hidden).parent.mkdir(exist_ok=True)
            (site.directory / hidden).touch()
        (site.directory / "robots.txt").touch()
        yield site


@pytest.mark.parametrize("client", ["pip", "uv"])
def test_pip_and_uv_install_from_it_and_the_rest_from_the_fallback(
    client: str, person: Person, dists: Path, tmp_path: Path
) -> None:
    """They get the pages as JSON, and the metadata of a wheel by itself."""
    wheels.wheel(tmp_path / "public", "public", "3.0")
    wheels.wheel(tmp_path / "public", "one", "9.0")
    with (
        live(person, "--dist-dir", tmp_path / "public") as fallback,
        serving(person, "--fallback-url", f"{fallback}/simple/") as site,
    ):
        ours = ("PIP_", "UV_", "XDG_")
        environment = {
            key: value for key, value in person.environment.items() if not key.startswith(ours)
        } | {"PIP_CONFIG_FILE": os.devnull, "UV_NO_CONFIG": "1"}
        argv: list[str | Path] = [sys.executable, "-m", "pip", "install", "--index-url"]
        if client == "uv":
            argv = [COMMAND.with_name("uv"), "pip", "install", "--default-index"]
        argv += [f"{site.url}/simple/", "--target", tmp_path / "there", "one"]
        done = subprocess.run(argv, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        log = site.log.read_text().splitlines()
    installed = {path.name for path in (tmp_path / "there").glob("*.dist-info")}
    assert installed == {"one-1.1.dist-info", "public-3.0.dist-info"}
    wheel = "/packages/one-1.1-py3-none-any.whl"
    assert f"200 /simple/one/index.json {JSON}" in log
    assert f"200 {wheel}.metadata text/plain; charset=utf-8" in log
    assert any(line.startswith("303 /simple/public/") for line in log)


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (None, HTML),
        ("*/*", HTML),
        ("text/html", HTML),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", HTML),
        (JSON, JSON),
        ("application/vnd.pypi.simple.latest+json", JSON),
        ("APPLICATION/vnd.pypi.simple.v1+JSON", JSON),
        (f"text/html;q=0.01, {JSON}", JSON),
        (f"{JSON}, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.01", JSON),
        (f"{JSON};q=0.5, text/html;q=0.1", JSON),
        (f"{JSON};q=0, text/html", HTML),
        (f"{JSON} ; q=0.000, */*", HTML),
        ("application/vnd.pypi.simple.v2+json, text/html", HTML),
        ("application/json", HTML),
    ],
)
def test_the_form_is_negotiated(accept: str | None, expected: str, site: Site) -> None:
    """JSON for whoever takes it, HTML for all others; caches are told that there are both."""
    for path in ("/simple/", "/simple/one/", "/insiders/simple/", "/insiders/simple/one/"):
        answer = site.get(path, **({} if accept is None else {"Accept": accept}))
        page = site.directory / path.removeprefix("/").removeprefix("insiders/")
        name = "index.json" if expected == JSON else "index.html"
        assert (answer.status, answer.headers["Content-Type"]) == (200, expected)
        assert answer.body == (page / name).read_bytes()
        assert answer.headers["Vary"] == "Accept"
        assert answer.headers["Cache-Control"] == "no-cache"


def test_a_known_page_is_not_sent_again_and_a_changed_one_is(person: Person, dists: Path) -> None:
    """Each form has its own ETag; a new export is seen at once, without a reload."""
    with serving(person) as site:
        answers = {form: site.get("/simple/one/", Accept=form) for form in PAGES.values()}
        etags = {form: answer.headers["ETag"] for form, answer in answers.items()}
        assert len(set(etags.values())) == 2
        for form, etag in etags.items():
            again = site.get("/simple/one/", Accept=form, If_None_Match=etag)
            assert (again.status, again.body) == (304, b"")
            assert again.headers["Cache-Control"] == "no-cache"
        YANKED.save(dists, {"one": {"1.0": ""}})
        export(person, site.directory)
        for form, etag in etags.items():
            changed = site.get("/simple/one/", Accept=form, If_None_Match=etag)
            assert changed.status == 200
            assert b"yanked" in changed.body


@pytest.mark.parametrize("page", ["/simple/", "/simple/one/", "/insiders/simple/one/"])
def test_pages_link_to_a_feed(page: str, site: Site) -> None:
    """It is Atom by its type, and its links lead to pages of the export, wherever that is."""
    shown = get(f"{site.url}{page}", Accept="text/html").body.decode()
    link = re.search(r'<link rel="alternate" type="application/atom\+xml" .* href="(.*)">', shown)
    assert link is not None
    url = urllib.parse.urljoin(f"{site.url}{page}", link[1])
    answer = get(url)
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/atom+xml")
    feed = ElementTree.fromstring(answer.body)
    titles = {"one 1.0", "one 1.1"} | (
        {"two-three 1.0+insiders.4"} if page == "/simple/" else set()
    )
    assert {item.findtext(f"{ATOM}title") for item in feed.iter(f"{ATOM}entry")} == titles
    hrefs = {item.get("href", "") for item in feed.iter(f"{ATOM}link")}
    assert {get(urllib.parse.urljoin(url, href)).status for href in hrefs} == {200}
    assert not any("//" in href for href in hrefs)


def test_packages_may_be_kept_for_ever(site: Site) -> None:
    """Below both prefixes; parts are sent too, and what is missing may come yet."""
    packages = site.directory / "packages"
    for prefix in ("", "/insiders"):
        for name in ("one-1.0.tar.gz", "two_three-1.0%2Binsiders.4-py3-none-any.whl"):
            answer = site.get(f"{prefix}/packages/{name}")
            assert answer.body == (packages / urllib.parse.unquote(name)).read_bytes()
            assert answer.headers["Content-Type"] == "application/octet-stream"
            assert answer.headers["Cache-Control"] == "max-age=31536000, immutable"
            assert "Vary" not in answer.headers
    part = site.get("/packages/one-1.0.tar.gz", Range="bytes=0-1")
    assert (part.status, part.body) == (206, b"\x1f\x8b")
    missing = site.get("/packages/one-7.0.tar.gz")
    assert (missing.status, missing.headers.get("Cache-Control")) == (404, None)


@pytest.mark.parametrize(
    ("path", "status", "location"),
    [
        ("/simple/nope/", 303, "https://fallback.example/a%241/simple/nope/"),
        ("/simple/index/", 303, "https://fallback.example/a%241/simple/index/"),
        ("/insiders/simple/nope/", 404, None),
        ("/simple", 301, "/simple/"),
        ("/simple/one", 301, "/simple/one/"),
        ("/insiders/simple/one", 301, "/insiders/simple/one/"),
        ("/simple/two_three/", 301, "/simple/two-three/"),
        ("/simple/two._-three", 301, "/simple/two-three/"),
        ("/simple/two--three/", 301, "/simple/two-three/"),
        ("/insiders/simple/two.three/", 301, "/insiders/simple/two-three/"),
        ("/simple/one/index.html", 404, None),
        ("/simple/one/index.json", 404, None),
        ("/simple/one/../../nginx.conf", 404, None),
        ("/simple/one%0aX:y", 404, None),
        ("/simple/one%0a", 301, "/simple/one/"),
        ("/simple/-one/", 410, None),
        ("/simple/.hidden/", 410, None),
        ("/packages/", 404, None),
        ("/packages/.hidden", 404, None),
        ("/packages/hidden/file", 404, None),
        ("/packages/../nginx.conf", 404, None),
        ("/packages/..%2fnginx.conf", 404, None),
        ("/packages/%2e%2e/nginx.conf", 404, None),
        ("/packages/%2e%2e%2fnginx.conf", 404, None),
        ("/packages/..%5cnginx.conf", 404, None),
        ("/packages/%252e%252e/nginx.conf", 404, None),
        ("/packages/one-1.0.tar.gz/../../nginx.conf", 404, None),
        ("/packages../nginx.conf", 404, None),
        ("/insiders/packages../nginx.conf", 404, None),
        ("/insiders/packages/../../nginx.conf", 404, None),
        ("/simple../nginx.conf", 404, None),
        ("/packages/%2fetc/passwd", 404, None),
        ("//etc/passwd", 404, None),
        ("/../../../../etc/passwd", 400, None),
        ("/nginx.conf", 404, None),
        ("/robots.txt", 404, None),
        ("/", 404, None),
    ],
)
def test_other_paths(path: str, status: int, location: str | None, site: Site) -> None:
    """Unknown names go to the fallback, except below `/insiders`; no other file is sent."""
    answer = site.get(path)
    assert (answer.status, answer.headers.get("Location")) == (status, location)


@pytest.mark.parametrize("name", ["One", "ONE", "Two_Three", "two_Three", "two__three.", "%C3%B6"])
def test_no_other_spelling_of_a_held_name_reaches_the_fallback(name: str, site: Site) -> None:
    """Whoever owns that name there would be installed in place of ours."""
    answer = site.get(f"/simple/{name}/")
    assert "fallback.example" not in answer.headers.get("Location", "")
    assert answer.status in (301, 404, 410)


def test_without_fallback_an_unknown_name_is_not_found(person: Person, dists: Path) -> None:
    """As below `/insiders`."""
    with serving(person, "--no-fallback") as site:
        assert site.get("/simple/nope/").status == 404


def test_answers_are_those_of_the_live_index(person: Person, dists: Path) -> None:
    """Whoever moves from one to the other gets the same pages, files and redirects."""
    with serving(person) as site, live(person) as url:
        for path in (
            "/simple/", "/simple/one/", "/simple/nope/", "/insiders/simple/one/",
            "/insiders/simple/nope/", "/packages/one-1.0.tar.gz", "/packages/nope-1.0.tar.gz",
            "/packages/one-1.0-py3-none-any.whl.metadata",
        ):  # fmt: skip
            for form in PAGES.values():
                theirs, ours = get(f"{url}{path}", Accept=form), site.get(path, Accept=form)
                assert ours.status == theirs.status
                assert ours.headers.get("Location") == theirs.headers.get("Location")
                if ours.status == 200:
                    assert ours.headers["Content-Type"] == theirs.headers["Content-Type"]
                    assert ours.body == theirs.body


HELD = "/simple/held-name/", "/insiders/simple/held-name/"
WRONG = "/pypi/simple/one/", "/root/pypi/+simple/held-name/"


@pytest.fixture
def held(person: Person) -> Iterator[Site]:
    """An export in which one name is held without a release, and another is served."""
    wheels.wheel(person.paths.distributions, "one", "1.0")
    hold(person)
    with serving(person, "--fallback-url", FALLBACK) as site:
        yield site


def hold(person: Person) -> None:
    """Watch a repository that was never built."""
    repos = person.paths.repositories
    repos.parent.mkdir(parents=True, exist_ok=True)
    repos.write_text('["me/held"]\nproject = "held-name"\nurl = "file:///nowhere"\n')


def test_a_held_name_without_release_stops_each_client(held: Site) -> None:
    """It is not the fallback's, and not 404 below `/insiders`; what is served goes on."""
    for path in HELD:
        answer = held.get(path, Accept=JSON)
        assert (answer.status, answer.headers["Content-Type"]) == (409, "application/problem+json")
        assert b"held-name has no release yet: me/held was never built" in answer.body
        pip = held.get(path, **{"User-Agent": "pip/26.3 {}"})
        assert pip.status == 200
        assert "has no release of it" in pip.headers["Content-Type"]
        pdm = held.get(path, **{"User-Agent": "pdm/2.29"})
        assert pdm.headers["Location"] == "http://index:held-name has no release in this index/"
    for client in ("pip/26.3", "pdm/2.29", "uv/0.13"):
        page = held.get("/simple/one/", **{"User-Agent": client, "Accept": JSON})
        assert (page.status, page.headers["Content-Type"]) == (200, JSON)
        other = held.get("/simple/two/", **{"User-Agent": client})
        assert (other.status, other.headers["Location"]) == (
            303,
            f"{FALLBACK}two/".replace("$", "%24"),
        )
    assert held.get("/simple/held-name/problem.json").status == 404


def test_a_wrong_address_leads_to_the_right_one_or_stops(held: Site) -> None:
    """After 404 an installer would ask its next index for the names that are held here."""
    for path in WRONG:
        assert held.get(path).status == 410
        pip = held.get(path, **{"User-Agent": "pip/26.3 {}"})
        assert "no index at this address" in pip.headers["Content-Type"]
        assert held.get(path, **{"User-Agent": "pdm/2.29"}).status == 303
    for path in ("/held-name/", "/Simple/held-name/", "/SIMPLE/held-name/"):
        assert held.get(path).headers["Location"] == "/simple/held-name/"
    assert held.get("/insiders/held-name/").headers["Location"] == "/insiders/simple/held-name/"


def test_an_export_that_is_gone_leads_nobody_to_the_fallback(held: Site) -> None:
    """Moved away, not mounted, or the page of a project lost: nginx cannot know the names then."""
    page = held.directory / "simple/one/index.json"
    page.rename(page.with_name("away.json"))
    assert held.get("/simple/one/", Accept=JSON).status == 503
    page.with_name("away.json").rename(page)
    assert held.get("/simple/one/", Accept=JSON).status == 200
    held.directory.rename(held.directory.with_name("away"))
    for path in ("/simple/one/", "/simple/two/", "/insiders/simple/one/"):
        assert held.get(path, Accept=JSON).status == 503


def test_a_token_of_the_manual_is_the_password_of_a_reader(
    person: Person, dists: Path, tmp_path: Path
) -> None:
    """Others are refused; Poetry, which would go on to its next source, is stopped."""
    need("openssl")
    manual = (ROOT / "pypi_insiders/manual/publishing.md").read_text()
    script, settings = (
        manual.split(f"```{language}\n")[1].split("```")[0] for language in ("sh", "nginx")
    )
    with tempfile.NamedTemporaryFile(prefix="pypi-insiders-readers-") as readers:
        Path(readers.name).chmod(0o644)
        script = script.replace("/etc/nginx/readers", readers.name) + 'printf %s "$token"'
        token = subprocess.check_output(["sh", "-ec", script], text=True)
        settings = settings.replace("/etc/nginx/readers", readers.name)
        hold(person)
        with serving(person, settings=settings) as site:
            file = "/packages/one-1.1-py3-none-any.whl"
            lost = site.directory / "simple/two-three/index.json"
            lost.unlink()
            places = ("/simple/", "/simple/one/", "/simple/elsewhere/", "/simple/two-three/", file)
            for path in (*places, *HELD):
                # Nor does it tell which names there are.
                for client in ("pip/26.3", "pdm/2.29", "uv/0.13"):
                    refused = site.get(path, **{"User-Agent": client, "Accept": JSON})
                    assert (refused.status, b"held" in refused.body) == (401, False)
                    assert refused.headers["WWW-Authenticate"] == 'Basic realm="packages"'
                assert site.get(path, Authorization=_basic("ada", "wrong")).status == 401
                assert site.get(path, **{"User-Agent": "poetry/2.5.1"}).status == 409
            reader = _basic("ada", token)
            assert site.get("/simple/one/", Authorization=reader).status == 200
            assert site.get(file, Authorization=reader).status == 200
            assert site.get("/simple/elsewhere/", Authorization=reader).status == 303
            assert site.get(HELD[0], Authorization=reader).status == 409
            answer = site.get("/simple/two-three/", Authorization=reader, Accept=JSON)
            assert answer.status == 503


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
