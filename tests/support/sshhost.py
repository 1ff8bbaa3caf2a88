"""A host of Git repositories over ssh: a real sshd, started anew for each connection."""

import os
import shlex
import subprocess
from pathlib import Path

from fixtures import need

_SERVER = """\
HostKey {directory}/host-key
AuthorizedKeysFile {directory}/user-key.pub
StrictModes no
UsePAM no
PidFile none
# Two levels deep, bash reads no ~/.bashrc, which may take seconds. Source: run_startup_files in
# bash's shell.c.
SetEnv SHLVL=1
"""
# ssh finds ~/.ssh by the account and not by HOME, so the program has the settings as an option.
_CLIENT = """\
Host *
  IdentityFile {directory}/user-key
  IdentitiesOnly yes
  ProxyCommand {directory}/connect %n
  StrictHostKeyChecking no
  UserKnownHostsFile {directory}/known-hosts
  LogLevel ERROR
"""
_CONNECT = """\
#!/bin/sh
echo "$1" >>{directory}/connections
sleep {delay_s}
exec {sshd} -i -f {directory}/server-config
"""


class SshHost:
    """Answers to every name, for the ssh of a directory that has to be the first of PATH.

    Args:
        directory: an empty one.
        delay_s: seconds that a connection takes.
        server: further lines of sshd_config(5).
        client: lines of ssh_config(5) before the others.
    """

    def __init__(
        self, directory: Path, *, delay_s: float = 0, server: str = "", client: str = ""
    ) -> None:
        self.programs = directory / "bin"
        self._log = directory / "connections"
        self.programs.mkdir(parents=True)
        if os.geteuid() == 0:  # as Debian's unit does; sshd requires it
            Path("/run/sshd").mkdir(exist_ok=True)
        for name in ("host-key", "user-key"):
            keygen = (need("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", directory / name)
            subprocess.run(keygen, check=True)
        (directory / "server-config").write_text(_SERVER.format(directory=directory) + server)
        (directory / "client-config").write_text(client + _CLIENT.format(directory=directory))
        connect = _CONNECT.format(directory=directory, delay_s=delay_s, sshd=need("sshd"))
        _script(directory / "connect", connect)
        ssh = shlex.join((need("ssh"), "-F", str(directory / "client-config")))
        _script(self.programs / "ssh", f'#!/bin/sh\nexec {ssh} "$@"\n')

    @property
    def path(self) -> str:
        """The PATH with which git runs this ssh."""
        return f"{self.programs}:{os.environ['PATH']}"

    @property
    def connections(self) -> list[str]:
        """The names by which it was called, one for each connection."""
        return self._log.read_text().split() if self._log.exists() else []

    def forget(self) -> None:
        """Count the connections anew."""
        self._log.unlink(missing_ok=True)


def _script(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)
