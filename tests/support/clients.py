"""Real clients of the index, each with an empty home, and a relay that notes what they ask."""

import json
import os
import re
import socket
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from fixtures import Person

BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Index:
    """The index, and what it serves."""

    url: str
    """Up to the port."""
    directory: Path

    @property
    def simple(self) -> str:
        return f"{self.url}/simple/"

    @property
    def without_fallback(self) -> str:
        return f"{self.url}/insiders/simple/"


class Relay(socketserver.ThreadingTCPServer):
    """Hand on what a client and the index say to each other, and take it down."""

    daemon_threads = True

    def __init__(self, host: str, port: int) -> None:
        super().__init__(("127.0.0.1", 0), _Conversation)
        self.target = host, port
        self.requests: list[bytearray] = []
        self.answered_bytes: list[int] = []

    @property
    def url(self) -> str:
        """What to call instead of the index; up to the port."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def paths(self) -> list[str]:
        """What was asked for, by whatever method."""
        line = re.compile(rb"^[A-Z]+ (\S+) HTTP/1\.1\r$", re.MULTILINE)
        return [path.decode() for text in self.requests for path in line.findall(text)]


class _Conversation(socketserver.BaseRequestHandler):
    """One connection."""

    def handle(self) -> None:
        relay = self.server
        assert isinstance(relay, Relay)
        asked = bytearray()
        relay.requests.append(asked)
        client: socket.socket = self.request
        with socket.create_connection(relay.target) as index:
            answers = threading.Thread(target=self._answer, args=(relay, index, client))
            answers.start()
            try:
                while block := client.recv(65536):
                    asked += block
                    index.sendall(block)
                index.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # one of them has gone
            answers.join()

    @staticmethod
    def _answer(relay: Relay, index: socket.socket, client: socket.socket) -> None:
        try:
            while block := index.recv(65536):
                relay.answered_bytes.append(len(block))
                client.sendall(block)
            client.shutdown(socket.SHUT_WR)
        except OSError:
            pass


@contextmanager
def relaying(index: Index) -> Iterator[Relay]:
    target = urlsplit(index.url)
    assert target.hostname is not None
    assert target.port is not None
    with Relay(target.hostname, target.port) as relay:
        thread = threading.Thread(target=relay.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield relay
        finally:
            relay.shutdown()
            thread.join()


# One project for all of them; what the others leave out is for one of them alone.
PROJECT = """\
[project]
name = "app"
version = "1"
requires-python = ">=3.11"
dependencies = {requirements}

[tool.pdm]
distribution = false

[tool.poetry]
package-mode = false
"""
_PYPROJECT = (
    PROJECT
    + """
[[tool.poetry.source]]
name = "insiders"
url = "{url}"
priority = "primary"

[tool.hatch.envs.default]
path = ".venv"
skip-install = true
installer = "{installer}"
dependencies = {requirements}
"""
)


@dataclass(frozen=True)
class Recipe:
    """How one client is told to do things."""

    install: str
    """Resolve anew and install; most lock on the way."""
    lock: str
    """Write a lock file."""
    lock_file: str
    installer: str = "pip"
    """What Hatch hands the work to; it makes the environment itself, and installs to lock."""
    tells_reason: bool = True
    """Why a release was yanked."""


_HATCH = ("hatch -v env create", "hatch -v lock --export pylock.toml", "pylock.toml")
RECIPES = {
    "pip": Recipe(
        "pip --python .venv install --requirement requirements.txt",
        "pip lock --output pylock.toml --requirement requirements.txt",
        "pylock.toml",
    ),
    "uv": Recipe("uv sync", "uv lock", "uv.lock"),
    "pdm": Recipe("pdm install", "pdm lock", "pdm.lock", tells_reason=False),
    "poetry": Recipe("poetry install", "poetry lock", "poetry.lock"),
    "hatch-pip": Recipe(*_HATCH),
    "hatch-uv": Recipe(*_HATCH, installer="uv"),
}
_SETTINGS = re.compile("(PIP|UV|PDM|POETRY|HATCH)_")
_NETWORK = re.compile(r"CERT|TLS|PROXY|TIMEOUT")


def _environment(home: Path, url: str) -> dict[str, str]:
    """Make an environment in which clients know nothing but one index and the way to it."""
    inherited = {
        key: value
        for key, value in Person(home).environment.items()
        if not _SETTINGS.match(key) or _NETWORK.search(key)
    }
    del inherited["PYTHONDONTWRITEBYTECODE"]  # it would cost seconds each time
    return {
        **inherited,
        "PDM_CHECK_UPDATE": "false",
        "PDM_PYPI_URL": url,
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_INDEX_URL": url,
        "POETRY_NO_INTERACTION": "1",
        "UV_DEFAULT_INDEX": url,
        "UV_NO_CONFIG": "1",
    }


@dataclass(frozen=True)
class Workplace:
    """A directory in which somebody works with the clients; their home and caches lie in it."""

    path: Path
    environment: dict[str, str]

    @classmethod
    def create(cls, path: Path, url: str) -> "Workplace":
        (path / "home").mkdir(parents=True)
        return cls(path, _environment(path / "home", url))

    def run(
        self, program: str | Path, *arguments: str | Path, status: int = 0, **environment: str
    ) -> str:
        """Run a program to its end; return what it says on both channels."""
        done = subprocess.run(
            [program if isinstance(program, Path) else BIN / program, *arguments],
            cwd=self.path,
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=200,
        )
        assert done.returncode == status, f"{program} {arguments}\n{done.stdout}"
        return done.stdout


@dataclass(frozen=True)
class Client:
    """One of the programs."""

    name: str
    program: Path

    @property
    def recipe(self) -> Recipe:
        return RECIPES[self.name]

    def begin(self, path: Path, url: str, *requirements: str) -> Workplace:
        """Make a project that requires something."""
        place = Workplace.create(path, url)
        if self.recipe.installer == "uv":
            place.environment["HATCH_ENV_TYPE_VIRTUAL_UV_PATH"] = str(BIN / "uv")
        (path / "requirements.txt").write_text("".join(f"{item}\n" for item in requirements))
        (path / "pyproject.toml").write_text(
            _PYPROJECT.format(
                requirements=json.dumps(requirements), url=url, installer=self.recipe.installer
            )
        )
        if self.program.name != "hatch":
            place.run("uv", "venv", "--quiet", "--python", sys.executable)
        return place

    def run(self, place: Workplace, command: str, status: int = 0) -> str:
        """Carry out a command that begins with its name."""
        name, *arguments = command.split()
        assert name == self.program.name
        return place.run(self.program, *arguments, status=status)

    def locked(self, place: Workplace) -> str:
        """Read the lock file."""
        return (place.path / self.recipe.lock_file).read_text()


def client_named(name: str, request: pytest.FixtureRequest) -> Client:
    tool = name.partition("-")[0]
    return Client(name, BIN / tool if tool in ("pip", "uv") else request.getfixturevalue(tool))
