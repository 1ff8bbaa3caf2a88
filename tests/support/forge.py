"""A host of private Git repositories: a real sshd."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from fixtures import free_port, need
from machine import Machine
from projects import Project, create


@dataclass(frozen=True)
class Forge:
    """A host of private Git repositories, which this machine's ssh knows as github.com."""

    directory: Path

    def create(self, at: str, name: str) -> Project:
        """Make an empty private project."""
        return create(self.directory, name, at)


@pytest.fixture
def forge(machine: Machine, tmp_path: Path) -> Iterator[Forge]:
    """An sshd on loopback to which the person's key gives access."""
    sshd, ssh_port = need("sshd"), free_port()
    keys = machine.home / "sshd"
    machine.run("mkdir", "-p", keys, ".ssh")
    for key in (keys / "host", machine.home / ".ssh/id_ed25519"):
        machine.run(need("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", key)
    public = machine.read_text(".ssh/id_ed25519.pub")
    machine.write_text(".ssh/authorized_keys", public, mode=0o600)
    host = machine.read_text(keys / "host.pub")
    machine.write_text(".ssh/known_hosts", f"[127.0.0.1]:{ssh_port} {host}", mode=0o600)
    machine.write_text(
        ".ssh/config",
        f"Host github.com\n  HostName 127.0.0.1\n  Port {ssh_port}\n  ControlPath none\n",
        mode=0o600,
    )
    # As a forge does: whatever path is asked for lies below one directory.
    machine.write_text(
        "sshd/git-only",
        f'#!/bin/sh\ncd "{tmp_path}/git" && exec git-shell -c "$SSH_ORIGINAL_COMMAND"\n',
        mode=0o700,
    )
    # The repositories belong to whoever runs the tests.
    machine.write_text(".gitconfig", "[safe]\n  directory = *\n")
    machine.write_text(
        "sshd/config",
        f"ListenAddress 127.0.0.1:{ssh_port}\nHostKey {keys}/host\nPidFile none\nUsePAM no\n"
        f"StrictModes no\nForceCommand {keys}/git-only\nLogLevel VERBOSE\n",
    )
    server = machine.start(sshd, "-D", "-e", "-f", keys / "config")
    machine.wait_for(
        ["bash", "-c", f"exec 3<>/dev/tcp/127.0.0.1/{ssh_port}"],
        lambda done: done.returncode == 0,
    )
    yield Forge(tmp_path)
    server.stop()
