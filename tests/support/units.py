"""Units under a real user manager: their names, their state, and settings of their own."""

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from fixtures import free_port
from machine import Machine

UNITS = {
    "pypi-insiders-server.socket",
    "pypi-insiders-server.service",
    "pypi-insiders-watcher.timer",
    "pypi-insiders-watcher.service",
    "pypi-insiders-watcher@.timer",
    "pypi-insiders-watcher@.service",
    "pypi-insiders-notify@.service",
    "pypi-insiders-notify.path",
    "pypi-insiders-released@.service",
}
# Of a package in any case, else where hooks are on.
HOOKS = {
    "pypi-insiders-hooks.path",
    "pypi-insiders-hooks.service",
    "pypi-insiders-watcher@.path",
}
# What is installed beside them, with each service or with one of the two.
CONFINEMENT = {
    part: {
        f"pypi-insiders-{unit}.d{file}"
        for unit in (f"{part}.service", "watcher@.service", "notify@.service")
        for file in ("", "/20-confinement.conf")
    }
    for part in ("server", "watcher")
}
CONFINED = CONFINEMENT["server"] | CONFINEMENT["watcher"]
UNIT_DIRECTORY = ".config/systemd/user"


@pytest.fixture
def port(machine: Machine) -> int:
    """The port of the index, free and set in config.toml."""
    port = free_port()
    machine.write_text(".config/pypi-insiders/config.toml", f"[server]\nport = {port}\n")
    return port


def installed_units(machine: Machine) -> set[str]:
    """Name everything that lies where user units are installed."""
    found = machine.run("find", f"{machine.home}/{UNIT_DIRECTORY}", "-mindepth", "1", check=False)
    prefix = f"{machine.home}/{UNIT_DIRECTORY}/"
    return {line.removeprefix(prefix) for line in found.stdout.splitlines()}


def statuses(machine: Machine, *services: str) -> list[int]:
    """Tell the exit status of `status` of each service."""
    return [
        machine.run("pypi-insiders", service, "status", check=False).returncode
        for service in services
    ]


def show(machine: Machine, unit: str, name: str) -> str:
    """Read one property of a unit."""
    return machine.run("systemctl", "--user", "show", "--value", "-p", name, unit).stdout.strip()


def settled(machine: Machine) -> None:
    """Wait until updates, and whatever was started to tell the person, have ended."""
    machine.wait_for(
        ("systemctl", "--user", "list-jobs", "--no-legend", "pypi-insiders-*"),
        lambda done: not done.stdout,
    )


def start_anew(machine: Machine, unit: str, *, check: bool = True) -> None:
    """Start a unit, however often that is within seconds.

    systemd starts one five times in ten seconds, and so forgets those before. Source:
    systemd.unit(5), `StartLimitBurst=`.
    """
    # By its name: of a pattern, systemd 262 takes only what has failed.
    machine.run("systemctl", "--user", "reset-failed", unit, check=False)
    machine.run("systemctl", "--user", "start", unit, check=check)


@contextmanager
def served_fallback(machine: Machine, port: int) -> Iterator[str]:
    """Serve an index for all other names, set in config.toml, which has every project."""

    class Index(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Index) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/simple/"
        settings = f'[server]\nport = {port}\nfallback-url = "{url}"\n'
        machine.write_text(".config/pypi-insiders/config.toml", settings)
        yield url
        server.shutdown()


@pytest.fixture
def fallback(machine: Machine, port: int) -> Iterator[str]:
    """An index for all other names."""
    with served_fallback(machine, port) as url:
        yield url


# What a person's own program would be: it appends subject and text to a file.
MAIL = """#!/usr/bin/env python3
import json, os, sys
with open(os.path.expanduser("~/mail"), "a") as file:
    print(json.dumps([sys.argv[1:], sys.stdin.read()]), file=file)
"""
