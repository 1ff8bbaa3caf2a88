"""The promise, walked: whatever state the machine is in, no client gets the public package.

A world of many wrong states is made once, by the installed command. Then each client, the export
under nginx and `exec` ask for every project in it, under a real user manager, against a second
index that has 99.0 of each name.
"""

import functools
import http.server
import json
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
import wheels
from clients import BIN, RECIPES, Client, Workplace, client_named, relaying
from clients import Index as ServedIndex
from exports import JSON, get
from fixtures import MakeMachine, Person, free_port
from machine import Machine
from nginx import running
from projects import create

from pypi_insiders.util.files import locked

INSIDERS, PUBLIC = "1.0", "99.0"
HELD = {
    "unbuilt": "unbuilt has no release yet, me/unbuilt was never built",
    "failing": "failing has no release, me/failing, tag v1.0",
    "unpublished": "unpublished has no release, all releases of me/unpublished were unpublished",
    "pruned": "pruned has no release, all releases of me/pruned were unpublished",
    "lost": "the files of lost 1.0 are missing from",
    "changed": "changed has no usable file",
    "odd": "odd has no usable file",
    "damaged": "damaged has no release yet, me/damaged was never built",
}
"""Project to what each client says of it, with a comma for each colon."""
SERVED = ("good", "yanked")
PROJECTS = (*HELD, *SERVED)
CLIENTS = {
    "pip/26.3 {}": "text/html",
    "uv/0.13.9": JSON,
    "pdm/2.29.3": JSON,
    "poetry/2.5.1": JSON,
}


@pytest.fixture(scope="module")
def public(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of an index that has 99.0 of every project."""
    root = tmp_path_factory.mktemp("public")
    for project in (*PROJECTS, "building"):
        page = root / "simple" / project / "index.html"
        file = wheels.wheel(page.parent, project, PUBLIC)
        page.write_text(f'<!DOCTYPE html><a href="{file.name}">{file.name}</a>')
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(root))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/simple/"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="session")
def world(shared: Path) -> Path:
    """A home in which every state is to be found; made once for all test processes."""
    root = shared / "world"
    with locked(shared / "world.lock"):
        if not (root / "ready").exists():
            shutil.rmtree(root, ignore_errors=True)
            (root / "home").mkdir(parents=True)
            _make(Person(root / "home"), root)
            (root / "ready").touch()
    return root / "home"


def _make(person: Person, root: Path) -> None:
    person.paths.config.mkdir(parents=True)
    person.paths.settings.write_text("[watcher]\npublic-versions = false\n")
    built = [name for name in PROJECTS if name not in ("unbuilt", "odd")]
    for name in (*built, "unbuilt"):
        project = create(root, name)
        project.write(INSIDERS)
        if name == "failing":
            project.hook("raise SystemExit('it does not build')\n")
        project.push("v1.0")
        if name == "pruned":
            project.release("2.0")
        if name != "unbuilt":
            backfill = ["--backfill", "2"] if name == "pruned" else []
            person.run(
                "repos", "add", "--no-check", f"me/{name}:{name}", "--url", project.url, *backfill
            )
    person.run("update", status=1)
    url = f"file://{root}/git/me/unbuilt.git"
    person.run("repos", "add", "--no-check", "me/unbuilt:unbuilt", "--url", url)
    person.run("unpublish", "--yes", "unpublished", "--all")
    person.run("prune", "--keep", "1", "me/pruned")
    person.run("unpublish", "--yes", "pruned", "2.0")
    person.run("yank", "yanked", "1.0")
    dists = person.paths.distributions
    for path in (*dists.glob("lost-*"), *dists.glob("damaged-*")):
        path.unlink()
    for path in dists.glob("changed-*"):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    (dists / "odd-1.0.tgz").write_bytes(b"no sdist of today")
    state = person.paths.state
    (state / "repositories/me/damaged.json").write_text("{")
    (state / "checks.json").write_text('{"me/good": 7}')


@dataclass(frozen=True)
class Place:
    """A machine whose person has the home of the world, and runs its index."""

    machine: Machine
    url: str
    """Of the index, up to the port."""

    def run(self, *arguments: str, status: int = 0) -> str:
        """Run the installed command; return what it prints."""
        done = self.machine.run("pypi-insiders", *arguments, check=False)
        assert done.returncode == status, f"{arguments}\n{done.stdout}\n{done.stderr}"
        return done.stdout if "--json" in arguments else done.stdout + done.stderr

    def answers(self, *projects: str) -> dict[str, tuple[int, str | None, bytes]]:
        """Ask for the page of each project as each client does."""
        found = {}
        for project in projects:
            for path in (f"/simple/{project}/", f"/insiders/simple/{project}/"):
                for client, accept in CLIENTS.items():
                    headers = {"User-Agent": client, "Accept": accept}
                    answer = get(f"{self.url}{path}", **headers)
                    location = answer.headers.get("Location")
                    found[f"{client} {path}"] = answer.status, location, answer.body
        return found


@pytest.fixture
def place(
    make_machine: MakeMachine, world: Path, public: str, shared: Path, tmp_path: Path
) -> Iterator[Place]:
    """The world, with its index running as units of a user manager."""
    with make_machine() as machine:
        yield _settle(machine, world, public, tmp_path)


def _settle(machine: Machine, world: Path, public: str, tmp_path: Path) -> Place:
    archive = tmp_path / "world.tar"
    shutil.make_archive(str(archive.with_suffix("")), "tar", world)
    machine.run("tar", "--extract", "--no-same-owner", f"--file={archive}")
    machine.write_text(".gitconfig", "[safe]\n  directory = *\n")
    port = free_port()
    machine.write_text(
        ".config/pypi-insiders/config.toml",
        f'[server]\nport = {port}\nfallback-url = "{public}"\n[watcher]\npublic-versions = false\n',
    )
    machine.run("pypi-insiders", "server", "start")
    return Place(machine, f"http://127.0.0.1:{port}")


def resolve(client: Client, path: Path, url: str, project: str, **environment: str) -> str:
    """Let a client resolve a project; return what it says, with the lock file if there is one."""
    place = client.begin(path, url, project)
    place.environment.update(environment)
    status, said = _try(place, client)
    locked_at = place.path / client.recipe.lock_file
    text = locked_at.read_text() if locked_at.exists() else ""
    assert PUBLIC not in text + said, f"{client.name}, {project}:\n{said}\n{text}"
    if project in HELD:
        assert status != 0, f"{client.name}, {project}:\n{said}\n{text}"
    return said + text


def _try(place: Workplace, client: Client) -> tuple[int, str]:
    command = client.recipe.lock if client.recipe.installer == "pip" else client.recipe.install
    name, *arguments = command.split()
    assert name == client.program.name
    done = subprocess.run(
        [client.program, *arguments],
        cwd=place.path,
        env=place.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=200,
    )
    return done.returncode, done.stdout


def words(said: str) -> str:
    """Take out of what a client says in what it differs: line ends, colons, escapes."""
    plain = said.replace("%3A", ",").replace("%2F", "/").replace(":", ",")
    return " ".join(plain.replace("│", " ").split())


@pytest.mark.parametrize("name", list(RECIPES))
def test_no_client_gets_the_public_package(
    place: Place, name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Each is stopped and says why, with the index as the only one; what is served it gets."""
    client = client_named(name, request)
    # The others take longer, and the server gives the reason to each of their requests (see below).
    projects: tuple[str, ...] = ("unbuilt", "good")
    if not name.startswith("hatch"):
        projects = PROJECTS if name == "uv" else ("unbuilt", "changed", "good")
    place.run("server", "restart")
    with ThreadPoolExecutor(2) as pool:
        said = dict(
            zip(
                projects,
                pool.map(
                    lambda project: resolve(
                        client, tmp_path / project, f"{place.url}/simple/", project
                    ),
                    projects,
                ),
                strict=True,
            )
        )
    for project in HELD.keys() & said.keys():
        assert HELD[project] in words(said[project]), f"{project}:\n{said[project]}"
    assert INSIDERS in said["good"]


def test_uv_stops_before_it_asks_its_next_index(place: Place, public: str, tmp_path: Path) -> None:
    """The index is asked first, and the public one has every name."""
    client = Client("uv", BIN / "uv")
    for project, reason in HELD.items():
        said = resolve(
            client,
            tmp_path / project,
            public,
            project,
            UV_INDEX=f"{place.url}/insiders/simple/",
        )
        assert reason in words(said), f"{project}:\n{said}"


def test_the_export_stops_each_client_too(
    place: Place, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """It is made of the same states, and served by nginx."""
    url = f"http://127.0.0.1:{free_port()}"
    # pytest's own directories are for the user alone.
    with tempfile.TemporaryDirectory(prefix="pypi-insiders-export-") as name:
        root = Path(name)
        (root / "web").mkdir()
        for directory in (root, root / "web"):
            directory.chmod(0o777)
        place.run("export", str(root / "web"))
        server = (
            f"    listen {url.removeprefix('http://')};\n"
            f"    root {root}/web;\n    include {root}/web/nginx.conf;\n"
        )
        with running(root / "run", server):
            for client_name in ("pip", "uv", "pdm", "poetry"):
                client = client_named(client_name, request)
                # All that is held has the same answer here; uv alone takes little time.
                for project in ("unbuilt", "good", *(["lost"] if client_name == "uv" else [])):
                    at = tmp_path / f"{client_name}-{project}"
                    said = resolve(client, at, f"{url}/simple/", project)
                    assert _of_export(client_name, project) in words(said), said


def _of_export(client: str, project: str) -> str:
    """Tell what a client says of a project of the export."""
    if project == "good":
        return INSIDERS
    return {"uv": HELD[project], "poetry": "409"}.get(client, "has no release")


def test_exec_does_not_begin(place: Place) -> None:
    """It names every project that its command could not have."""
    said = place.run("exec", "--no-update", "--", "true", status=1)
    for project in HELD:
        if project != "odd":  # which nobody watches
            assert f"me/{project}" in said


def test_the_answer_is_the_same_before_and_after_a_restart(place: Place) -> None:
    """Whatever the server had in memory; and after an idle end, and a crash."""
    before = place.answers(*PROJECTS)
    assert all(PUBLIC.encode() not in answer[2] for answer in before.values())
    for request, (_, location, body) in before.items():
        reason = HELD.get(request.split("/")[-2])  # each says why, in words or as an address
        assert reason is None or reason in words(f"{location} {body.decode()}"), request
    place.run("server", "restart")
    assert place.answers(*PROJECTS) == before
    place.machine.run(
        "systemctl", "--user", "kill", "--signal=KILL", "pypi-insiders-server.service"
    )
    assert place.answers(*PROJECTS) == before


def test_status_names_each_state(place: Place) -> None:
    """It ends with 1, and says of each project what is wrong."""
    told = json.loads(place.run("status", "--json", status=1))
    lines = "\n".join(f"{item['subject']}: {item['text']}" for item in told["problems"])
    for project in HELD:
        assert project in lines, lines
    assert "every release of yanked is yanked" in lines


def test_a_lost_directory_stops_every_client(
    place: Place, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Before and after a restart, also for names that nobody knows; an update builds it anew.

    Each client gets the same answer, by which the test of what is held sees it stop.
    """
    data = place.machine.home / ".local/share/pypi-insiders"
    place.machine.run("mv", data / "dists", data / "elsewhere")
    before = place.answers("good", "unbuilt", "unknown")
    place.run("server", "restart")
    assert place.answers("good", "unbuilt", "unknown") == before
    for request_line, (_, location, body) in before.items():
        said = words(f"{location} {body.decode()}")
        assert "No such file or directory" in said, request_line
    for name in ("pip", "uv"):
        client = client_named(name, request)
        said = resolve(client, tmp_path / name, f"{place.url}/simple/", "lost")
        assert "No such file or directory" in words(said)
    place.run("status", status=1)
    place.run("update", status=1)  # the one that does not build
    client = Client("uv", BIN / "uv")
    assert INSIDERS in resolve(client, tmp_path / "again", f"{place.url}/simple/", "good")


def test_a_client_waits_while_a_release_is_built(
    make_machine: MakeMachine, public: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Each gets the Insiders release, however it waits."""
    begun, go_on = tmp_path / "begun", tmp_path / "go-on"
    project = create(tmp_path, "building")
    project.write(INSIDERS)
    project.hook(
        "import pathlib, threading\n"
        f"pathlib.Path({str(begun)!r}).touch()\n"
        f"while not pathlib.Path({str(go_on)!r}).exists():\n"
        "    threading.Event().wait(0.05)\n"
    )
    project.push("v1.0")
    with make_machine() as machine:
        tmp_path.chmod(0o777)
        port = free_port()
        machine.write_text(".gitconfig", "[safe]\n  directory = *\n")
        machine.write_text(
            ".config/pypi-insiders/config.toml",
            f'[server]\nport = {port}\nfallback-url = "{public}"\n[build]\nsandbox = "off"\n'
            "[watcher]\npublic-versions = false\n",
        )
        machine.run("pypi-insiders", "server", "start")
        machine.run("pypi-insiders", "repos", "add", "me/building", "--url", project.url)
        machine.run("pypi-insiders", "watcher", "start", "--no-block")
        machine.wait_for(["test", "-e", begun], lambda done: done.returncode == 0)
        index = ServedIndex(f"http://127.0.0.1:{port}", tmp_path)
        names = ("pip", "uv", "pdm", "poetry")
        clients = {name: client_named(name, request) for name in names}
        with relaying(index) as relay, ThreadPoolExecutor(len(names)) as pool:
            waiting = {
                name: pool.submit(
                    resolve, client, tmp_path / name, f"{relay.url}/simple/", "building"
                )
                for name, client in clients.items()
            }
            machine.wait_for(
                ["true"], lambda _: sum("waited=1" in path for path in relay.paths) >= len(names)
            )
            go_on.touch()
            for name, item in waiting.items():
                assert INSIDERS in item.result(), name
