"""Determine what ssh of this machine uses for a host, without connecting to it."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from pypi_insiders.util import process
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.users import user_name

_TIMEOUT_S = 10
SSH_COMMAND = r"^core\.sshcommand$"
"""The setting with which ssh git runs, for `settings`."""


def names(address: str) -> frozenset[str]:
    """Return the files that ssh uses for a host, and the names under which it knows its key.

    What a host prints arrives as if ssh had printed it, and could name anything else.

    Args:
        address: arguments of ssh, quoted for a shell.

    Returns:
        Keys, files that ssh refuses, and names for `ssh-keygen -R`; empty if ssh cannot
        be asked.

    Source: ssh(1), `-G`; ssh_config(5), "TOKENS"; git(1), `GIT_SSH_COMMAND`.
    """
    try:
        ssh = os.environ.get("GIT_SSH_COMMAND") or (settings(SSH_COMMAND) or [""])[-1] or "ssh"
        # With a shell, as git does: the setting may have options.
        done = process.run(("sh", "-c", f"{ssh} -G {address}"), timeout_s=_TIMEOUT_S)
    except (InsidersError, ValueError):  # ValueError: a NUL
        return frozenset()
    # A missing key of `-i` is not among the settings.
    refused = re.findall(
        r"^(?:Bad owner or permissions on |Warning: Identity file )(.+?)(?: not accessible: .*)?$",
        done.stderr,
        re.MULTILINE,
    )
    return frozenset((*refused, *_listed(done.stdout)))


def settings(pattern: str) -> list[str]:
    """Return the values of the user's settings of git whose names match a pattern.

    Raises:
        InsidersError: git cannot be run.

    Source: git-config(1), `--get-regexp`; the last of several values counts.
    """
    # Not in the working directory, which could be a repository with settings of its own.
    argv = ("git", "-C", "/", "config", "--null", "--get-regexp", pattern)
    found = process.run(argv, timeout_s=_TIMEOUT_S).stdout
    return [line.partition("\n")[2] for line in found.split("\0") if line]


def _listed(text: str) -> Iterator[str]:
    lines = [line.partition(" ")[::2] for line in text.splitlines()]
    # Of several values of a key, ssh uses the first. Source: ssh_config(5).
    first = dict(reversed(lines))
    host, port = first.get("hostname", ""), first.get("port", "22")
    yield first.get("hostkeyalias") or (host if port == "22" else f"[{host}]:{port}")
    home = str(Path.home())
    values = {
        "%": "%", "d": home, "h": host, "n": first.get("host", host), "p": port,
        "r": first.get("user", ""), "u": user_name(),
    }  # fmt: skip
    for key, value in lines:
        if key in ("identityfile", "certificatefile"):
            path = re.sub(r"^~(?=/)", lambda _: home, value)
            yield re.sub("%(.)", lambda match: values.get(match[1], match[0]), path)
