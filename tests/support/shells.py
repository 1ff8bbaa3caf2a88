"""A user in a directory, with an index that pip, uv and PDM are led to or not."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from fixtures import COMMAND, Person, free_port, run_command
from wheels import wheel

REMEDY = '`eval "$(pypi-insiders env)"`'
# For pipx, which installs nothing without a program.
ENTRY_POINTS = "[console_scripts]\nprobe-insiders = probe_insiders:VERSION\n"
Told = tuple[str, str, str | None]


@dataclass(frozen=True)
class Shell:
    """A person in a directory, with an index that holds `probe-insiders`."""

    person: Person
    directory: Path
    port: int

    @property
    def url(self) -> str:
        """Of the index, up to the port."""
        return f"http://127.0.0.1:{self.port}"

    def filled(self, text: str) -> str:
        """Fill in where the index and the home are."""
        home = str(self.person.home)
        return text.replace("OURS", self.url).replace("PORT", str(self.port)).replace("HOME", home)

    def write(self, path: str, text: str) -> Path:
        """Write a file below the home."""
        whole = self.person.home / path
        whole.parent.mkdir(parents=True, exist_ok=True)
        whole.write_text(self.filled(text))
        return whole

    def run(self, *command: str | Path, **variables: str) -> "subprocess.CompletedProcess[str]":
        """Run a command in the directory."""
        own = (
            "UV_INDEX", "UV_DEFAULT_INDEX", "UV_EXTRA", "PIP_INDEX", "PIP_EXTRA", "PIP_CONFIG",
            "UV_CACHE",  # or a client without a network has what another test was sent
        )  # fmt: skip
        inherited = {
            name: value
            for name, value in self.person.environment.items()
            if not name.startswith(own) and not name.lower().endswith("_proxy") and name != "SHELL"
        }
        whole = inherited | {name: self.filled(value) for name, value in variables.items()}
        program, *arguments = command
        if program == COMMAND:
            return run_command(arguments, whole, self.directory)
        return subprocess.run(
            command,
            cwd=self.directory,
            env=whole,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=100,
        )

    def doctor(self, *checks: str, **variables: str) -> list[Told]:
        """Tell what some checks of `doctor` find, each time in the same words."""
        done = self.run(COMMAND, "doctor", "--json", **variables)
        assert done.stderr == ""
        home, directory = str(self.person.home), str(self.directory)
        return [
            (
                item["severity"],
                item["text"].replace(self.url, "OURS").replace(directory, ".").replace(home, "~"),
                item["hint"] and item["hint"].replace(directory, ".").replace(home, "~"),
            )
            for item in json.loads(done.stdout)["findings"]
            if item["check"] in checks
        ]


FALLBACK = "http://127.0.0.1:1/simple/"  # nobody is there


@pytest.fixture
def shell(person: Person, tmp_path: Path, request: pytest.FixtureRequest) -> Shell:
    """A person in a project, below another directory; the index runs where a test asks for it."""
    is_served = "index" in request.fixturenames
    port: int = request.getfixturevalue("served") if is_served else free_port()
    furnish(person, port)
    directory = person.home / "src/app"
    directory.mkdir(parents=True)
    return Shell(person, directory, port)


def furnish(person: Person, port: int) -> None:
    """Give a person the settings of an index, and what it holds."""
    person.paths.config.mkdir(parents=True)
    person.paths.settings.write_text(
        f'[server]\nport = {port}\nfallback-url = "{FALLBACK}"\nnames = ["index.example"]\n'
    )
    wheel(person.paths.distributions, "probe-insiders", "1.0", entry_points=ENTRY_POINTS)


@pytest.fixture
def index(served: int) -> None:
    """The index runs."""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of an index for all tests of a module, none of which changes what it serves."""
    person = Person(tmp_path_factory.mktemp("served"))
    port = free_port()
    furnish(person, port)
    with serving(person, port):
        yield port


@contextmanager
def serving(person: Person, port: int) -> Iterator[None]:
    """Run the index in the foreground."""
    with subprocess.Popen(
        [COMMAND, "server", "run"], env=person.environment, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        assert server.stdout.readline().rstrip().endswith(f"127.0.0.1:{port}/simple/")
        try:
            yield
        finally:
            server.terminate()


PROGRAMS = Path(sys.executable).parent
_WHAT = ("install", "--quiet", "--no-deps", "--target", "there", "probe-insiders")
COMMANDS = {"pip": (PROGRAMS / "pip", *_WHAT), "uv": (PROGRAMS / "uv", "pip", *_WHAT)}
FULL, OWN = "OURS/simple/", "OURS/insiders/simple/"
PROJECT = """\
[project]
name = "app"
version = "1"
requires-python = ">=3.11"
dependencies = ["probe-insiders"]
"""
