"""The index as a service: it never refuses a connection, whatever happens to its process."""

import http.client
import os
import signal
import threading
import urllib.parse
from collections import Counter
from pathlib import Path

from fixtures import HEALTHY
from machine import Machine
from units import UNIT_DIRECTORY, port, show
from wheels import sdist

__all__ = ["port"]

DISTRIBUTIONS = ".local/share/pypi-insiders/dists"
SERVICE = "pypi-insiders-server.service"
# `make soak` does it a hundred times as often.
RESTARTS, KILLS, CLIENTS = 10, 2, 8


def place(machine: Machine, file: Path) -> None:
    """Put a distribution into the directory that the index serves."""
    machine.run("install", "-D", "-t", DISTRIBUTIONS, str(file))


def test_the_status_line_is_true(machine: Machine, port: int, tmp_path: Path) -> None:
    """`systemctl --user status` tells how much is served, also after something was added."""
    machine.run("pypi-insiders", "server", "start")
    assert show(machine, SERVICE, "StatusText") == "0 projects, 0 files"
    place(machine, sdist(tmp_path, "probe", "1.0"))
    assert machine.get(f"http://127.0.0.1:{port}/simple/").status == 200
    machine.wait_for(
        ("systemctl", "--user", "show", "--value", "-p", "StatusText", SERVICE),
        lambda done: done.stdout == "1 project, 1 file\n",
    )


def test_an_idle_index_ends_and_the_next_request_starts_it(machine: Machine, port: int) -> None:
    """After the setting's time the process is gone; nobody notices."""
    machine.write_text(
        ".config/pypi-insiders/config.toml", f'[server]\nport = {port}\nidle-timeout = "1s"\n'
    )
    machine.run("pypi-insiders", "server", "start")
    for _ in range(2):
        machine.wait_for(
            ("systemctl", "--user", "show", "--value", "-p", "ActiveState,MainPID", SERVICE),
            lambda done: done.stdout in ("0\ninactive\n", "inactive\n0\n"),
        )
        assert machine.get(f"http://127.0.0.1:{port}/health") == HEALTHY
    assert machine.run("pypi-insiders", "server", "status", check=False).returncode == 0


def test_a_hung_index_is_restarted(machine: Machine, port: int) -> None:
    """A process that answers the watchdog no more is replaced; the stacks are in the journal."""
    machine.write_text(f"{UNIT_DIRECTORY}/{SERVICE}.d/override.conf", "[Service]\nWatchdogSec=3\n")
    machine.run("pypi-insiders", "server", "start")
    pid = show(machine, SERVICE, "MainPID")
    machine.kill(int(pid), signal.SIGSTOP)
    machine.wait_for_journal("Watchdog timeout")
    machine.wait_for_journal("Current thread", "-t", "pypi-insiders-server")
    assert machine.get(f"http://127.0.0.1:{port}/health") == HEALTHY
    assert show(machine, SERVICE, "MainPID") != pid


def kill_and_wait(machine: Machine) -> None:
    """Kill the service; systemd has to see that, or what it then starts is killed meanwhile."""
    main_pid = ("systemctl", "--user", "show", "--value", "-p", "MainPID", SERVICE)
    before = machine.run(*main_pid).stdout
    machine.kill(int(before), signal.SIGKILL)
    machine.wait_for(main_pid, lambda done: done.stdout not in ("0\n", before))


def test_restarts_fail_no_request_and_kills_only_those_under_way(
    machine: Machine, port: int, tmp_path: Path
) -> None:
    """Eight clients download without a pause meanwhile."""
    file = sdist(tmp_path, "probe", "1.0", content=os.urandom(20_000))
    place(machine, file)
    machine.write_text(
        f"{UNIT_DIRECTORY}/{SERVICE}.d/override.conf", "[Service]\nRestartSec=10ms\n"
    )
    machine.run("pypi-insiders", "server", "start")
    url = urllib.parse.urlsplit(f"http://127.0.0.1:{port}/packages/probe-1.0.tar.gz")
    content = file.read_bytes()
    done, enough = Counter[str](), threading.Event()

    def download() -> None:
        while not enough.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            try:
                connection.request("GET", url.path)
                answer = connection.getresponse()
                outcome = "served" if answer.read() == content else f"{answer.status}"
            except ConnectionRefusedError:
                outcome = "refused"
            except (OSError, http.client.HTTPException) as error:
                outcome = type(error).__name__
            finally:
                connection.close()
            done[outcome] += 1

    clients = [threading.Thread(target=download) for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    try:
        restart = f"for i in $(seq {RESTARTS}); do systemctl --user restart {SERVICE} || exit; done"
        machine.run("sh", "-c", restart, timeout_s=120 + RESTARTS * 2)
        after_restarts = dict(done)
        for _ in range(KILLS):
            kill_and_wait(machine)
            machine.run("systemctl", "--user", "start", SERVICE)
    finally:
        enough.set()
        for client in clients:
            client.join()
    assert set(after_restarts) == {"served"}
    assert after_restarts["served"] > RESTARTS
    assert done["refused"] == 0
    failed = sum(count for outcome, count in done.items() if outcome != "served")
    assert failed <= KILLS * CLIENTS
