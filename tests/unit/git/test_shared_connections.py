"""Connections of ssh that git shares: a real ssh, a real sshd."""

import contextlib
import logging
import os
import select
import stat
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from projects import Project, create
from sshhost import SshHost

from pypi_insiders import git as remotes
from pypi_insiders.git import SharedConnections, running, shared_connections
from pypi_insiders.util.errors import InsidersError

pytestmark = [pytest.mark.usefixtures("gitconfig"), pytest.mark.journey]

MANY = shared_connections.FEWEST
Start = Callable[..., SshHost]
Request = pytest.FixtureRequest


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Start:
    """Start a host of ssh; git of this test uses its ssh."""

    def start(**settings: str) -> SshHost:
        host = SshHost(tmp_path / "ssh", **settings)  # type: ignore[arg-type]
        monkeypatch.setenv("PATH", host.path)
        return host

    return start


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A repository with a tag."""
    project = create(tmp_path, "probe")
    project.release("1.0")
    return project


@pytest.fixture
def runtime() -> Iterator[Path]:
    """The runtime directory; short, as a socket's path must be."""
    with TemporaryDirectory() as path:
        yield Path(path)


@pytest.fixture
def shared(runtime: Path) -> Iterator[SharedConnections]:
    """The shared connections of an update."""
    with closing(SharedConnections(runtime / "ours")) as connections:
        yield connections


def url_of(project: Project, host: str = "forge.test") -> str:
    """Name the repository on a host of ssh."""
    return f"ssh://{host}{project.remote}"


def tags(connections: SharedConnections, url: str) -> dict[str, str]:
    """List the tags of a repository."""
    return remotes.list_refs(url, connections=connections).tags


def test_many_repositories_of_a_host_are_listed_over_one_connection(
    start: Start, project: Project, runtime: Path, shared: SharedConnections
) -> None:
    """Its socket is private, and gone at the end; then each has a connection of its own again."""
    host, url = start(), url_of(project)
    shared.expect([url] * MANY)
    expected = remotes.list_tags(project.url)
    assert [tags(shared, url) for _ in range(3)] == [expected] * 3
    assert host.connections == ["forge.test"]
    (directory,) = (runtime / "ours").iterdir()
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    shared.close()
    assert list((runtime / "ours").iterdir()) == []
    assert tags(shared, url) == expected
    assert len(host.connections) == 2


def test_few_repositories_have_connections_of_their_own(
    start: Start, project: Project, runtime: Path, shared: SharedConnections
) -> None:
    """They are listed at the same time."""
    host, url = start(), url_of(project)
    shared.expect([url] * (MANY - 1))
    for _ in range(2):
        assert tags(shared, url)
    assert len(host.connections) == 2
    assert list(runtime.iterdir()) == []


def test_two_names_of_a_host_have_connections_of_their_own(
    start: Start, project: Project, shared: SharedConnections
) -> None:
    """In ~/.ssh/config each may have the key of another account."""
    aliases = "Host one.test two.test\n  HostName forge.test\n"
    host, urls = start(client=aliases), [url_of(project, f"{name}.test") for name in ("one", "two")]
    shared.expect(urls * MANY)
    for url in urls * 2:
        assert tags(shared, url)
    assert host.connections == ["one.test", "two.test"]


def test_a_name_of_a_host_keeps_its_capitals(
    start: Start, project: Project, shared: SharedConnections
) -> None:
    """In ~/.ssh/config they are part of it."""
    aliases = "Host forge.test\n  ProxyCommand false\nHost Forge.Test\n  HostName forge.test\n"
    host, url = start(client=aliases), url_of(project, "Forge.Test")
    shared.expect([url] * MANY)
    for _ in range(2):
        assert tags(shared, url)
    assert host.connections == ["Forge.Test"]


@pytest.mark.parametrize("setting", ["ControlMaster auto", "ControlPath {directory}/%n"])
def test_what_the_user_shares_is_left_alone(
    setting: str, start: Start, project: Project, runtime: Path, shared: SharedConnections
) -> None:
    """Neither their settings nor their sockets are replaced."""
    url = url_of(project)
    start(client=f"Host forge.test\n  {setting.format(directory=runtime)}\n")
    shared.expect([url] * MANY)
    with shared.session(url) as session:
        assert session is None
    assert tags(shared, url)


@pytest.mark.parametrize("where", ["GIT_SSH_COMMAND", "GIT_SSH", "core.sshCommand"])
def test_the_ssh_that_the_user_has_set_is_run(
    where: str, start: Start, project: Project, shared: SharedConnections, request: Request
) -> None:
    """As it is, each time."""
    host, url = start(), url_of(project)
    own = host.programs / "own"
    own.write_text('#!/bin/sh\necho "$*" >>"$0.log"\nexec ssh "$@"\n')
    own.chmod(0o755)
    if where == "core.sshCommand":
        request.getfixturevalue("gitconfig").write_text(
            f"[core]\n  sshCommand = {own}\n[ssh]\n  variant = ssh\n"
        )
    else:
        monkeypatch = request.getfixturevalue("monkeypatch")
        monkeypatch.setenv(where, str(own))
        monkeypatch.setenv("GIT_SSH_VARIANT", "ssh")
    shared.expect([url] * MANY)
    for _ in range(2):
        assert tags(shared, url)
    assert len(host.connections) == 2
    told = own.with_name("own.log").read_text()
    assert told.count("git-upload-pack") == 2
    assert "Control" not in told


def test_a_url_that_git_rewrites_uses_no_connection_of_another_host(
    start: Start, project: Project, shared: SharedConnections, gitconfig: Path
) -> None:
    """The other host may have another key, and settings of its own."""
    host, url = start(), url_of(project)
    gitconfig.write_text('[url "ssh://other.test/"]\n  insteadOf = ssh://forge.test/\n')
    shared.expect([url] * MANY)
    with shared.session(url) as session:
        assert session is None
    assert tags(shared, url)
    assert host.connections == ["other.test"]


def test_what_the_user_has_set_is_not_guessed_if_git_does_not_answer(
    start: Start, project: Project, shared: SharedConnections, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a machine under load, or with a home that hangs."""
    monkeypatch.setattr(shared_connections, "_TIMEOUT_S", 0)
    host, url = start(), url_of(project)
    shared.expect([url] * MANY)
    for _ in range(2):
        assert tags(shared, url)
    assert len(host.connections) == 2


def test_a_host_that_refuses_further_sessions_is_read_nevertheless(
    start: Start, project: Project, shared: SharedConnections,
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """With connections of their own, and that is told once."""
    monkeypatch.setattr(shared_connections, "_CONNECTIONS", 1)
    host, url = start(server="MaxSessions 1\n"), url_of(project)
    shared.expect([url] * MANY)
    with shared.session(url) as session:
        assert session is not None
        command = f"{session.environment['GIT_SSH_COMMAND']} forge.test 'echo ready; cat'"
        with (
            subprocess.Popen(
                ("sh", "-c", command), stdin=subprocess.PIPE, stdout=subprocess.PIPE
            ) as other,
            caplog.at_level(logging.INFO),
        ):
            assert other.stdout is not None
            assert other.stdout.readline() == b"ready\n"
            found = [tags(shared, url) for _ in range(2)]
            other.communicate()
    assert found == [remotes.list_tags(project.url)] * 2
    told = "forge.test: connections are not shared: it refuses further sessions"
    assert caplog.messages == [told]
    assert len(host.connections) == 3


def test_what_fails_on_a_shared_connection_only_is_read_on_its_own(
    start: Start, project: Project, tmp_path: Path, shared: SharedConnections,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    """A host may have one session for each connection, and say whatever it likes of a second."""
    once = tmp_path / "once"
    once.write_text(f'#!/bin/sh\nmkdir {tmp_path}/$PPID && eval "$SSH_ORIGINAL_COMMAND"\n')
    once.chmod(0o755)
    host, url = start(server=f"ForceCommand {once}\n"), url_of(project)
    shared.expect([url] * MANY)
    with caplog.at_level(logging.INFO):
        found = [tags(shared, url) for _ in range(3)]
    assert found == [remotes.list_tags(project.url)] * 3
    assert caplog.messages == ["forge.test: connections are not shared: git fails on a shared one"]
    assert len(host.connections) == 3
    with shared.session(url) as session:
        assert session is None


def test_one_connection_is_shared_if_the_host_refuses_the_other(
    start: Start, project: Project, tmp_path: Path, shared: SharedConnections
) -> None:
    """A server refuses some of many that begin at once."""
    host, url = start(), url_of(project)
    connect = tmp_path / "ssh/connect"
    connect.write_text(f"#!/bin/sh\nmkdir {tmp_path}/once && exit 1\n{connect.read_text()}")
    shared.expect([url] * MANY)
    for _ in range(3):
        assert tags(shared, url)
    assert len(host.connections) == 2


def test_a_host_that_hangs_is_waited_for_once(
    start: Start, project: Project, tmp_path: Path, shared: SharedConnections
) -> None:
    """After the first repository; each of a thousand would wait on a shared connection as well."""
    endless = tmp_path / "endless"
    endless.write_text("#!/bin/sh\nexec tail -f /dev/null\n")
    endless.chmod(0o755)
    start(server=f"ForceCommand {endless}\n")
    url = url_of(project)
    shared.expect([url] * MANY)
    with pytest.raises(remotes.UnreachableError, match="timed out"):
        remotes.list_refs(url, timeout_s=0.2, connections=shared)
    with shared.session(url) as session:
        assert session is None


def test_an_interrupted_update_waits_for_no_connection_that_begins(
    start: Start, project: Project, tmp_path: Path, shared: SharedConnections,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """It may be up to its time limit, which systemd or a container would not await."""
    monkeypatch.setattr(running, "_has_ended", threading.Event())
    start()
    url = url_of(project)
    os.mkfifo(begun := tmp_path / "begun")
    (tmp_path / "ssh/connect").write_text(f"#!/bin/sh\n: >{begun}\nexec tail -f /dev/null\n")
    shared.expect([url] * MANY)
    with ThreadPoolExecutor(2) as pool:
        listed = pool.submit(tags, shared, url)
        begun.read_bytes()
        running.end()
        pool.submit(shared.close).result(shared_connections._START_S / 2)
        with pytest.raises(InsidersError, match="killed by signal 9"):
            listed.result(shared_connections._START_S / 2)


def test_a_missing_repository_ends_no_connection(
    start: Start, project: Project, shared: SharedConnections
) -> None:
    """Its error is that of a connection of its own; the others go on."""
    host, url = start(), url_of(project)
    shared.expect([url] * MANY)
    with pytest.raises(InsidersError, match="repository not found"):
        tags(shared, "ssh://forge.test/nonexistent.git")
    assert tags(shared, url)
    assert len(host.connections) == 2


def test_a_host_that_cannot_be_reached_is_told_as_ever(
    start: Start, project: Project, shared: SharedConnections
) -> None:
    """It is asked for each of both shared connections once."""
    host, url = start(server="LoginGraceTime nonsense\n"), url_of(project)
    shared.expect([url] * MANY)
    for _ in range(3):
        with pytest.raises(remotes.UnreachableError):
            tags(shared, url)
    assert len(host.connections) == 2 + 3


def test_a_connection_ends_without_the_process_that_has_made_it(
    start: Start, project: Project, runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a SIGKILL; the next update removes the directory."""
    monkeypatch.setattr(shared_connections, "_IDLE_S", 1)
    start()
    url, killed = url_of(project), SharedConnections(runtime / "ours")
    killed.expect([url] * MANY)
    with killed.session(url) as session:
        assert session is not None
    (directory,) = (runtime / "ours").iterdir()
    for end in ends_of(str(directory)):
        assert select.select([end], [], [], 30)[0] == [end]
        os.close(end)
    # The number of no process. Source: proc_sys_kernel(5), `pid_max`.
    left = directory.rename(directory.with_name("ssh-4194305"))
    with closing(SharedConnections(runtime / "ours")) as following:
        following.expect([url] * MANY)
        assert tags(following, url)
        assert not left.exists()


def test_the_connections_end_with_the_update(
    start: Start, project: Project, runtime: Path, shared: SharedConnections,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """However long ssh would keep them, as nobody else uses them."""
    monkeypatch.setattr(shared_connections, "_IDLE_S", 3600)
    start()
    url = url_of(project)
    shared.expect([url] * MANY)
    with shared.session(url) as session:
        assert session is not None
    ends = list(ends_of(str(runtime / "ours")))
    assert ends
    shared.close()
    for end in ends:
        assert select.select([end], [], [], 30)[0] == [end]
        os.close(end)


def test_a_connection_has_no_more_sessions_than_a_host_allows(
    start: Start, project: Project, shared: SharedConnections
) -> None:
    """What it would refuse has a connection of its own, until a session ends."""
    host, url = start(), url_of(project)
    shared.expect([url] * MANY)
    most = shared_connections._CONNECTIONS * shared_connections._SESSIONS
    with contextlib.ExitStack() as stack:
        found = [stack.enter_context(shared.session(url)) for _ in range(most + 1)]
    assert [session is None for session in found] == most * [False] + [True]
    assert len(host.connections) == shared_connections._CONNECTIONS
    with shared.session(url) as session:
        assert session is not None


def ends_of(word: str) -> Iterator[int]:
    """Open the processes that have a word in their command line. Source: pidfd_open(2)."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if word.encode() in path.read_bytes():
                yield os.pidfd_open(int(path.parent.name))


@pytest.mark.parametrize("mode", [0o720, 0o702])
def test_nothing_is_shared_where_others_can_write(
    mode: int, start: Start, project: Project, runtime: Path, shared: SharedConnections
) -> None:
    """They could put a socket of their own in the place of ours."""
    start()
    url = url_of(project)
    runtime.chmod(mode)
    shared.expect([url] * MANY)
    with shared.session(url) as session:
        assert session is None
    assert list(runtime.iterdir()) == []
