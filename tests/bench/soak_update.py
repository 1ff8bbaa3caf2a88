"""What may happen to an update and its files, again and again. Run by `make soak`.

`SOAK_SIGKILLS` sets how many updates are killed, 500 by default: at each of their steps, and then
at random moments.
"""

import hashlib
import json
import os
import random
import select
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import pytest
from fixtures import COMMAND, Person, names, need, unavailable
from hostile import Index, request, serving
from projects import Project, create

from pypi_insiders.reporting import snapshot
from pypi_insiders.reporting.judgement import judge
from pypi_insiders.repositories import state

pytestmark = pytest.mark.timeout(0)

SIGKILLS = int(os.environ.get("SOAK_SIGKILLS", "500"))
_JSON = ("Accept", "application/vnd.pypi.simple.v1+json")
_STEPS = ("os.rename", "os.link", "os.remove", "os.rmdir", "os.mkdir", "subprocess.Popen",
          "sqlite3.connect", "open", "fcntl.flock")  # fmt: skip
_RELEASED = '["sh", "-c", "echo $PYPI_INSIDERS_VERSION >>~/ran"]'
SETTINGS = f"[watcher]\npublic-versions = false\nrelease-command = {_RELEASED}\n"


class World:
    """A person with a repository that releases, a name that is only held, and an index."""

    def __init__(self, person: Person, directory: Path) -> None:
        self.person = person
        self.project: Project = create(directory, "probe")
        self.number = 0
        person.run(
            "repos", "add", "me/probe:probe", "--no-check", "--url", self.project.url,
            "--backfill", "2", "--keep", "3",
        )  # fmt: skip
        person.run(
            "repos", "add", "me/secret:secret", "--no-check", "--url", "file:///nowhere/secret.git"
        )

    def release(self) -> str:
        """Push the next version; return it."""
        self.number += 1
        self.project.release(f"{self.number}.0")
        return f"{self.number}.0"

    def update(self) -> None:
        """Run an update, which completes."""
        self.person.run("update", "me/probe")

    def problems(self) -> list[str]:
        """Return what is wrong."""
        seen = snapshot.take(self.person.paths, datetime.now().astimezone())
        lines = [item.line for item in judge(seen).problems]
        return [line for line in lines if "secret" not in line]


def served(index: Index) -> dict[str, str]:
    """Return what the index serves, file name to hash, after loading every file of it."""
    assert index.ask(request("GET", "/simple/secret/")).status in (409, 503)
    answer = index.ask(request("GET", "/simple/probe/", _JSON))
    if answer.status != 200:
        assert answer.status in (409, 503)
        return {}
    found = {}
    for file in json.loads(answer.body)["files"]:
        content = index.ask(request("GET", f"/packages/{file['filename']}"))
        assert content.status == 200, file
        found[file["filename"]] = hashlib.sha256(content.body).hexdigest()
        assert found[file["filename"]] == file["hashes"]["sha256"]
    return found


@pytest.fixture
def world(person: Person, tmp_path: Path) -> World:
    person.paths.config.mkdir(parents=True)
    person.paths.settings.write_text(SETTINGS)
    return World(person, tmp_path)


@pytest.fixture
def index(world: World) -> Iterator[Index]:
    """The index, which runs all the time; a first release is there."""
    with serving(world.person.home, SETTINGS) as index:
        world.release()
        world.update()
        yield index


def begin(
    person: Person, words: Sequence[str | Path], at_step: int | None, steps: Path, *, is_group: bool
) -> int:
    """Start a command in a fork; kill it at a step, or write all its steps."""
    if process_id := os.fork():
        return process_id
    try:
        os.setsid()
        os.environ.clear()
        os.environ.update(person.environment)
        null = os.open("/dev/null", os.O_RDWR)
        log = os.open(person.home / "soak.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for old, new in ((null, 0), (log, 1), (log, 2)):
            os.dup2(old, new)
        passed, listed = 0, steps.open("a")

        def look(event: str, arguments: tuple[object, ...]) -> None:
            nonlocal passed
            if event not in _STEPS or (event == "open" and not _is_write(arguments)):
                return
            passed += 1
            if at_step is None:
                listed.write(f"{event} {arguments[0]}\n")
            elif passed == at_step:
                (os.killpg if is_group else os.kill)(os.getpid(), signal.SIGKILL)

        sys.addaudithook(look)
        from pypi_insiders.__main__ import main

        sys.argv = ["pypi-insiders", *map(str, words)]
        main()
    except SystemExit as end:
        listed.close()
        os._exit(int(end.code or 0))
    except BaseException:
        os._exit(99)
    os._exit(0)


def _is_write(arguments: tuple[object, ...]) -> bool:
    path, _, flags = arguments
    is_writing = bool(isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR))
    return is_writing and not str(path).startswith("/dev/")


def end(process_id: int, after_s: float, *, is_group: bool) -> int:
    """Wait for a process, and kill it after a time; return how it ended."""
    watched = os.pidfd_open(process_id)
    poll = select.poll()
    poll.register(watched, select.POLLIN)
    if not poll.poll(after_s * 1000):
        with suppress(ProcessLookupError):
            (os.killpg if is_group else os.kill)(process_id, signal.SIGKILL)
    _, status = os.waitpid(process_id, 0)
    os.close(watched)
    return os.waitstatus_to_exitcode(status)


def test_killed_updates(world: World, index: Index, tmp_path: Path) -> None:
    """After each nothing wrong is served, and the next one completes."""
    steps = tmp_path / "steps"
    world.release()
    begun = datetime.now()
    update = ("update", "me/probe")
    assert end(begin(world.person, update, None, steps, is_group=False), 600, is_group=False) == 0
    usual_s = (datetime.now() - begun).total_seconds()
    known = steps.read_text().splitlines()
    at_steps = range(1, len(known) + 1, max(1, -(-len(known) // (SIGKILLS // 2 or 1))))
    chance = random.Random(SIGKILLS)
    ended = Counter[int]()
    before = served(index)
    for number in range(SIGKILLS):
        version = world.release()
        at_step = at_steps[number] if number < len(at_steps) else 0
        is_group = bool(number % 2)
        process_id = begin(world.person, update, at_step, steps, is_group=is_group)
        after_s = 600 if at_step else chance.uniform(0, usual_s)
        status = end(process_id, after_s, is_group=is_group)
        assert status in (0, -signal.SIGKILL), (world.person.home / "soak.log").read_text()
        ended[status] += 1
        at = f"step {at_step}: {known[at_step - 1]}" if at_step else f"{after_s:.3f} s"
        now = served(index)
        new = set(now) - set(before)
        assert new <= set(names(f"probe-{version}")), at
        # Only the oldest release may be gone, which `keep` removes.
        kept = {name for name in before if not name.startswith(f"probe-{world.number - 3}.0")}
        assert kept <= set(now), at
        assert all(now[name] == digest for name, digest in before.items() if name in now), at
        world.update()
        before = served(index)
        expected = [f"probe-{it}.0" for it in range(world.number - 2, world.number + 1) if it > 0]
        assert sorted(before) == names(*expected), at
        assert world.problems() == [], at
        builds = state.load(world.person.paths.state, "me/probe").builds
        assert [build for build in builds if build.unfinished] == [], at
        if number % 50 == 49:
            print(number + 1, "updates killed at", len(at_steps), "steps of", len(known), "so far")
    ran = Counter((world.person.home / "ran").read_text().split())
    wanted = {f"{number}.0" for number in range(1, world.number + 1)}
    print(f"{SIGKILLS} updates: {dict(ended)}; release-command: {Counter(ran.values())}")
    assert set(ran) == wanted
    assert [str(it) for it in world.person.home.rglob("*.unfinished") if _is_old(it)] == []


def _is_old(path: Path) -> bool:
    return datetime.now().timestamp() - path.stat().st_mtime > 3700


def _truncate(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


DAMAGES: dict[str, Callable[[Path], object]] = {
    "missing": Path.unlink,
    "empty": lambda path: path.write_bytes(b""),
    "truncated": _truncate,
    "garbage": lambda path: path.write_bytes(b"\xff\xfe{]" * 100),
    "zeros": lambda path: path.write_bytes(bytes(4096)),
}


def test_each_file_damaged(world: World) -> None:
    """Each file of the state and each list beside the distributions in turn, in five ways."""
    person = world.person
    for _ in range(3):
        world.release()
        world.update()
    person.run("yank", "probe", "2.0")
    person.run("unpublish", "--yes", "probe", "1.0")
    # So that each file is there.
    person.run("repos", "add", "--no-check", "me/gone:gone", "--url", "file:///nowhere/gone.git")
    person.run("repos", "remove", "me/gone")
    world.update()
    paths = person.paths
    files = [
        path
        for path in (*paths.state.rglob("*"), *paths.distributions.glob(".*.json"))
        if path.is_file() and path.suffix in (".json", ".sqlite")
    ]
    assert len(files) >= 9
    with serving(person.home, SETTINGS) as index:
        before, page = served(index), _page(index)
    wrong = []
    for path in files:
        for kind, damage in DAMAGES.items():
            content = path.read_bytes()
            damage(path)
            with serving(person.home, SETTINGS) as index:
                found = [(served(index), _page(index))]
                done = person.run("update", "me/probe")
                found.append((served(index), _page(index)))
            if found != 2 * [(before, page)] or "Traceback" in done.stderr or world.problems():
                wrong.append((path.name, kind, found, done.stderr, world.problems()))
            if not path.exists():
                path.write_bytes(content)
            for aside in path.parent.glob(f"{path.name}.damaged*"):
                aside.unlink()
    print(f"{len(files)} files damaged in {len(DAMAGES)} ways:", ", ".join(it.name for it in files))
    assert wrong == []


def _page(index: Index) -> list[tuple[str, object]]:
    answer = index.ask(request("GET", "/simple/probe/", _JSON))
    files = json.loads(answer.body)["files"] if answer.status == 200 else []
    return sorted((file["filename"], file["yanked"]) for file in files)


# In a mount namespace: a file system of its own at a place, that breaks and is mended.
_BROKEN = """
import json, subprocess, sys
from pathlib import Path
sys.path[:0] = {path!r}
from fixtures import Person, run_command
from hostile import serving
from soak_update import SETTINGS, served
home, place, kind = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
person, told = Person(home), []

def sh(script):
    subprocess.run(["sh", "-ec", script, "sh", place], check=True)

sh('cp -a "$1" "$1.copy"; mount -t tmpfs -o size=16m tmpfs "$1"; cp -a "$1.copy/." "$1"')
breaks = {{
    "full": 'dd if=/dev/zero of="$1/fill" bs=4k 2>/dev/null || :',
    "read-only": 'mount -o remount,ro "$1"',
    "removed": 'mount -t tmpfs -o size=16m tmpfs "$1"',
}}
mends = {{
    "full": 'rm "$1/fill"', "read-only": 'mount -o remount,rw "$1"', "removed": 'umount -l "$1"',
}}
def look():
    try:
        with serving(home, SETTINGS) as index:
            return served(index)
    except OSError as error:  # of the test itself, which writes settings and a log
        return str(error)
sh(breaks[kind])
broken = run_command(["update", "me/probe"], person.environment)
status = run_command(["status"], person.environment)
seen = None if place.endswith("config/pypi-insiders") else look()
sh(mends[kind])
mended = run_command(["update", "me/probe"], person.environment)
result = [broken.returncode, broken.stderr + status.stderr, status.returncode, seen,
          mended.returncode, mended.stderr, look()]
print(json.dumps(result))
"""
PLACES = {
    "distributions": ".local/share/pypi-insiders/dists",
    "state": ".local/state/pypi-insiders",
    "cache": ".cache/pypi-insiders",
    "settings": ".config/pypi-insiders",
}


@pytest.mark.parametrize("kind", ["full", "read-only", "removed"])
@pytest.mark.parametrize("place", PLACES)
def test_a_file_system_fails(world: World, place: str, kind: str, tmp_path: Path) -> None:
    """Nothing wrong is served, what failed is one line, and the next update completes."""
    world.release()
    world.update()
    version = world.release()
    home = world.person.home
    code = _BROKEN.format(path=[item for item in sys.path if "/tests" in item])
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", sys.executable, "-c", code, home,
         home / PLACES[place], kind],
        env=world.person.environment, capture_output=True, text=True,
    )  # fmt: skip
    if "unshare" in done.stderr:
        unavailable(done.stderr.strip())
    assert done.returncode == 0, done.stderr
    status, error, told, seen, again, error_again, after = json.loads(done.stdout)
    print(f"{place} {kind}: update {status}, status {told}, {len(seen or ())} files served")
    assert "Traceback" not in error
    assert isinstance(seen, dict | None)
    assert set(seen or ()) <= set(names("probe-1.0", f"probe-{version}"))
    assert (again, sorted(after)) == (0, names("probe-1.0", f"probe-{version}")), error_again


@pytest.mark.parametrize("offset", ["+400d", "-400d", "+30y", "-30y"])
def test_a_wrong_clock(world: World, index: Index, offset: str) -> None:
    """Ahead or behind, for one update; then it is right again."""
    version = world.release()
    done = subprocess.run(
        [need("faketime"), "-f", offset, COMMAND, "update", "me/probe"],
        env=world.person.environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert sorted(served(index)) == names("probe-1.0", f"probe-{version}")
    world.release()
    world.update()
    assert sorted(served(index)) == names("probe-1.0", "probe-2.0", "probe-3.0")
    assert world.problems() == []
    shutil.rmtree(world.person.paths.cache)
    world.update()
    assert world.problems() == []
