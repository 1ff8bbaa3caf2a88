"""Eight clients download while the index restarts, is killed, and changes. Run by `make soak`.

`SOAK_RESTARTS` and `SOAK_KILLS` set how often, 1,000 and 200 times by default.
"""

import contextlib
import hashlib
import http.client
import json
import os
import signal
import subprocess  # noqa: TC003  # of an annotation
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
from machine import Machine
from units import UNIT_DIRECTORY, port

__all__ = ["port"]

RESTARTS = int(os.environ.get("SOAK_RESTARTS", "1000"))
KILLS = int(os.environ.get("SOAK_KILLS", "200"))
SERVICE = "pypi-insiders-server.service"
SUPPORT = Path(__file__).parents[1] / "support"
FRESH, KEEPING, CARELESS = "a connection for each", "kept, one retry", "kept, no retry"
# pip and uv keep connections, and retry.
CLIENTS = (FRESH, FRESH, KEEPING, KEEPING, KEEPING, KEEPING, CARELESS, CARELESS)
_AT_ONCE = 20

# Inside the machine: it publishes, yanks, prunes and unpublishes until a file is there.
_UPDATER = """
import subprocess, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from projects import create

def run(*words):
    done = subprocess.run(["pypi-insiders", *words], capture_output=True, text=True)
    if done.returncode:
        print(words, done.returncode, done.stdout, done.stderr, flush=True)

project = create(Path.home(), "probe")
run("repos", "add", "me/probe:probe", "--url", project.url, "--backfill", "2")
number = 0
while not (Path.home() / "enough").exists():
    number += 1
    project.release(f"{number}.0")
    run("update", "me/probe")
    if number > 1:
        run("yank", "probe", f"{number - 1}.0")
    if number % 4 == 0:
        run("unpublish", "--yes", "probe", f"{number - 2}.0")
    run("prune", "--keep", "4", "me/probe")
(Path.home() / "published").write_text(str(number))
"""


@dataclass
class Client:
    """One that asks on and on: for the page of a project, one of its files, and a held name."""

    kind: str
    port: int
    enough: threading.Event
    counts: Counter[str] = field(default_factory=Counter)
    failures: list[tuple[str, float, float]] = field(default_factory=list)
    """What failed, from when until when on the monotonic clock."""
    wrong: list[str] = field(default_factory=list)
    """What an answer should never be."""
    _connection: http.client.HTTPConnection | None = None

    def run(self) -> None:
        """Ask until it is enough."""
        turn = 0
        while not self.enough.is_set():
            turn += 1
            self._look(turn)
        self._close()

    def _look(self, turn: int) -> None:
        if (held := self._ask("/simple/secret/")) and held[0] not in (409, 503):
            self.wrong.append(f"a held name: {held}")
        page = self._ask("/simple/probe/")
        if page is None or page[0] != 200:
            if page is not None and page[0] not in (409, 503):
                self.wrong.append(f"the page: {page}")
            return
        files = json.loads(page[1])["files"]
        file = files[turn % len(files)]
        answer = self._ask(f"/packages/{file['filename']}")
        if answer is None:
            return
        status, content = answer
        is_whole = status == 200 and hashlib.sha256(content).hexdigest() == file["hashes"]["sha256"]
        # It may have been removed after the page was read.
        if not is_whole and status not in (404, 409, 410):
            self.wrong.append(f"{file['filename']}: {status}, {len(content)} bytes")
        self.counts["files" if is_whole else "removed files"] += 1

    def _ask(self, path: str) -> tuple[int, bytes] | None:
        begun_s = time.monotonic()
        is_kept = self._connection is not None
        try:
            answer = self._send(path)
        except (OSError, http.client.HTTPException) as error:
            self._close()
            name = type(error).__name__
            if is_kept and self.kind == KEEPING:
                self.counts["retries"] += 1
                try:
                    answer = self._send(path)
                except (OSError, http.client.HTTPException) as again:
                    self._close()
                    name = f"{name}, then {type(again).__name__}"
                else:
                    self.counts["requests"] += 1
                    return answer
            self.failures.append((name, begun_s, time.monotonic()))
            return None
        self.counts["requests"] += 1
        return answer

    def _send(self, path: str) -> tuple[int, bytes]:
        if self._connection is None:
            self._connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        headers = {"Accept": "application/vnd.pypi.simple.v1+json"}
        self._connection.request("GET", path, headers=headers)
        answer = self._connection.getresponse()
        content = answer.read()
        if self.kind == FRESH or answer.will_close:
            self._close()
        return answer.status, content

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None


@contextlib.contextmanager
def _asking(port: int) -> Iterator[list[Client]]:
    enough = threading.Event()
    clients = [Client(kind, port, enough) for kind in CLIENTS]
    threads = [threading.Thread(target=client.run) for client in clients]
    for thread in threads:
        thread.start()
    try:
        yield clients
    finally:
        enough.set()
        for thread in threads:
            thread.join()


def _restart(machine: Machine) -> None:
    for begin in range(0, RESTARTS, _AT_ONCE):
        number = min(_AT_ONCE, RESTARTS - begin)
        script = f"for i in $(seq {number}); do systemctl --user restart {SERVICE} || exit; done"
        machine.run("sh", "-c", script, timeout_s=60 * number)


def _kill(machine: Machine) -> list[float]:
    """Kill the service again and again; return when, on the monotonic clock."""
    main_pid = ("systemctl", "--user", "show", "--value", "-p", "MainPID", SERVICE)
    at_s = []
    for _ in range(KILLS):
        machine.run("systemctl", "--user", "start", SERVICE)
        before = machine.run(*main_pid).stdout
        begun_s = time.monotonic()
        machine.kill(int(before), signal.SIGKILL)
        at_s += [begun_s, time.monotonic()]
        machine.wait_for(main_pid, partial(_is_other, ("0\n", before)))
    machine.run("systemctl", "--user", "start", SERVICE)
    return at_s


def _is_other(before: tuple[str, ...], done: "subprocess.CompletedProcess[str]") -> bool:
    return done.stdout not in before


def _told(title: str, times: int, clients: list[Client]) -> None:
    for kind in dict.fromkeys(CLIENTS):
        counts, failures = Counter[str](), Counter[str]()
        for client in clients:
            if client.kind == kind:
                counts += client.counts
                failures.update(name for name, *_ in client.failures)
        print(f"{times} {title}; {kind}: {dict(counts)}, failed: {dict(failures) or 0}")


@pytest.mark.timeout(0)
def test_restarts_fail_no_request_and_kills_only_those_under_way(
    machine: Machine, port: int
) -> None:
    """Whatever is published, yanked and removed meanwhile, no answer is wrong."""
    machine.write_text(
        f"{UNIT_DIRECTORY}/{SERVICE}.d/override.conf", "[Service]\nRestartSec=10ms\n"
    )
    machine.run("pypi-insiders", "server", "start")
    machine.run(
        "pypi-insiders", "repos", "add", "--no-check", "me/secret:secret",
        "--url", "file:///nowhere/secret.git",
    )  # fmt: skip
    updater = machine.start(sys.executable, "-c", _UPDATER, str(SUPPORT))
    machine.wait_for(("sh", "-c", "ls ~/.local/share/pypi-insiders/dists"),
                     lambda done: "probe" in done.stdout)  # fmt: skip
    with _asking(port) as after_restarts:
        _restart(machine)
    _told("restarts", RESTARTS, after_restarts)
    with _asking(port) as after_kills:
        killed_s = _kill(machine)
    _told("kills", KILLS, after_kills)
    machine.write_text("enough", "")
    updater.wait(300)
    print("published:", machine.read_text("published"), "releases")
    assert updater.stdout_text() == ""
    clients = [*after_restarts, *after_kills]
    assert [wrong for client in clients for wrong in client.wrong] == []
    assert all(client.counts["files"] for client in clients)
    assert [it.failures for it in after_restarts if it.kind != CARELESS and it.failures] == []
    kills = list(zip(killed_s[::2], killed_s[1::2], strict=True))
    not_under_way = [
        failure
        for client in after_kills
        for failure in client.failures
        if client.kind != CARELESS
        and not any(failure[1] <= end and begin <= failure[2] for begin, end in kills)
    ]
    assert not_under_way == []
