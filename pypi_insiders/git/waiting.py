"""Find the credential helper for which git waits."""

import contextlib
import re
from pathlib import Path

from pypi_insiders.util.process_group import family


def waiting_helper(process: int) -> str | None:
    """Return the name of the credential helper for which a git process waits.

    Returns:
        Its name or path, `of credential.helper` if it has none; `None`: git waits for none.

    Source: run_credential_helper in git's credential.c; gitcredentials(7), "CUSTOM HELPERS".
    """
    # Over http, the program of the transport asks the helpers, and not git itself.
    for transport in family(process):
        if not _words(transport)[0].rpartition("/")[2].startswith("git-remote-"):
            continue
        for child in family(transport)[1:]:
            words = " ".join(_words(child))
            # Its other children are commands of git, such as fetch-pack.
            if named := re.search(r"\bgit(?: |-)credential-([\w.-]+)", words):
                return named[1]
            # Only a name or a path: a helper in the settings can contain a password.
            if given := re.search(r"(/\S+) (?:get|store|erase)$", words):
                return given[1]
            # A shell, which runs a helper that is a command line.
            if not words.startswith("git "):
                return "of credential.helper"
    return None


def _words(process: int) -> list[str]:
    """Return the command line of a process; empty words if it has ended."""
    with contextlib.suppress(OSError):
        line = Path("/proc", str(process), "cmdline").read_bytes()
        return line.decode(errors="replace").split("\0")[:-1] or [""]
    return [""]
