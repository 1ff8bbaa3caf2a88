"""builder.sandbox: what systemd is asked for, and what of its answers is believed."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from stand_ins import programs, write_program

from pypi_insiders.builder import relay
from pypi_insiders.builder.errors import EndedError, SandboxError
from pypi_insiders.builder.launcher import Mounts
from pypi_insiders.builder.sandbox import Sandbox
from pypi_insiders.util.process_group import Command, ProcessGroup

__all__ = ["programs"]
_RUN = """#!/bin/sh
printf '%s\\n' "$@" >"{asked}"
for word in {reports}; do echo $word >&0; done
echo "the last line"
exit {status}
"""
# Of every build, whatever else it is given. Each of them is measured by the journeys.
_ALWAYS = {
    "CPUSchedulingPolicy=idle", "CPUWeight=idle", "IOSchedulingClass=idle", "KeyringMode=private",
    "LimitCORE=0", "LimitFSIZE=4G", "LockPersonality=yes", "MemoryMax=75%", "NoNewPrivileges=yes",
    "OOMPolicy=continue", "PrivateDevices=yes", "PrivateIPC=yes", "PrivateNetwork=yes",
    "PrivateUsers=yes", "ProtectControlGroups=yes", "ProtectSystem=strict",
    "RestrictNamespaces=user pid mnt", "RestrictRealtime=yes", "RestrictSUIDSGID=yes",
    "RuntimeMaxSec=67", "Slice=background.slice", "SystemCallArchitectures=native",
    "SystemCallErrorNumber=EPERM", "SystemCallFilter=@mount", "SystemCallFilter=@system-service",
    "SystemCallFilter=~@keyring inotify_init:EMFILE inotify_init1:EMFILE",
    "SystemCallFilter=~fallocate:EOPNOTSUPP", "TasksMax=1024", "TemporaryFileSystem=/dev/shm",
    "TemporaryFileSystem=/home:ro", "TemporaryFileSystem=/root:ro", "TemporaryFileSystem=/run:ro",
    'TemporaryFileSystem="/var":ro', "TimeoutStopSec=5s", "UMask=0022",
}  # fmt: skip
_NAMESPACE = [
    "unshare", "--user", "--map-current-user", "--pid", "--fork", "--kill-child", "--mount-proc",
    "--", "prlimit", "--nproc=1024", "--sigpending=1024", "setsid", "env", "-i",
]  # fmt: skip

Ask = Callable[..., tuple[list[str], list[str]]]


@pytest.fixture
def ask(programs: Path, tmp_path: Path) -> Ask:
    """Run a program in a sandbox of a `systemd-run` that reports; return what that was asked for.

    Properties first, then the words of the program.
    """

    def ask(
        reports: str = "begun ended", status: int = 0, **changes: object
    ) -> tuple[list[str], list[str]]:
        asked = tmp_path / "asked"
        write_program(
            programs / "systemd-run", _RUN.format(asked=asked, reports=reports, status=status)
        )
        root = tmp_path / "root"
        root.mkdir(exist_ok=True)
        proxy = "http://me:secret@proxy.example:3128"
        variables = {"A": "1", "https_proxy": proxy, "All_Proxy": proxy}
        mounts = replace(Mounts(root, (root / "out",)), **changes)  # type: ignore[arg-type]
        place = Sandbox(ProcessGroup(), [Path("/usr/share")], ())
        result = place.run(Command(("make", "all"), variables, root, 7), mounts)
        assert (result.status, result.stdout) == (status, "the last line\n")
        lines = asked.read_text().splitlines()
        start = lines.index("--")
        properties = [
            line.removeprefix("--property=") for line in lines if line.startswith("--property=")
        ]
        return properties, lines[start + 1 :]

    return ask


def test_a_build_sees_and_reaches_nothing_that_it_is_not_given(ask: Ask) -> None:
    """Each property is there, in any order; other programs and users are in another namespace."""
    properties, words = ask()
    assert _ALWAYS | {"RestrictAddressFamilies=AF_UNIX"} <= set(properties)
    assert 'TemporaryFileSystem="/usr/share":ro' in properties  # private to the user
    assert "WorkingDirectory=/run/build" in properties
    at = words.index("unshare")
    assert words[at : at + len(_NAMESPACE)] == _NAMESPACE
    assert words[-2:] == ["make", "all"]


def test_a_build_with_a_network_gets_none_of_our_proxies(ask: Ask) -> None:
    """Only the relay, whose other end checks each request."""
    properties, words = ask(network=Path("/usr/bin/python3"))
    assert "PrivateNetwork=yes" in properties
    families = [line for line in properties if line.startswith("RestrictAddressFamilies=")]
    assert families == ["RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK"]
    assert f"https_proxy=http://127.0.0.1:{relay.PORT}" in words
    assert not any("secret" in word for word in words)


def test_only_what_the_wrapper_reports_is_believed(ask: Ask) -> None:
    """An exit status alone may be systemd's: nothing was built then, and nothing has failed."""
    ask(status=3)
    with pytest.raises(EndedError, match="another process stopped the unit of the build"):
        ask("begun", 0)
    for status in (0, 1, 217):
        with pytest.raises(SandboxError, match=r"could not set up the unit .*: the last line"):
            ask("", status)
