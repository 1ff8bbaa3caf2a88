"""remotes: what a host, or whoever writes a repository, can make git do on this machine.

Redirects and tokens, also those of submodules: test_remotes.py. Submodules elsewhere: there, and in
test_sources.py.
"""

import os
import shlex
import subprocess
from pathlib import Path

import pytest
from fixtures import free_port, need
from githost import GitHost, make_certificate
from machine import Machine
from projects import create, git

from pypi_insiders import git as remotes
from pypi_insiders.util.errors import InsidersError


def test_nothing_runs_that_comes_with_a_repository_or_a_setting(
    gitconfig: Path, tmp_path: Path
) -> None:
    """No hook, filter, monitor or template, although git runs each of them here."""
    ran = tmp_path / "ran"
    ran.mkdir()
    project = create(tmp_path, "probe")
    (project.tree / ".gitattributes").write_text("*.txt filter=trap\n*.bin filter=lfs\n")
    for name in ("a.txt", "b.bin"):
        (project.tree / name).write_text("as committed\n")
    commit = project.release("1.0")

    def trap(name: str, rest: str = "cat") -> Path:
        path = tmp_path / "traps" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\ntouch {shlex.quote(str(ran))}/{name}\n{rest}\n")
        path.chmod(0o755)
        return path

    for hook in ("post-checkout", "reference-transaction", "post-index-change"):
        trap(hook, "exit 0")
    gitconfig.write_text(
        f"[core]\n\thooksPath = {trap('post-checkout', 'exit 0').parent}\n"
        f"\tfsmonitor = {trap('monitor', 'exit 1')}\n"
        f'[filter "trap"]\n\tsmudge = {trap("smudge")}\n\tclean = {trap("clean")}\n'
        f'[filter "lfs"]\n\tsmudge = {trap("lfs-smudge")}\n\tclean = {trap("lfs-clean")}\n'
    )
    git_is_trapped = {
        "clean", "lfs-clean", "lfs-smudge", "monitor", "post-checkout", "post-index-change",
        "reference-transaction", "smudge",
    }  # fmt: skip
    plain = {**os.environ, "GIT_CONFIG_NOSYSTEM": "1"}
    subprocess.run(["git", "clone", "--quiet", project.url, tmp_path / "plain"], env=plain)
    (tmp_path / "plain/a.txt").write_text("other\n")
    (tmp_path / "plain/b.bin").write_text("other\n")
    subprocess.run(["git", "add", "--all"], cwd=tmp_path / "plain", env=plain, check=True)
    assert {path.name for path in ran.iterdir()} == git_is_trapped
    for path in ran.iterdir():
        path.unlink()

    mirror, tree = tmp_path / "mirror.git", tmp_path / "tree"
    remotes.list_tags(project.url)
    for _ in range(2):
        remotes.fetch(project.url, mirror)
        with (mirror / "config").open("a") as file:
            file.write(f"[core]\n\tfsmonitor = {tmp_path}/traps/monitor\n")
    remotes.export(mirror, commit, tree)
    assert (tree / "a.txt").read_text() == (tree / "b.bin").read_text() == "as committed\n"
    assert [path.name for path in ran.iterdir()] == []


@pytest.mark.parametrize("way", ["http", "file", "git", "ssh"])
def test_a_host_cannot_send_git_out_of_https(
    gitconfig: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """Where it redirects to, a token would be seen, or a file of this machine be published."""
    monkeypatch.setenv("GIT_SSL_CAINFO", str(make_certificate(tmp_path)))
    create(tmp_path, "probe").release("1.0")
    host = GitHost(tmp_path / "git", tmp_path / "certificate.pem")
    host.elsewhere = f"{way}://127.0.0.1:{free_port()}" if way != "file" else f"file://{tmp_path}"
    try:
        with pytest.raises(InsidersError) as caught:
            remotes.list_tags(f"{host.url}/me/probe.git")
    finally:
        host.close()
    assert caught.value.message.startswith("this transport is not allowed (")


def test_a_host_that_has_only_files_is_asked_nothing_twice(
    gitconfig: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Git would start git for each object that it lacks, without end; nor is another host asked.

    A host without git can name places for objects, in a list of alternates.
    """
    monkeypatch.setenv("GIT_SSL_CAINFO", str(make_certificate(tmp_path)))
    project = create(tmp_path, "probe")
    project.release("1.0")
    certificate = tmp_path / "certificate.pem"
    host, other = (GitHost(tmp_path / "git", certificate) for _ in range(2))
    host.is_plain = True
    git(project.remote, "update-server-info")
    moved = tmp_path / "git/me/other.git"
    moved.mkdir()
    (project.remote / "objects").rename(moved / "objects")
    information = project.remote / "objects/info"
    information.mkdir(parents=True)
    (information / "packs").write_text("\n")
    (information / "http-alternates").write_text(f"{other.url}/me/other.git/objects\n")
    try:
        with pytest.raises(InsidersError, match=r"^git fetch failed: "):
            remotes.fetch(f"{host.url}/me/probe.git", tmp_path / "mirror.git")
    finally:
        host.close()
        other.close()
    assert "GET /me/probe.git/objects/info/http-alternates" in host.requests
    assert len(host.requests) < 10
    assert other.requests == []


def test_a_changed_host_key_is_told_as_one(machine: Machine) -> None:
    """It is not a host that is unknown; and the hint has the command that forgets the old key."""
    sshd, keygen, port = need("sshd"), need("ssh-keygen"), free_port()
    keys = machine.home / "sshd"
    machine.run("mkdir", "-p", keys, ".ssh")
    for name in ("host", "old"):
        machine.run(keygen, "-q", "-t", "ed25519", "-N", "", "-f", keys / name)
    machine.write_text(
        "sshd/config",
        f"ListenAddress 127.0.0.1:{port}\nHostKey {keys}/host\nPidFile none\nUsePAM no\n",
    )
    server = machine.start(sshd, "-D", "-e", "-f", keys / "config")
    machine.wait_for(
        ["bash", "-c", f"exec 3<>/dev/tcp/127.0.0.1/{port}"], lambda done: done.returncode == 0
    )
    add = ("pypi-insiders", "repos", "add", "me/probe:probe")
    url = f"ssh://git@127.0.0.1:{port}/me/probe.git"
    machine.run(*add, "--url", url, check=False)
    told = []
    for known in ("", f"[127.0.0.1]:{port} {machine.read_text(keys / 'old.pub')}"):
        machine.write_text(".ssh/known_hosts", known, mode=0o600)
        failed = machine.run("pypi-insiders", "update", "me/probe", check=False)
        told.append(failed.stderr)
    server.stop()
    assert "me/probe: the host's ssh key is unknown (" in told[0]
    lines = told[1].splitlines()
    assert (
        "error: me/probe: the host's ssh key has changed, or another host answers "
        f"(Host key for [127.0.0.1]:{port} has changed and you have requested "
        "strict checking.)"
    ) in lines
    assert (
        f"hint: ask the host's owner; if it has changed, run `ssh-keygen -R '[127.0.0.1]:{port}'`, "
        f"then check the fingerprint: `ssh -T -p {port} git@127.0.0.1`"
    ) in lines
