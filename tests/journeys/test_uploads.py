"""Uploads: real twine and uv, into the store of a running index."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from fixtures import Person, start_command
from wheels import sdist, wheel

from pypi_insiders.config import passwords
from pypi_insiders.util.files import sha256


@dataclass(frozen=True)
class Index:
    """A running index that takes uploads."""

    url: str
    token: str
    person: Person
    log: Path

    @property
    def directory(self) -> Path:
        return self.person.paths.distributions

    def upload(self, client: str, file: Path) -> "subprocess.CompletedProcess[str]":
        """Upload a file with a real client."""
        program = Path(sys.executable).with_name(client)
        arguments = {
            "uv": ("publish", "--publish-url", f"{self.url}/", "--trusted-publishing", "never"),
            "twine": ("upload", "--non-interactive", "--disable-progress-bar",
                      "--repository-url", f"{self.url}/"),
        }[client]  # fmt: skip
        secret = {
            f"{client.upper()}_{key}": value
            for name, value in (("USERNAME", "__token__"), ("PASSWORD", self.token))
            for key in (name, f"PUBLISH_{name}")
        }
        return subprocess.run(
            [program, *arguments, file],
            env={**self.person.environment, **secret, "NO_COLOR": "1"},
            capture_output=True,
            text=True,
            timeout=100,
        )

    def tree(self) -> dict[str, tuple[str, int]]:
        return {
            path.name: (sha256(path), path.stat().st_mtime_ns) for path in self.directory.iterdir()
        }


@pytest.fixture
def index(person: Person) -> Iterator[Index]:
    settings = person.paths.settings
    settings.parent.mkdir(parents=True)
    settings.write_text("[server]\nuploads = true\n")
    token = person.run("server", "token").stdout.strip()
    log = person.home / "log"
    with (
        log.open("w") as stderr,
        start_command(("server", "run", "--port", "0"), person.environment, stderr) as server,
    ):
        try:
            assert server.stdout is not None
            yield Index(server.stdout.readline().removesuffix("/simple/\n"), token, person, log)
        finally:
            server.kill()
    assert "Traceback" not in log.read_text()


CLIENTS = pytest.mark.parametrize("client", ["uv", "twine"])


@pytest.mark.parametrize(("client", "make"), [("uv", wheel), ("uv", sdist), ("twine", wheel)])
def test_a_file_is_published(index: Index, tmp_path: Path, client: str, make: type) -> None:
    """Byte for byte, readable for all, nothing left beside it, held and installable at once."""
    file: Path = make(tmp_path, "my-dist", "1.0", content=os.urandom(300_000))
    done = index.upload(client, file)
    assert done.returncode == 0, done.stderr + done.stdout
    assert "my-dist" in (index.person.paths.state / "held.json").read_text()
    assert list(index.tree()) == [file.name]
    assert sha256(index.directory / file.name) == sha256(file)
    if make is wheel:
        uv = Path(sys.executable).with_name("uv")
        subprocess.run(
            [uv, "pip", "install", "--quiet", "--target", tmp_path / "installed", "--default-index",
             f"{index.url}/simple/", "my-dist"],
            env={**index.person.environment, "UV_CACHE_DIR": str(tmp_path / "cache")}, check=True,
        )  # fmt: skip
        assert (tmp_path / "installed/my_dist.py").exists()


@CLIENTS
def test_the_same_file_again_is_no_error(index: Index, tmp_path: Path, client: str) -> None:
    """As when a job is run twice; the file is not touched."""
    file = wheel(tmp_path, "my-dist", "1.0")
    index.upload(client, file)
    before = index.tree()
    done = index.upload(client, file)
    assert (done.returncode, index.tree()) == (0, before)


@CLIENTS
def test_another_file_of_the_same_name_is_refused(
    index: Index, tmp_path: Path, client: str
) -> None:
    """Nothing published ever changes."""
    index.upload(client, wheel(tmp_path, "my-dist", "1.0"))
    before = index.tree()
    done = index.upload(client, wheel(tmp_path, "my-dist", "1.0", content=b"x"))
    assert (done.returncode != 0, index.tree()) == (True, before)
    assert "409" in done.stderr + done.stdout


@CLIENTS
def test_without_the_token_nothing_is_taken(index: Index, tmp_path: Path, client: str) -> None:
    """Nor with a wrong one, nor with the password of one who may only read."""
    passwords.save(index.person.paths.passwords, "reader", "secret")
    file = wheel(tmp_path, "my-dist", "1.0")
    for token in ("wrong", "secret"):
        done = replace(index, token=token).upload(client, file)
        assert (done.returncode != 0, index.tree()) == (True, {})
        assert "401" in done.stderr + done.stdout


def test_a_damaged_file_is_refused(index: Index, tmp_path: Path) -> None:
    """With the reason."""
    file = wheel(tmp_path, "my-dist", "1.0")
    lying = file.rename(file.with_name("my_dist-2.0-py3-none-any.whl"))
    done = index.upload("uv", lying)
    assert (done.returncode != 0, index.tree()) == (True, {})
    assert f"{lying.name} has the metadata of my-dist 1.0" in done.stderr


def test_the_token_is_stored_hashed(index: Index) -> None:
    """It is seen once; whoever reads the file cannot upload."""
    assert re.fullmatch(r"[\w-]{43}", index.token)
    path = index.person.paths.passwords
    assert index.token not in path.read_text()
    assert list(passwords.load(path)) == ["__token__"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/", "GET, HEAD, POST"),
        ("DELETE", "/legacy/", "GET, HEAD, POST"),
        ("POST", "/simple/", "GET, HEAD"),
        ("PUT", "/packages/probe-1.0.tar.gz", "GET, HEAD"),
    ],
)
def test_what_a_path_allows_is_told(index: Index, method: str, path: str, allowed: str) -> None:
    """Uploads go to where the front page is, and nowhere else. Source: RFC 9110, 15.5.6."""
    connection = HTTPConnection(urlsplit(index.url).netloc, timeout=60)
    connection.request(method, path, b"x")
    answer = connection.getresponse()
    told = (answer.status, answer.headers["Allow"], answer.read())
    assert told == (405, allowed, b"upload to /\n")
    connection.close()
