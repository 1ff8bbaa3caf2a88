"""remotes: real git on real repositories."""

import os
import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from conftest import COMMAND, Person, free_port, need
from projects import create, git

from pypi_insiders import remotes
from pypi_insiders.errors import InsidersError


def test_tags_name_their_commits_annotated_or_not(tmp_path: Path) -> None:
    """A tag object is followed to its commit."""
    project = create(tmp_path, "probe")
    first = project.release("1.0", annotated=True)
    second = project.release("1.1", annotated=False)
    assert remotes.list_tags(project.url) == {"v1.0": first, "v1.1": second}


def test_a_repository_without_tags_has_none(tmp_path: Path) -> None:
    """An empty repository is no error."""
    assert remotes.list_tags(create(tmp_path, "probe").url) == {}


def test_an_export_is_a_clean_tree_with_history_and_tags(tmp_path: Path) -> None:
    """`git describe` tells the tag in the exported tree, whose time is the commit's."""
    project = create(tmp_path, "probe")
    commit = project.release("1.0")
    project.release("1.1")
    mirror, tree = tmp_path / "mirror.git", tmp_path / "tree"
    for _ in range(2):
        remotes.fetch(project.url, mirror)
    assert remotes.export(mirror, commit, tree) == int(
        git(project.tree, "show", "-s", "--format=%ct", commit)
    )
    assert git(tree, "describe") == "v1.0"
    assert git(tree, "status", "--porcelain") == ""
    assert (tree / "probe/__init__.py").read_text().count('"1.0"') == 1


def test_the_repository_around_us_and_its_hooks_are_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`GIT_DIR` of a surrounding git command does not lead astray."""
    project = create(tmp_path, "probe")
    commit = project.release("1.0")
    monkeypatch.setenv("GIT_DIR", str(create(tmp_path, "other").tree / ".git"))
    assert remotes.list_tags(project.url) == {"v1.0": commit}


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (
            "file:///nonexistent/repository.git",
            "no such repository, or no access to it ('/nonexistent/repository.git' does not appear "
            "to be a git repository)",
        ),
        (
            "https://nowhere.invalid/me/probe.git",
            "the host's name cannot be resolved (unable to access "
            "'https://nowhere.invalid/me/probe.git/': Could not resolve host: nowhere.invalid)",
        ),
        (
            "ssh://git@nowhere.invalid/me/probe.git",
            "the host's name cannot be resolved (ssh: Could not resolve hostname nowhere.invalid: "
            "Name or service not known)",
        ),
        (
            "ext::sh -c true",
            "git may not use that transport here (transport 'ext' not allowed)",
        ),
    ],
)
def test_what_git_cannot_do_is_said_in_words(url: str, message: str) -> None:
    """The message names the reason, and git's own line."""
    if url.startswith("ssh:"):
        need("ssh")
    with pytest.raises(InsidersError) as caught:
        remotes.list_tags(url)
    assert caught.value.message == message


def test_a_closed_port_is_an_unreachable_host() -> None:
    """Nobody listens: the host cannot be reached."""
    with pytest.raises(InsidersError, match=r"^the host cannot be reached "):
        remotes.list_tags(f"https://127.0.0.1:{free_port()}/me/probe.git")


@pytest.fixture
def locked_host(tmp_path: Path) -> Iterator[str]:
    """An https host that wants a user and a password; its URL."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        [need("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
         "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip

    class Locked(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="private"')
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Locked)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"https://localhost:{server.server_port}"
    server.shutdown()


def test_git_never_asks_on_the_terminal(person: Person, locked_host: str, tmp_path: Path) -> None:
    """Where git wants a password and a terminal is there, the update fails at once, in words."""
    person.run("repos", "add", "me/probe", "--url", f"{locked_host}/me/probe.git")
    done = subprocess.run(
        [need("script"), "--quiet", "--return", "--command", f"{COMMAND} update", os.devnull],
        env={**person.environment, "GIT_SSL_CAINFO": str(tmp_path / "certificate.pem")},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    assert "error: me/probe: no access: the host does not accept the credentials" in done.stdout
