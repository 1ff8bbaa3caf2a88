"""No repository keeps others from being brought up to date: not by time, nor by room on a disk."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from fixtures import COMMAND, Person, Watch, names, need
from projects import create, git

from pypi_insiders import git as remotes
from pypi_insiders.git import UnreachableError, command, running
from pypi_insiders.util import time_limit
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.process_group import family
from pypi_insiders.util.time_limit import TimeLimit, shortened

# Is called as ssh is, and serves what is on this machine. What it does not hand on it marks.
_RELAY = """\
import os, signal, subprocess, sys
from pathlib import Path
def tick_every(seconds):
    signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, seconds, seconds)
mode, command = os.environ["RELAY"], sys.argv[-1]
place = Path(os.environ["RELAY_DIRECTORY"])
name = command.rpartition("/")[2].strip("'")
if mode == "silent":
    tick_every(0.05)
    while True:  # as a connection that is kept alive
        Path("/proc/self/stat").read_bytes()
        signal.pause()
served = subprocess.Popen(["sh", "-c", command], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
if os.fork() == 0:
    while data := os.read(0, 65536):
        if mode == "hang" and name.startswith("hang") and b"command=fetch" in data:
            (place / name).touch()
            signal.pause()
        if mode == "break" and b"command=fetch" in data:
            sys.exit("ssh: connect to host host port 22: Connection refused")
        served.stdin.write(data)
        served.stdin.flush()
    os._exit(0)
served.stdin.close()
if mode == "slow":
    tick_every(0.25)
while data := os.read(served.stdout.fileno(), 4096 if mode == "slow" else 65536):
    if mode == "slow":
        signal.pause()
    os.write(1, data)
"""


@pytest.fixture
def relay(tmp_path: Path) -> Path:
    """A program that git takes for ssh, of that name."""
    path = tmp_path / "relay/ssh"
    path.parent.mkdir()
    path.write_text(f"#!{sys.executable}\n{_RELAY}")
    path.chmod(0o755)
    return path


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of a server that takes connections and sends nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = []

        def take() -> None:
            while True:
                try:
                    taken.append(server.accept()[0])
                except OSError:
                    return

        threading.Thread(target=take, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("scheme", ["git", "https", "ssh"])
def test_a_host_that_sends_nothing_is_given_up(
    tmp_path: Path, silent: int, relay: Path, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Long before a fetch may not take longer, whatever the transport."""
    monkeypatch.setattr(running, "STALL_TIMEOUT_S", 2)
    monkeypatch.setattr(command, "FETCH_TIMEOUT_S", 60)
    for name, value in (("GIT_SSH", relay), ("RELAY", "silent"), ("RELAY_DIRECTORY", tmp_path)):
        monkeypatch.setenv(name, str(value))
    with pytest.raises(UnreachableError) as caught:
        remotes.fetch(f"{scheme}://127.0.0.1:{silent}/me/probe", tmp_path / "mirror.git")
    assert caught.value.message == "the host sent nothing for 2 s"


def test_a_host_that_is_slow_is_not(
    tmp_path: Path, relay: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as anything comes."""
    project = create(tmp_path, "probe")
    project.write("1.0")
    for number in range(900):
        (project.tree / f"{number}-{os.urandom(16).hex()}").touch()
    project.push("v1.0")
    monkeypatch.setattr(running, "STALL_TIMEOUT_S", 2)
    for name, value in (("GIT_SSH", relay), ("RELAY", "slow"), ("RELAY_DIRECTORY", tmp_path)):
        monkeypatch.setenv(name, str(value))
    remotes.fetch(f"ssh://slow{project.remote}", tmp_path / "mirror.git")
    assert git(tmp_path / "mirror.git", "tag") == "v1.0"


def test_a_part_of_git_that_is_killed_is_no_damage(
    tmp_path: Path, relay: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The kernel does that where memory is short, and systemd when a session ends."""
    caplog.set_level("INFO", "pypi_insiders")
    project = create(tmp_path, "probe")
    project.release("1.0")
    mirror = tmp_path / "mirror.git"
    remotes.fetch(project.url, mirror)
    for number in range(6000):
        (project.tree / f"{number}-{os.urandom(16).hex()}").touch()
    project.push("v1.1")
    for name, value in (("GIT_SSH", relay), ("RELAY", "slow"), ("RELAY_DIRECTORY", tmp_path)):
        monkeypatch.setenv(name, str(value))
    is_over = threading.Event()

    def kill() -> None:
        while not is_over.is_set():
            for pid in family(os.getpid()):
                words = Path("/proc", str(pid), "cmdline")
                with contextlib.suppress(OSError):
                    if {b"unpack-objects", b"index-pack"} & set(words.read_bytes().split(b"\0")):
                        os.kill(pid, signal.SIGKILL)
                        return

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    try:
        with pytest.raises(InsidersError) as caught:
            remotes.fetch(f"ssh://slow{project.remote}", mirror)
    finally:
        is_over.set()  # it would kill the git of other tests
        killer.join()
    assert caught.value.message.startswith(
        "git fetch was killed, by another process or for lack of memory ("
    )
    assert "damaged" not in caplog.text


def test_a_time_limit_counts_what_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not what is waited for; and what runs in it gets no more than is left."""
    now_s = 100.0
    monkeypatch.setattr(time_limit, "time", SimpleNamespace(monotonic=lambda: now_s))
    limit = TimeLimit(10)
    with limit.counting():
        assert shortened(60) == 10
        now_s += 6
        assert shortened(60) == 4
        assert shortened(3) == 3
    now_s += 1000
    assert (limit.share_left, limit.is_over, shortened(60)) == (0.4, False, 60)
    with limit.counting():
        now_s += 5
        assert shortened(60) == 0
    assert limit.is_over
    with TimeLimit(None).counting():
        assert shortened(60) == 60


def started(person: Person, *arguments: str, **environment: str) -> "subprocess.Popen[str]":
    """Start `pypi-insiders`; return it when something is to be read on its standard error."""
    return subprocess.Popen(
        [COMMAND, *arguments],
        env={**person.environment, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def settings(person: Person, text: str) -> None:
    """Write the person's `config.toml`."""
    person.paths.settings.parent.mkdir(parents=True, exist_ok=True)
    person.paths.settings.write_text(text)


def test_hosts_that_hang_keep_no_build_waiting(person: Person, tmp_path: Path, relay: Path) -> None:
    """With one build at once, what was fetched is published while two others still hang."""
    settings(person, "[build]\njobs = 1\n")
    environment = {"GIT_SSH": str(relay), "RELAY": "", "RELAY_DIRECTORY": str(tmp_path)}
    for name in ("hang-a", "hang-b", "well"):
        project = create(tmp_path, name)
        project.release("1.0")
        url = f"ssh://host{project.remote}"
        person.run("repos", "add", f"me/{name}:{name}", "--url", url, status=0, **environment)
    update = started(person, "update", **{**environment, "RELAY": "hang"})
    assert update.stderr is not None
    with update:
        lines = iter(update.stderr)
        assert any("me/well: published well-1.0.tar.gz" in line for line in lines)
        assert update.poll() is None
        update.send_signal(signal.SIGTERM)
        update.communicate(timeout=60)
    assert person.distributions() == names("well-1.0")
    assert not [path for path in tmp_path.glob("hang-*") if not path.name.endswith(".git")]


def test_a_host_that_answers_and_sends_nothing_is_a_failure_in_the_end(
    person: Person, tmp_path: Path, relay: Path
) -> None:
    """That it lists its tags each time does not let it begin anew."""
    environment = {"GIT_SSH": str(relay), "RELAY": "", "RELAY_DIRECTORY": str(tmp_path)}
    project = create(tmp_path, "probe")
    project.release("1.0")
    url = f"ssh://host{project.remote}"
    person.run("repos", "add", "me/probe:probe", "--url", url, status=0, **environment)
    person.run("update", status=0, **environment)
    project.release("1.1")
    environment["RELAY"] = "break"
    missed = person.run("update", status=0, **environment)
    assert "unreachable: me/probe" in missed.stdout
    path = person.paths.state / "checks.json"
    checks = json.loads(path.read_text())
    checks["me/probe"]["unreachable_since"] -= 2 * 86400
    path.write_text(json.dumps(checks))
    assert "error: me/probe: " in person.run("update", status=1, **environment).stderr
    person.run("update", status=0, **{**environment, "RELAY": ""})
    assert json.loads(path.read_text())["me/probe"]["unreachable_since"] is None


def test_a_tag_that_had_little_time_has_not_failed(
    person: Person, tmp_path: Path, relay: Path
) -> None:
    """Its repository has, whose fetch took most of it."""
    settings(person, '[watcher]\nrepository-timeout = "6s"\n')
    environment = {"GIT_SSH": str(relay), "RELAY": "", "RELAY_DIRECTORY": str(tmp_path)}
    project = create(tmp_path, "probe")
    project.write("1.0")
    project.hook("import signal\nsignal.pause()")
    for number in range(2800):
        (project.tree / f"{number}-{os.urandom(16).hex()}").touch()
    project.push("v1.0")
    url = f"ssh://host{project.remote}"
    person.run("repos", "add", "me/probe:probe", "--url", url, status=0, **environment)
    failed = person.run("update", status=1, **{**environment, "RELAY": "slow"})
    assert "fetch and build took longer than 6 s (`repository-timeout`)" in failed.stderr
    assert failures(person, "probe") == []


def test_a_build_that_others_end_has_not_failed(person: Person, watch: Watch) -> None:
    """Without a sandbox too, where the end of a session ends the hook itself."""
    project = watch("probe")
    project.write("1.0")
    project.hook("import os, signal\nos.kill(os.getpid(), signal.SIGTERM)\nsignal.pause()")
    project.push("v1.0")
    told = person.run("update", status=1).stderr.splitlines()
    assert "error: me/probe: tag v1.0: python was killed by signal 15" in told
    assert failures(person, "probe") == []


_RESERVED = 200
_FILLING = """
import signal, sys
signal.signal(signal.SIGALRM, lambda *_: None)
signal.setitimer(signal.ITIMER_REAL, 0.002, 0.002)  # as fast as a good disk
try:
    with open("filling", "wb", buffering=0) as file:
        while True:
            file.write(bytes(1024 * 1024))
            signal.pause()
except OSError as error:
    sys.exit(f"it has met the end of the disk: {error}")
"""


_HIDING = _FILLING.replace("        while", "        os.unlink('filling')\n        while").replace(
    "import signal", "import os, signal"
)


def on_small_disk(person: Person, place: Path, size: str, *arguments: str) -> str:
    """Run `pypi-insiders`, where it fails, with a small disk at a place; return what it says."""
    place.mkdir(parents=True, exist_ok=True)
    mount = 'mount -t tmpfs -o size="$2" none "$1" && shift 2 && exec "$@"'
    done = subprocess.run(
        [need("unshare"), "--user", "--map-root-user", "--mount", "sh", "-c", mount, "sh",
         place, size, COMMAND, *arguments],
        env=person.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=120,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    return done.stderr


def failures(person: Person, name: str) -> list[str]:
    """Name the tags of which it is remembered that they failed."""
    path = person.paths.state / f"repositories/me/{name}.json"
    return list(json.loads(path.read_text())["failures"]) if path.exists() else []


def test_a_build_does_not_fill_the_disk(person: Person, watch: Watch) -> None:
    """It is ended, and its tag has failed; what is built beside it is published."""
    settings(person, f'[build]\njobs = 2\ndisk-reserve = "{_RESERVED}MiB"\n')
    watch("well").release("1.0")
    large = watch("large")
    large.write("1.0")
    large.hook(_FILLING)
    large.push("v1.0")
    told = on_small_disk(person, person.paths.cache, "512m", "update")
    assert "it has met the end of the disk" not in told
    assert re.search(
        r"^error: me/large: tag v1\.0: the build was killed after writing \d+ MiB: less than the "
        rf"`disk-reserve` of {_RESERVED} MiB was free$", told, re.MULTILINE,
    )  # fmt: skip
    assert (failures(person, "large"), failures(person, "well")) == (["v1.0"], [])
    assert person.distributions() == names("well-1.0")


def test_a_file_without_a_name_is_no_way_to_fill_the_disk(person: Person, watch: Watch) -> None:
    """Whichever is ended first: nothing has failed for what another one has written."""
    settings(person, f'[build]\njobs = 2\ndisk-reserve = "{_RESERVED}MiB"\n')
    watch("well").release("1.0")
    large = watch("large")
    large.write("1.0")
    large.hook(_HIDING)
    large.push("v1.0")
    for _ in range(2):
        told = on_small_disk(person, person.paths.cache, "512m", "update")
        assert "it has met the end of the disk" not in told
        assert failures(person, "well") == []
    assert failures(person, "large") == ["v1.0"]
    assert person.distributions() == names("well-1.0")


def test_on_a_full_disk_nothing_is_built(person: Person, watch: Watch) -> None:
    """It is looked at before, and no tag has failed."""
    watch("probe").release("1.0")
    settings(person, '[build]\ndisk-reserve = "100MiB"\n')
    told = on_small_disk(person, person.paths.cache, "64m", "update")
    assert (
        f"error: me/probe: the disk of {person.paths.mirror('me/probe').parent} is almost full: "
        "builds keep 100 MiB free"
    ) in told.splitlines()
    assert "building" not in told
    assert failures(person, "probe") == []


@pytest.mark.parametrize(
    ("content", "size", "place"),
    [
        (os.urandom(8 * 1024 * 1024), "4m", "cache"),
        (b"content\n" * 4 * 1024 * 1024, "16m", "cache"),
        (os.urandom(3 * 1024 * 1024), "2m", "data"),
        (b"", "16k", "state"),
    ],
    ids=["fetch", "check-out", "publish", "state"],
)
def test_a_full_disk_is_called_one(
    person: Person, watch: Watch, content: bytes, size: str, place: str
) -> None:
    """Whatever of our own meets it: no mirror is damaged, and no tag has failed."""
    settings(person, "[build]\ndisk-reserve = 0\n")
    project = watch("probe")
    project.write("1.0")
    (project.package / "content").write_bytes(content)
    project.push("v1.0")
    told = on_small_disk(person, getattr(person.paths, place), size, "update")
    whose = "" if place == "state" else "me/probe: "
    full = r"the disk is (almost )?full|is too full: |No space left on"
    assert re.search(rf"^error: {whose}.*({full})", told, re.MULTILINE)
    assert "damaged" not in told
    assert "a bug" not in told
    assert failures(person, "probe") == []


def test_what_failed_last_time_waits(person: Person, watch: Watch) -> None:
    """A hook that hangs is ended at the limit of time, and the next update begins with others."""
    settings(person, '[build]\njobs = 1\n[watcher]\nrepository-timeout = "4s"\n')
    bad = watch("bad")
    bad.release("1.0")
    bad.write("1.1")
    bad.hook("import signal\nsignal.pause()")
    bad.push("v1.1")
    failed = person.run("update", "me/bad", "--all-tags", status=1)
    told = failed.stderr.splitlines()
    assert any(
        "error: me/bad: tag v1.1: " in line and "killed at the time limit of its repository" in line
        for line in told
    )
    assert (
        "error: me/bad: fetch and build took longer than 4 s (`repository-timeout`); "
        "the next update continues"
    ) in told
    path = person.paths.state / "repositories/me/bad.json"
    known = json.loads(path.read_text())
    assert list(known["failures"]) == ["v1.1"]
    for failure in known["failures"].values():
        failure["next_at"] = 0
    path.write_text(json.dumps(known))
    for name in ("good", "well"):
        watch(name).release("1.0")
    settings(person, "[build]\njobs = 1\n")
    bad.release("1.2")
    done = person.run("update").stderr.splitlines()
    order = [line.split(":")[0] for line in done if ": building tag" in line]
    assert sorted(order[:2]) == ["me/good", "me/well"]
    assert order[2:] == ["me/bad"]
