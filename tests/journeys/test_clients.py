"""The index as pip, uv, PDM, Poetry, Hatch and a parser of its own see it.

The programs are real, and so are the server and the public index behind it. Each client installs
and locks once, with an empty home and through a relay that notes what it asks the index for;
several tests look at what came of that.
"""

import hashlib
import json
import os
import re
import signal
import subprocess
import tomllib
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from importlib.metadata import distributions
from pathlib import Path

import pypi_simple
import pytest
from clients import BIN, PROJECT, RECIPES, Client, Index, Relay, Workplace, client_named, relaying
from fixtures import Person, start_command
from packaging.version import Version
from wheels import sdist, wheel

from pypi_insiders.cli import help as manual
from pypi_insiders.index.release_lists import YANKED
from pypi_insiders.util.files import locked

# A public package that needs nothing; what the index holds under its name needs another one.
PUBLIC, DEPENDENCY = "iniconfig", "pluggy"
INSIDERS = "1.0.0+insiders.1"
ACCEPTED = {"html": pypi_simple.ACCEPT_HTML_ONLY, "json": pypi_simple.ACCEPT_JSON_ONLY}
REASON = 'it "eats" <files> & more'
LARGE_BYTES = 30_000_000
# --- the index ---


def _public_index() -> str:
    """Tell which public index this machine uses: that of the environment, or of pip's settings."""
    for variable in ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL"):
        if os.environ.get(variable):
            return os.environ[variable]
    configured = subprocess.run(
        [BIN / "pip", "config", "get", "global.index-url"], capture_output=True, text=True
    )
    return configured.stdout.strip() or "https://pypi.org/simple/"


@pytest.fixture(scope="session")
def public_index() -> str:
    """The index for all names that ours does not hold."""
    return f"{_public_index().rstrip('/')}/"


@contextmanager
def _serving(home: Path, directory: Path, fallback_url: str) -> Iterator[Index]:
    """Run the index until the end of the block."""
    home.mkdir(parents=True, exist_ok=True)
    options = ("--port", "0", "--dist-dir", directory, "--fallback-url", fallback_url)
    with start_command(("server", "run", *options), Person(home).environment) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.endswith("/simple/\n"), line
            yield Index(line.removesuffix("/simple/\n"), directory)
        finally:
            process.send_signal(signal.SIGTERM)
    assert process.returncode == 0


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory, public_index: str) -> Iterator[Index]:
    """An index whose content no test changes."""
    home = tmp_path_factory.mktemp("index")
    directory = home / "dists"
    wheel(directory, PUBLIC, INSIDERS, "Requires-Python: >=3.8", f"Requires-Dist: {DEPENDENCY}>=1")
    wheel(directory, "probe-python", "1.0")
    wheel(directory, "probe-python", "2.0", "Requires-Python: >=99")
    wheel(directory, "probe-yanked", "1.0")
    wheel(directory, "probe-yanked", "2.0")
    wheel(directory, "probe-large", "1.0", content=b"#" * LARGE_BYTES)
    sdist(directory, "probe-source", "1.0")
    sdist(directory, "probe-source", "2.0+insiders.1", "Requires-Python: >=3.8, !=3.9.*, <4")
    YANKED.save(directory, {"probe-yanked": {"2.0": REASON}, "probe-source": {"1.0": ""}})
    with _serving(home, directory, public_index) as index:
        yield index


# --- the relay ---


@pytest.fixture
def relay(index: Index) -> Iterator[Relay]:
    """A relay to the index that no test changes."""
    with relaying(index) as relay:
        yield relay


# --- the clients ---


@dataclass(frozen=True)
class Outcome:
    """What came of locking and installing once."""

    installed: dict[str, str]
    """Name to version."""
    locked: str
    paths: list[str] = field(default_factory=list)
    """What the index was asked for."""


@pytest.fixture(params=list(RECIPES))
def client(request: pytest.FixtureRequest) -> Client:
    """Each of the clients."""
    return client_named(request.param, request)


@pytest.fixture(params=["pip", "uv", "pdm", "poetry"])
def locker(request: pytest.FixtureRequest) -> Client:
    """Each of the clients that lock without installing."""
    return client_named(request.param, request)


def _installed(place: Workplace) -> dict[str, str]:
    """Tell what is installed, name to version."""
    paths = map(str, place.path.glob(".venv/lib/python*/site-packages"))
    return {found.metadata["Name"]: found.version for found in distributions(path=list(paths))}


@pytest.fixture(params=[name for name in RECIPES if name != "hatch-pip"])
def outcome(index: Index, shared: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Outcome:
    """What a client makes of a project; once for all test processes.

    Hatch with pip takes seconds longer than both, and asks for the same as pip.
    """
    client = client_named(request.param, request)
    kept = shared / f"outcome-{client.name}.json"
    with locked(kept.with_suffix(".lock")):
        if not kept.exists():
            with relaying(index) as relay:
                url = f"{relay.url}/simple/"
                place = client.begin(tmp_path / "app", url, PUBLIC, "probe-python", "probe-yanked")
                client.run(place, client.recipe.install)
                if not (place.path / client.recipe.lock_file).exists():
                    client.run(place, client.recipe.lock)
                found = Outcome(_installed(place), client.locked(place), relay.paths)
            kept.write_text(json.dumps(asdict(found)))
    return Outcome(**json.loads(kept.read_text()))


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


# --- what every client does ---


def test_the_insiders_version_wins_over_a_higher_public_one(
    outcome: Outcome, public_index: str
) -> None:
    with pypi_simple.PyPISimple(public_index) as public:
        page = public.get_project_page(PUBLIC)
    assert max(Version(item.version) for item in page.packages if item.version) > Version(INSIDERS)
    assert outcome.installed[PUBLIC] == INSIDERS


def test_the_lock_pins_the_insiders_version_by_its_hash(index: Index, outcome: Outcome) -> None:
    (file,) = index.directory.glob(f"{PUBLIC}-*")
    assert _sha256(file) in outcome.locked


def test_a_dependency_that_the_index_does_not_hold_comes_from_the_public_one(
    outcome: Outcome,
) -> None:
    assert DEPENDENCY in outcome.installed
    assert f'"{DEPENDENCY}"' in outcome.locked
    asked = [path for path in outcome.paths if DEPENDENCY in path]
    assert set(asked) == {f"/simple/{DEPENDENCY}/"}


def test_a_release_for_another_python_is_passed_over_and_not_downloaded(outcome: Outcome) -> None:
    assert outcome.installed["probe-python"] == "1.0"
    assert "/packages/probe_python-1.0-py3-none-any.whl" in outcome.paths
    assert "/packages/probe_python-2.0-py3-none-any.whl" not in outcome.paths


def test_a_yanked_release_is_passed_over(outcome: Outcome) -> None:
    assert outcome.installed["probe-yanked"] == "1.0"


def test_a_yanked_release_is_installed_where_it_is_pinned(
    locker: Client, index: Index, tmp_path: Path
) -> None:
    """Most of them say why it was yanked; Hatch leaves that to pip or uv."""
    place = locker.begin(tmp_path / "app", index.simple, "probe-yanked==2.0")
    said = locker.run(place, locker.recipe.install)
    assert _installed(place)["probe-yanked"] == "2.0"
    assert (REASON in said) == locker.recipe.tells_reason


def test_locking_downloads_metadata_and_no_wheel(
    locker: Client, relay: Relay, tmp_path: Path
) -> None:
    """Not even a part of it, which some would read from its end."""
    place = locker.begin(tmp_path / "app", f"{relay.url}/simple/", "probe-large")
    locker.run(place, locker.recipe.lock)
    assert "probe-large" in locker.locked(place)
    asked = {path for path in relay.paths if path.startswith("/packages/")}
    assert asked == {"/packages/probe_large-1.0-py3-none-any.whl.metadata"}
    assert 0 < sum(relay.answered_bytes) < 100_000


# --- what is published ---


def test_the_first_request_after_a_publication_sees_it(
    locker: Client, tmp_path: Path, public_index: str
) -> None:
    """Whatever a client has in its cache, and without being told not to use it."""
    directory = tmp_path / "dists"
    wheel(directory, "probe", "1.0")
    new = wheel(tmp_path, "probe", "1.1")
    with _serving(tmp_path / "home", directory, public_index) as index:
        place = locker.begin(tmp_path / "app", index.simple, "probe")
        locker.run(place, locker.recipe.lock)
        assert "probe-1.0-py3" in locker.locked(place)
        new.rename(directory / new.name)
        (place.path / locker.recipe.lock_file).unlink()  # upgrading would make uv ask anew
        locker.run(place, locker.recipe.lock)
        assert "probe-1.1-py3" in locker.locked(place)


TIME_LIMITS = {
    "pip": "pip install --dry-run --no-deps --ignore-installed --uploaded-prior-to {} probe-large",
    "uv": "uv pip compile --exclude-newer {} requirements.txt",
    "pdm": "pdm lock --exclude-newer {}",
}


@pytest.mark.parametrize("name", list(TIME_LIMITS))
def test_a_limit_of_time_knows_when_a_release_was_published(
    name: str, index: Index, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """With one after the publication it is found, with one before it is not."""
    with pypi_simple.PyPISimple(index.simple, accept=ACCEPTED["json"]) as parser:
        published = parser.get_project_page("probe-large").packages[0].upload_time
    assert published is not None
    before, after = (
        f"{published + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%SZ}" for seconds in (-1, 1)
    )
    client = client_named(name, request)
    place = client.begin(tmp_path / "app", index.simple, "probe-large")
    client.run(place, TIME_LIMITS[name].format(after))
    assert "probe-large" in client.run(place, TIME_LIMITS[name].format(before), status=1)


HASHED = {
    "pip": "pip --python .venv install --require-hashes --requirement hashed.txt",
    "uv": "uv pip install --require-hashes --requirement hashed.txt",
}


@pytest.mark.parametrize("name", list(HASHED))
def test_what_was_compiled_with_hashes_is_installed_by_them(
    name: str, index: Index, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    client = client_named(name, request)
    place = client.begin(tmp_path / "app", index.simple, PUBLIC)
    place.run(
        "uv", "pip", "compile", "--generate-hashes", "--output-file", "hashed.txt",
        "requirements.txt",
    )  # fmt: skip
    assert (place.path / "hashed.txt").read_text().count("--hash=sha256:") >= 2
    client.run(place, HASHED[name])
    assert _installed(place)[PUBLIC] == INSIDERS


# --- what the pages for people say ---


class _Snippets(HTMLParser):
    """What a page gives to paste: the name of the program to the lines."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, str] = {}
        self._tool: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        what = dict(attrs).get("data-copy") or ""
        if tag == "pre" and what.startswith("the lines for "):
            self._tool = what.removeprefix("the lines for ").lower()
            self.found[self._tool] = ""

    def handle_endtag(self, tag: str) -> None:
        if tag == "pre":
            self._tool = None

    def handle_data(self, data: str) -> None:
        if self._tool is not None:
            self.found[self._tool] += data


def _snippets(url: str) -> dict[str, str]:
    parser = _Snippets()
    with urllib.request.urlopen(url) as answer:
        parser.feed(answer.read().decode())
    return parser.found


_MINIMAL = (
    PROJECT
    + """
[tool.hatch.envs.default]
path = ".venv"
skip-install = true
installer = "{installer}"
dependencies = {requirements}

"""
)


def _newcomer(client: Client, path: Path, public_index: str, *requirements: str) -> Workplace:
    """Make a project, and somebody who knows the public index only."""
    place = client.begin(path, public_index, *requirements)
    for name in ("PDM_PYPI_URL", "UV_NO_CONFIG"):
        del place.environment[name]
    place.environment["PATH"] = f"{client.program.parent}:{BIN}:{os.environ['PATH']}"
    place.environment["PIP_PYTHON"] = ".venv"
    (place.path / "pyproject.toml").write_text(
        _MINIMAL.format(requirements=json.dumps(requirements), installer=client.recipe.installer)
    )
    return place


def test_with_the_lines_of_the_front_page_the_insiders_version_is_installed(
    client: Client, index: Index, public_index: str, tmp_path: Path
) -> None:
    """Pasted where it says, by somebody who knew the public index only."""
    place = _newcomer(client, tmp_path / "app", public_index, PUBLIC)
    found = _snippets(f"{index.url}/")
    lines = found.get(client.name.partition("-")[0], found["shell"])
    if lines.startswith("export "):
        place.run(Path("/bin/sh"), "-ec", f"{lines}\npip install {PUBLIC}")
    else:
        with (place.path / "pyproject.toml").open("a") as file:
            file.write(f"{lines}\n")
        client.run(place, client.recipe.install)
    assert _installed(place)[PUBLIC] == INSIDERS
    assert DEPENDENCY in _installed(place)


def test_the_lines_of_a_projects_page_install_it(
    locker: Client, index: Index, public_index: str, tmp_path: Path
) -> None:
    place = _newcomer(locker, tmp_path / "app", public_index)
    lines = _snippets(f"{index.url}/project/{PUBLIC}/")[locker.name]
    place.run(Path("/bin/sh"), "-ec", lines)
    assert _installed(place)[PUBLIC] == INSIDERS
    assert DEPENDENCY in _installed(place)


# --- what the manual says ---


def _of_manual(tool: str, language: str) -> list[str]:
    """Return the blocks of a client's section, in the manual's order."""
    text = manual.pages()["clients"].read_text()
    section = text.partition(f"\n## {tool}\n")[2].partition("\n## ")[0]
    return re.findall(rf"^```{language}\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)


_BLOCKS = {"uv": 1, "PDM": 1, "Poetry": 2, "Hatch": 1}
_OF_MANUAL = [
    (tool, number, "hatch-pip" if tool == "Hatch" else tool.casefold())
    for tool, count in _BLOCKS.items()
    for number in range(count)
]


def test_the_manual_has_these_blocks_for_clients() -> None:
    assert {tool: len(_of_manual(tool, "toml")) for tool in _BLOCKS} == _BLOCKS


@pytest.mark.parametrize("which", _OF_MANUAL, ids=str)
def test_with_the_settings_of_the_manual_the_insiders_version_is_installed(
    which: tuple[str, int, str],
    index: Index,
    public_index: str,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    """Pasted into a project by somebody who knew the public index only."""
    tool, number, name = which
    client = client_named(name, request)
    place = _newcomer(client, tmp_path / "app", public_index, PUBLIC)
    block = _of_manual(tool, "toml")[number]
    lines = block.replace("http://127.0.0.1:31411", index.url).replace("mkdocs-material", PUBLIC)
    if "explicit" in lines:
        # Poetry's own default is an address that this machine may not reach.
        lines += (
            f'\n[[tool.poetry.source]]\nname = "public"\nurl = "{public_index}"\n'
            'priority = "primary"\n'
        )
    with (place.path / "pyproject.toml").open("a") as file:
        file.write(lines)
    client.run(place, client.recipe.install)
    assert _installed(place)[PUBLIC] == INSIDERS
    assert DEPENDENCY in _installed(place)


def test_with_the_line_of_the_manual_pip_installs_the_insiders_version(
    index: Index, public_index: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    place = _newcomer(client_named("pip", request), tmp_path / "app", public_index)
    (line,) = _of_manual("pip", "console")
    line = line.removeprefix("$ ").replace("http://127.0.0.1:31411", index.url)
    place.run(Path("/bin/sh"), "-ec", line.replace("mkdocs-material", PUBLIC))
    assert _installed(place)[PUBLIC] == INSIDERS


# --- uv and several indexes ---


def _sources(place: Workplace) -> dict[str, str]:
    """Tell from where uv has locked what, name to index."""
    content = tomllib.loads((place.path / "uv.lock").read_text())
    sources = {item["name"]: item["source"].get("registry") for item in content["package"]}
    return {name: f"{url.rstrip('/')}/" for name, url in sources.items() if url}


def test_beside_the_default_index_only_what_is_held_is_locked_to_ours(
    index: Index, public_index: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """The index without fallback answers 404 for all else, and uv goes on to the next."""
    place = client_named("uv", request).begin(tmp_path / "app", public_index, PUBLIC)
    place.run("uv", "lock", UV_INDEX=index.without_fallback)
    assert _sources(place) == {PUBLIC: index.without_fallback, DEPENDENCY: public_index}


def test_as_the_default_index_all_is_locked_to_ours(
    index: Index, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    place = client_named("uv", request).begin(tmp_path / "app", index.simple, PUBLIC)
    place.run("uv", "lock")
    assert _sources(place) == {PUBLIC: index.simple, DEPENDENCY: index.simple}


# --- what the specifications say ---


@pytest.fixture(params=list(ACCEPTED))
def form(request: pytest.FixtureRequest) -> str:
    """Each of the forms that pages have."""
    return str(request.param)


@pytest.fixture(params=["simple", "without_fallback"])
def parser(
    request: pytest.FixtureRequest, form: str, index: Index
) -> Iterator[pypi_simple.PyPISimple]:
    """An independent parser of the pages, with and without the fallback."""
    url = getattr(index, request.param)
    with pypi_simple.PyPISimple(url, accept=ACCEPTED[form]) as parser:
        yield parser


Files = list[tuple[Path, pypi_simple.DistributionPackage]]


@pytest.fixture
def files(parser: pypi_simple.PyPISimple, index: Index) -> Files:
    """All files of the index, beside what the pages tell of them."""
    found = [
        (index.directory / item.filename, item)
        for project in parser.get_index_page().projects
        for item in parser.get_project_page(project).packages
    ]
    assert len(found) == 8
    return found


def test_a_parser_reads_the_names(parser: pypi_simple.PyPISimple) -> None:
    page = parser.get_index_page()
    names = [PUBLIC, "probe-large", "probe-python", "probe-source", "probe-yanked"]
    assert (page.projects, page.repository_version) == (names, "1.1")


@pytest.mark.parametrize(
    "media_type",
    ["text/html", *(f"application/vnd.pypi.simple.{version}+{form}"
                    for version in ("v1", "latest") for form in ("html", "json"))],
)  # fmt: skip
def test_a_parser_understands_each_form_that_it_may_ask_for(index: Index, media_type: str) -> None:
    """The parser goes by the type of the answer."""
    with pypi_simple.PyPISimple(index.simple, accept=media_type) as parser:
        assert "probe-large" in parser.get_index_page().projects
        (item,) = parser.get_project_page("probe-large").packages
    assert (item.size is not None) == media_type.endswith("json")


def test_a_parser_reads_the_versions(parser: pypi_simple.PyPISimple, form: str) -> None:
    page = parser.get_project_page("probe-source")
    versions = ["1.0", "2.0+insiders.1"]
    assert (page.project, page.repository_version) == ("probe-source", "1.1")
    assert page.versions == (versions if form == "json" else None)
    assert [(item.version, item.package_type) for item in page.packages] == [
        (version, "sdist") for version in versions
    ]


def test_a_parser_reads_the_hashes(files: Files) -> None:
    assert [item.digests for _, item in files] == [{"sha256": _sha256(path)} for path, _ in files]


def test_a_parser_reads_sizes(files: Files, form: str) -> None:
    """HTML has no place for them."""
    assert [item.size for _, item in files] == [
        path.stat().st_size if form == "json" else None for path, _ in files
    ]


def test_a_parser_reads_when_files_were_published(files: Files, form: str) -> None:
    """HTML has no place for that."""
    now = datetime.now(UTC)
    for path, item in files:
        if form == "json":
            assert item.upload_time is not None
            written = datetime.fromtimestamp(path.stat().st_mtime, UTC)
            assert written <= item.upload_time <= now
        else:
            assert item.upload_time is None


def test_a_parser_that_likes_both_forms_alike_gets_the_one_that_tells_more(index: Index) -> None:
    with pypi_simple.PyPISimple(index.simple) as parser:
        (item,) = parser.get_project_page("probe-large").packages
    assert item.size is not None
    assert item.upload_time is not None


def test_a_parser_reads_which_python_is_required(files: Files) -> None:
    assert {path.name: item.requires_python for path, item in files if item.requires_python} == {
        f"{PUBLIC}-{INSIDERS}-py3-none-any.whl": ">=3.8",
        "probe_python-2.0-py3-none-any.whl": ">=99",
        "probe_source-2.0+insiders.1.tar.gz": ">=3.8, !=3.9.*, <4",
    }


def test_a_parser_reads_what_is_yanked_and_why(files: Files) -> None:
    assert {path.name: item.yanked_reason or "" for path, item in files if item.is_yanked} == {
        "probe_source-1.0.tar.gz": "",
        "probe_yanked-2.0-py3-none-any.whl": REASON,
    }


def test_a_parser_reads_the_metadata_of_wheels(
    parser: pypi_simple.PyPISimple, files: Files
) -> None:
    """They are those in the file, and their hash is the one on the page."""
    for path, item in files:
        if path.suffix != ".whl":
            assert item.has_metadata is not True
            continue
        with zipfile.ZipFile(path) as archive:
            (name,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
            content = archive.read(name)
        assert item.metadata_digests == {"sha256": hashlib.sha256(content).hexdigest()}
        assert parser.get_package_metadata_bytes(item, verify=True) == content


def test_a_parser_downloads_the_files(
    parser: pypi_simple.PyPISimple, files: Files, tmp_path: Path
) -> None:
    for path, item in files:
        parser.download_package(item, tmp_path / item.filename, verify=True)
        assert (tmp_path / item.filename).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("name", [DEPENDENCY, "no-such-project"])
def test_without_fallback_a_parser_finds_nothing_that_is_not_held(index: Index, name: str) -> None:
    with (
        pypi_simple.PyPISimple(index.without_fallback) as parser,
        pytest.raises(pypi_simple.NoSuchProjectError),
    ):
        parser.get_project_page(name)
