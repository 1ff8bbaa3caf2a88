"""Files, names and answers that nobody would think of: valid ones, damaged by hypothesis.

The same every time; `make fuzz` tries a hundred thousand others.
"""

import contextlib
import http.server
import json
import logging
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from fixtures import Person
from fuzzing import SEEDS, bent, damaged, damaged_json, fuzzed
from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version
from releases import File, MakeReleases, make_releases
from wheels import wheel

from pypi_insiders import forges
from pypi_insiders.config import hook_secret, passwords
from pypi_insiders.config.paths import file_name, held_names_copies
from pypi_insiders.config.settings import load_settings
from pypi_insiders.forges import requests
from pypi_insiders.index.catalog import Catalog
from pypi_insiders.index.metadata_cache import MetadataCache, Origin
from pypi_insiders.index.release_lists import TAKEN_BACK, YANKED
from pypi_insiders.remote_index import public_versions as remote
from pypi_insiders.remote_index import simple_api
from pypi_insiders.reporting import alerts, services_seen, snapshot
from pypi_insiders.reporting.alerts import Alert, AlertStatus, Found
from pypi_insiders.reporting.judgement import judge
from pypi_insiders.reporting.verdict import Item, Severity
from pypi_insiders.repositories import (
    held_names,
    imported,
    lookup,
    new_releases,
    pasted,
    public_versions,
    registry,
    removals,
    repository,
    running,
    sandbox_state,
    state,
    tags,
)
from pypi_insiders.repositories.new_releases import NewRelease
from pypi_insiders.repositories.published_assets import Waiting
from pypi_insiders.repositories.state import Build, Check, Failure, RepositoryState
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.plain_text import one_line
from pypi_insiders.util.redirects import is_same_origin

__all__ = ["make_releases"]


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Log nothing: a failure would show all of it."""
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


_SECRET = "s3cret-that-nobody-reads"


@contextlib.contextmanager
def refused(*, may_show: bool = True) -> Iterator[None]:
    """Allow what is refused in one line.

    Where an address is damaged, nobody can tell the password in it; otherwise none may be shown.
    """
    try:
        yield
    except InsidersError as error:
        told = error.message, error.hint or ""
        assert tuple(map(one_line, told)) == told
        assert may_show or not any(_SECRET in line for line in told)


# Tags


_TAGS = [
    "v1.0", "1.2.0.1.1.0", "9.5.3-insiders-4.49.0", "server-6.19.1", "rel_1_2_3", "2.1.x",
    "20240115", "202401151230", "v2.0-rc1", "1!2.0.post1.dev3+local.1", "release/1.0", "latest",
    "1.0-docker", "v" + "1." * 60 + "1", "①.②", "1.0\u00a0", "app-1.0", "-1.0", "1.0..2",
]  # fmt: skip
_PATTERNS = ["*", "v*", "{version}", "app-{version}", "v{version}", "[0-9]*", "*-insiders-*"]


def _text(sound: list[str]) -> st.SearchStrategy[str]:
    return damaged(st.sampled_from(sound).map(str.encode)).map(
        lambda content: content.decode(errors="replace")
    )


@fuzzed(10, usual=200)
@given(
    st.dictionaries(_text(_TAGS), st.sampled_from(["a" * 40, "b" * 40]), max_size=8),
    st.dictionaries(st.sampled_from(_TAGS), st.just("a" * 40), max_size=3),
    _text(_PATTERNS), st.sampled_from([None, True, False]), st.integers(0, 3),
)  # fmt: skip
def test_no_tag_does_harm(
    refs: dict[str, str], built: dict[str, str], pattern: str, pre: bool | None, backfill: int
) -> None:
    """What is chosen is one of the tags, has a version, and is no version that was built."""
    try:
        rules = tags.Rules(tags.Pattern(pattern), pre, 2, backfill)
    except ValueError as error:
        assert str(error).startswith("must ")  # noqa: PT017
        return
    choice = tags.choose(refs, built, rules)
    found = [rules.pattern.version_of(tag) for tag in choice.build]
    assert set(choice.build) <= set(refs) - set(built)
    assert all(Version(str(version)) == version for version in found)
    assert found == sorted(filter(None, found), reverse=True)
    assert set(choice.moved) <= set(built)
    tags.summary(refs)
    for told in tags.overlooked(refs, "me/probe") or ():
        assert told
    with refused():
        tags.demand_release(refs, rules.pattern, "me/probe")
    tags.unbuilt(refs, built, rules)


# Names and addresses

_ADDRESSES = [
    "me/probe", "me/probe:probe", "git@github.com:me/probe.git", "https://github.com/me/probe",
    "ssh://git@ssh.github.com:443/me/probe.git", f"https://me:{_SECRET}@host.example/me/probe.git",
    "https://gitlab.com/a/b/c/-/tree/main", "https://codeberg.org/me/probe/src/branch/main",
    "git@[2001:db8::1]:me/probe.git", "file:///srv/git/me/probe.git", "git://host/me/probe",
    "https://dev.azure.com/org/project/_git/probe", "http://host:8080/me/probe?x=1#y",
    f"https://{_SECRET}@github.com/me/probe", "C:\\x\\y", "--upload-pack=x", "ext::sh -c x",
    "me/../probe", "https://[::1/x/y", "ssh://-oProxyCommand=x/y/z", "me/probe.git",
]  # fmt: skip
_KINDS = ("github", "gitlab", "gitea")


@fuzzed(10, usual=300)
@given(_text(_ADDRESSES), st.sampled_from([None, *_KINDS]))
def test_no_name_or_address_does_harm(text: str, kind: str | None) -> None:
    """A name is a path below the state; a URL is none of an option; no password is shown."""
    with refused(may_show=text not in _ADDRESSES):
        name = repository.parse_name(text)
        assert ".." not in Path(file_name(name)).parts
        assert not Path(file_name(name)).is_absolute()
        assert not name.startswith("-")
    with refused(may_show=text not in _ADDRESSES):
        url = repository.parse_url(text)
        assert not url.startswith("-")
        assert repository.parse_url(url) == url
    with refused(may_show=text not in _ADDRESSES):
        repository.parse_specification(text)
    with refused(may_show=text not in _ADDRESSES):
        found = pasted.parse(text)
        assert found is None or pasted.is_same(found.url, found.url)
    with refused(may_show=text not in _ADDRESSES):
        item = lookup.specified({}, text)
        assert item.name == repository.parse_name(item.name)
        assert item.remote == repository.parse_url(item.remote)
    with refused(may_show=text not in _ADDRESSES):
        forge = forges.forge_of(text, kind, name="me/probe")
        assert forge.api.startswith(("https://", "http://"))
    with refused(may_show=text not in _ADDRESSES):
        repository.parse_project(text)


# Settings

_SETTINGS = """\
[server]
host = "127.0.0.1"
port = 31411
names = ["index.example"]
auth = true
idle-timeout = "5min"
fallback-url = "https://other.example/simple/"

[watcher]
interval = "30min"
max-new = 5
keep = 3
unreachable-grace = "1d"
release-command = ["make", "-C", "/srv"]

[build]
sandbox = "required"
jobs = 2

[publish]
local = true
index-url = "https://index.example/upload/"
"""
_REPOSITORIES = """\
# What is watched.
["me/probe"]
project = "probe"
url = "https://host.example/me/probe.git"
tags = "v{version}"
pre = false
keep = 3

["me/other"]
project = "other"
assets = "prefer"
branch = "main"
readable = ["~/x", "/y"]
"""
_PASSWORDS = f"# users\nme:{passwords.hashed('x')}\nanother:{passwords.hashed('y')}\n"
_HOOK_SECRET = f"# secrets\n{hook_secret.PREFIX}{_SECRET}\nanother-secret-of-24-chars\n"


def test_no_settings_do_harm(person: Person) -> None:
    """They are read, or refused; then every name that may be in them is held."""
    paths = person.paths
    paths.config.mkdir(parents=True)
    files: list[tuple[Path, str, Callable[[Path], object]]] = [
        (paths.settings, _SETTINGS, load_settings),
        (paths.repositories, _REPOSITORIES, registry.load),
        (paths.passwords, _PASSWORDS, passwords.load),
        (paths.hook_secret, _HOOK_SECRET, hook_secret.load),
    ]
    for path, text, load in files:
        path.write_text(text)
        path.chmod(0o600)
        assert load(path)

    @fuzzed(15, usual=100)
    @given(
        st.sampled_from(files).flatmap(
            lambda file: st.tuples(st.just(file), damaged(st.just(file[1].encode())))
        )
    )
    def check(case: tuple[tuple[Path, str, Callable[[Path], object]], bytes]) -> None:
        (path, text, load), content = case
        path.write_bytes(content)
        try:
            with refused():
                load(path)
            if path == paths.repositories:
                _check_repositories(person)
        finally:
            path.write_text(text)
            for left in (paths.held_names, *held_names_copies(paths)):
                left.unlink(missing_ok=True)

    check()


def _check_repositories(person: Person) -> None:
    paths = person.paths
    names = held_names.load(paths)
    # The rest of the promise is kept by what is remembered.
    assert "probe" in names.repositories or names.error or names.unread is None
    if names.unread is not None:
        return
    watched = registry.load(paths.repositories)
    assert {item.project for item in watched.values()} - {None} <= set(names.repositories)
    before = paths.repositories.read_bytes()
    with registry.edit(paths):
        pass
    assert paths.repositories.read_bytes() == before
    registry.save(paths.repositories, watched.values())
    assert registry.load(paths.repositories) == watched


# The state


def _furnish(person: Person) -> dict[Path, bytes]:
    """Write every file of the state, and return them."""
    paths = person.paths
    paths.config.mkdir(parents=True)
    paths.repositories.write_text('["me/probe"]\nproject = "probe"\nkeep = 3\n')
    file = wheel(paths.distributions, "probe", "1.0")
    with closing(MetadataCache(paths.record, paths.distributions)) as cache:
        catalog = Catalog(paths.distributions, cache)
        project = catalog.project("probe")
        assert project is not None
        entry = project.files[0]._replace(origin=Origin("me/probe", "v1.0", "a" * 40))
        cache.put(entry, None)
    now_s = int(time.time())
    build = Build("v1.0", "a" * 40, "1.0", now_s, {file.name: entry.sha256}, {"flit": "1"})
    elsewhere = ["https://x.example/"]
    gone = Build("v0.9", "b" * 40, "0.9", now_s, {}, uploaded_to=elsewhere, local=False)
    known = RepositoryState(
        "probe", [gone, build], "https://host.example/me/probe.git", ["probe-0.1.tar.gz"],
        ["latest"], ["v0.5"], {"v1.1": Failure("c" * 40, "no backend", 1, now_s, now_s, "mend")},
        {"v1.2": "d" * 40}, "0" * 64, ["v0.1"], {"v1.3": "e" * 40},
        {"v1.4": Waiting("f" * 40, now_s, "no release")},
    )  # fmt: skip
    state.save(paths.state, "me/probe", known)
    check = Check(now_s, None, ["an error"], ["a warning"], now_s, {"an error": "mend"})
    state.save_checks(paths.state, {"me/probe": check})
    state.save_verified(paths.state, now_s)
    removals.save(paths.state, ["me/gone"])
    held_names.sync(paths)
    YANKED.save(paths.distributions, {"probe": {"1.0": "a reason"}}, paths.state)
    TAKEN_BACK.save(paths.distributions, {"probe": {"0.5": "unpublished"}}, paths.state)
    new_releases.save(paths, NewRelease("probe", "1.0", "v1.0", "a" * 40, "me/probe", [file.name]))
    new_releases.begin(paths, NewRelease("probe", "1.1", "v1.1", "c" * 40, "me/probe", []))
    public = public_versions.Public("https://pypi.example/simple/probe/", now_s, '"x"', "0.9")
    public_versions.save(paths.state, {"probe": public})
    sandbox_state.save(paths.state, sandbox_state.Sandboxing())
    open_alerts = [
        Alert("me/probe", "tag", "a text", AlertStatus.NOTIFIED, now_s, now_s),
        Alert("server", "", "a text", AlertStatus.NEW, now_s),
        Alert("watcher", "", "", AlertStatus.RECOVERED, now_s, now_s),
    ]
    alerts.save(paths, {alert.key: alert for alert in open_alerts})
    item = Item(Severity.PROBLEM, "watcher", "a text", "a hint", "kind")
    services = {"at": now_s, "items": [item._asdict()]}
    paths.services_seen.write_text(json.dumps(services))
    paths.pending.write_text('["me/probe"]')
    return {
        path: path.read_bytes()
        for place in (paths.state, paths.distributions)
        for path in sorted(place.rglob("*"))
        if path.suffix in (".json", ".sqlite", ".begun")
    }


def test_no_state_does_harm(person: Person) -> None:
    """Whatever is in one of its files: it is read, and no name and no yank gets lost."""
    files = _furnish(person)
    paths = person.paths
    assert len(files) > 12
    now = datetime.now().astimezone()
    before = judge(snapshot.take(paths, now))
    assert "damaged" not in str(before)

    def damaged_file(path: Path) -> st.SearchStrategy[tuple[Path, bytes]]:
        content = files[path]
        bad = damaged(st.just(content)) if path == paths.record else damaged_json(content.decode())
        return st.tuples(st.just(path), bad)

    @fuzzed(10, usual=30)
    @given(st.lists(st.sampled_from(list(files)).flatmap(damaged_file), min_size=1, max_size=2))
    def check(damages: list[tuple[Path, bytes]]) -> None:
        for path, content in damages:
            path.write_bytes(content)
        try:
            _look(person, now)
            _look(person, now)  # at what the first look has set aside
        finally:
            for path in (*paths.state.rglob("*.damaged*"), *paths.state.glob("*.sqlite-*"),
                         *paths.distributions.glob(".*.damaged*")):  # fmt: skip
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            for path, content in files.items():
                path.write_bytes(content)

    check()
    assert judge(snapshot.take(paths, now)) == before


def _look(person: Person, now: datetime) -> None:
    paths = person.paths
    names = held_names.load(paths)
    assert "probe" in names.repositories
    seen = judge(snapshot.take(paths, now))
    assert all(one_line(item.line) == item.line for item in (*seen.problems, *seen.warnings))
    with refused():
        new_releases.ready(paths)
    with refused():
        new_releases.begun(paths)
    running.pending(paths)
    services_seen.load(paths)
    found = Found((), frozenset(["me/probe", "watcher"]))
    alerts.step(alerts.load(paths), found, int(now.timestamp()))
    with refused(), closing(MetadataCache(paths.record, paths.distributions)) as cache:
        catalog = Catalog(
            paths.distributions, cache, lambda: state.origins(paths.state), copies=paths.state
        )
        project = catalog.project("probe")
        assert project is not None
    state.origins(paths.state)


# Answers


@pytest.mark.parametrize("kind", _KINDS)
def test_no_answer_of_a_forge_does_harm(make_releases: MakeReleases, kind: str) -> None:
    """A file of a release is one of the forge, or the answer is refused."""
    releases = make_releases(kind, _SECRET)
    releases.files["v1.0"] = [
        File("probe-1.0-py3-none-any.whl", b"content"), File("probe-1.0.tar.gz", b"other"),
    ]  # fmt: skip
    forge = replace(forges.forge_of(releases.url, kind, name="me/probe"), token=_SECRET)
    answer, bend = releases.host.api, None
    assert answer is not None
    right = forges.release_of(forge, "v1.0")
    assert len(right.assets) == 2

    def api(path: str, headers: Any) -> Any:
        found = answer(path, headers)
        return found if found is None or bend is None else bend(found)

    releases.host.api = api

    @fuzzed(4, usual=25)
    @given(
        st.sampled_from([*8 * [200], 201, 204, 301, 302, 400, 401, 403, 404, 429, 500, 503]),
        _HEADERS, st.one_of(SEEDS, st.just([])), damaged(st.just(b"")),
    )  # fmt: skip
    def check(status: int, headers: list[tuple[str, str]], seeds: list[int], body: bytes) -> None:
        nonlocal bend

        def changed(found: Any) -> Any:
            text = bent(found[2].decode(), seeds).encode() if seeds else found[2][:30] + body
            return status, headers, text

        bend = changed
        requests._limited.clear()
        with refused(may_show=False):
            release = forges.release_of(forge, "v1.0")
            assert all(is_same_origin(asset.url, forge.site) for asset in release.assets)
            assert all(len(place) < 300 for place in release.elsewhere)

    check()


_HEADERS = st.lists(
    st.tuples(
        st.sampled_from(["Content-Type", "Retry-After", "x-ratelimit-remaining",
                         "x-ratelimit-reset", "RateLimit-Reset", "Location", "Link"]),
        _text(["application/json", "text/html; charset=x", "0", "99999999999", "60",
               "Fri, 27 Nov 2026 10:00:00 GMT", "https://elsewhere.invalid/", "-1"]).map(
            lambda text: "".join(it for it in text[:500] if it.isascii() and it.isprintable())
        ),
    ),
    max_size=3,
)  # fmt: skip
_FILE = {"filename": "probe-1.0.tar.gz", "url": "../../probe-1.0.tar.gz",
         "hashes": {"sha256": "0" * 64}, "yanked": False}  # fmt: skip
_PAGE = json.dumps({"meta": {"api-version": "1.1"}, "name": "probe", "files": [_FILE, _FILE]})
_HTML = (
    '<!DOCTYPE html><a href="../../probe-1.0.tar.gz#sha256=' + "0" * 64 + '" data-yanked="">'
    "probe-1.0.tar.gz</a><base href='/x/'><a href='probe-2.0-py3-none-any.whl'>x</a>"
)
_JSON_TYPE = "application/vnd.pypi.simple.v1+json"
_PAGES = st.one_of(
    st.tuples(st.just(_JSON_TYPE), damaged_json(_PAGE)),
    st.tuples(st.sampled_from(["text/html", "text/plain"]), damaged(st.just(_HTML.encode()))),
)


def test_no_page_of_another_index_does_harm(tmp_path: Path) -> None:
    """Its files have a URL, and a hash or none; or it is refused."""
    page: tuple[str, bytes] = "", b""

    class Index(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", page[0])
            self.send_header("Content-Length", str(len(page[1])))
            self.end_headers()
            self.wfile.write(page[1])

        def log_message(self, *arguments: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Index) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        url = f"http://127.0.0.1:{server.server_address[1]}/simple/"

        @fuzzed(8, usual=50)
        @given(_PAGES)
        def check(wanted: tuple[str, bytes]) -> None:
            nonlocal page
            page = wanted
            with refused():
                found = simple_api.ask(url, "probe", None)
                assert all(
                    it.url.startswith(("http://", "https://")) or it.url
                    for it in found.files.values()
                )
            (tmp_path / "public.json").unlink(missing_ok=True)
            remote.look_up(tmp_path, url, ["probe"])
            for known in public_versions.load(tmp_path).values():
                newest = known.newest_for("1.0")
                assert newest is None or Version(newest)

        try:
            check()
        finally:
            server.shutdown()
            thread.join()


# What is imported

_IMPORTS = {
    "repos.json": '{"me/probe": "probe", "me/other": "other-name"}',
    "insiders.toml": (
        '[index]\nurl = "http://localhost:8000/simple"\nsources-directory = "/nowhere"\n'
    ),
    "pyproject.toml": (
        '[project]\ndependencies = ["probe[x] @ git+ssh://git@github.com/me/probe@v1.0; '
        "python_version > '3'\"]\n[tool.uv.sources]\n"
        f'other = {{git = "https://x:{_SECRET}@h/me/o", tag = "1"}}'
        '\n[tool.poetry.dependencies]\nmore = {git = "git@host:me/more.git", rev = "a"}\n'
    ),
    "requirements.txt": (
        "-e git+https://github.com/me/probe.git@v1.0#egg=probe\n# comment\n-r other.txt\n"
        "other @ git+ssh://git@host.example:22/me/other@main \\\n  --hash=x\n"
        f"git+https://{_SECRET}@h/a/b\n"
    ),
}  # fmt: skip


def test_no_import_does_harm(person: Person, tmp_path: Path) -> None:
    """What is taken over can be watched."""
    paths = person.paths
    for name, text in _IMPORTS.items():
        (tmp_path / name).write_text(text)
        found = imported.load(paths, tmp_path / name)
        assert found.repositories or name == "insiders.toml"

    @fuzzed(5, usual=150)
    @given(
        st.sampled_from(list(_IMPORTS)).flatmap(
            lambda name: st.tuples(st.just(name), damaged(st.just(_IMPORTS[name].encode())))
        )
    )
    def check(file: tuple[str, bytes]) -> None:
        name, content = file
        (tmp_path / name).write_bytes(content)
        with refused():
            found = imported.load(paths, tmp_path / name)
            registry.save(tmp_path / "repos.toml", found.repositories)
            assert set(registry.load(tmp_path / "repos.toml")) == {
                item.name for item in found.repositories
            }

    check()
