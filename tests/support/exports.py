"""The index as plain files, and the live one to compare them with."""

import contextlib
import http.client
import subprocess
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import wheels
from fixtures import COMMAND, Person, run_command, start_command

JSON = "application/vnd.pypi.simple.v1+json"
PAGES = {"index.html": "text/html", "index.json": JSON}


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


def get(url: str, **headers: str) -> Answer:
    """Fetch a URL without following redirects; `_` in a header's name stands for `-`."""
    parts = urllib.parse.urlsplit(url)
    assert parts.hostname is not None
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
    with contextlib.closing(connection):
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request("GET", parts.path, headers=given)
        answer = connection.getresponse()
        return Answer(answer.status, dict(answer.getheaders()), answer.read())


@contextmanager
def live(person: Person, *options: str | Path) -> Iterator[str]:
    """Run the live index; its URL up to the port."""
    command = ("server", "run", "--port", "0", *options)
    with start_command(command, person.environment) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip().removesuffix("/simple/")
        finally:
            process.terminate()


@pytest.fixture
def dists(person: Person) -> Path:
    """A directory of distributions: two projects with three releases, and a file that is none."""
    return fill(person.paths.distributions)


def fill(directory: Path) -> Path:
    """Put these distributions into a directory."""
    wheels.wheel(directory, "one", "1.0", "Requires-Python: >=3.8")
    wheels.sdist(directory, "one", "1.0")
    wheels.wheel(directory, "one", "1.1", "Requires-Dist: public")
    wheels.wheel(directory, "two-three", "1.0+insiders.4")
    (directory / "notes.txt").write_text("not served")
    return directory


def export(
    person: Person,
    *arguments: str | Path,
    status: int = 0,
    umask: int = -1,
    before: Callable[[], None] | None = None,
) -> "subprocess.CompletedProcess[str]":
    """Run `pypi-insiders export`; its exit status must be the given one."""
    if umask == -1 and before is None:
        done = run_command(("export", *arguments), person.environment)
    else:
        done = subprocess.run(
            [COMMAND, "export", *arguments],
            env=person.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=100, umask=umask, preexec_fn=before,
        )  # fmt: skip
    assert done.returncode == status, f"{arguments}\n{done.stdout}\n{done.stderr}"
    return done
