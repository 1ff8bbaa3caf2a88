"""Speak to Git repositories, through GitPython."""

import logging
import os
import re
import shlex
from pathlib import Path

from pypi_insiders.errors import InsidersError
from pypi_insiders.files import make_directory
from pypi_insiders.urls import without_any_credentials

# GitPython looks for git when it is imported, and fails there without one.
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")

from git.cmd import Git
from git.exc import GitCommandError, GitCommandNotFound

_log = logging.getLogger(__name__)

LIST_TIMEOUT_S = 60
FETCH_TIMEOUT_S = 1800

# These would make git work on the repository around us.
# Source: git-rev-parse(1), `--local-env-vars`.
_LOCAL_ENVIRONMENT = (
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_CONFIG",
    "GIT_DIR",
    "GIT_GRAFT_FILE",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_INTERNAL_SUPER_PREFIX",
    "GIT_NAMESPACE",
    "GIT_NO_REPLACE_OBJECTS",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_REPLACE_REF_BASE",
    "GIT_SHALLOW_FILE",
    "GIT_WORK_TREE",
)

_ENVIRONMENT = {
    "GIT_ALLOW_PROTOCOL": "https:ssh:git:file",
    "GIT_TERMINAL_PROMPT": "0",
    # ssh asks this program instead of the terminal, whatever `core.sshCommand` says, and the
    # program says nothing. Source: ssh(1), "ENVIRONMENT"; OpenSSH >= 8.4.
    "SSH_ASKPASS": "false",
    "SSH_ASKPASS_REQUIRE": "force",
    "GIT_ASKPASS": "false",
    "LC_ALL": "C.UTF-8",
}


def list_tags(url: str) -> dict[str, str]:
    """Ask a repository for its tags, over one connection.

    Returns:
        Tag to the commit that it names (not to the tag object).

    Raises:
        InsidersError: the repository cannot be read; the message says why.

    Source: git-ls-remote(1); `^{}` marks what an annotated tag points to.
    """
    refs: dict[str, str] = {}
    for line in _git(None, "ls-remote", "--tags", "--", url, timeout_s=LIST_TIMEOUT_S).splitlines():
        commit, _, ref = line.partition("\t")
        if ref.startswith("refs/tags/"):
            tag = ref.removeprefix("refs/tags/")
            refs[tag.removesuffix("^{}")] = commit
    return refs


def fetch(url: str, mirror: Path) -> None:
    """Bring all tags, with their history, into a bare repository; make it where it is missing.

    Raises:
        InsidersError: the repository cannot be read, or the disk not written.
    """
    make_directory(mirror)
    _git(None, "init", "--quiet", "--bare", "--", str(mirror))
    refspec = "+refs/tags/*:refs/tags/*"
    _git(
        mirror, "fetch", "--quiet", "--no-tags", "--prune", "--force", "--", url, refspec,
        timeout_s=FETCH_TIMEOUT_S,
    )  # fmt: skip


def export(mirror: Path, commit: str, tree: Path) -> int:
    """Check out one commit as a work tree of its own, with history and tags.

    Both are there because many build backends ask git for the version.

    Args:
        mirror: what `fetch` filled.
        commit: full hash.
        tree: a directory that is not there yet.

    Returns:
        The commit's time, in seconds of the epoch.

    Raises:
        InsidersError: the commit is not there, or the disk cannot be written.
    """
    clone = ("clone", "--quiet", "--shared", "--no-checkout", "--template=")
    _git(None, *clone, "--", str(mirror), str(tree), timeout_s=FETCH_TIMEOUT_S)
    _git(tree, "checkout", "--quiet", "--detach", commit, "--", timeout_s=FETCH_TIMEOUT_S)
    return int(_git(tree, "show", "--no-patch", "--format=%ct", commit, "--"))


def _git(directory: Path | None, *arguments: str, timeout_s: float = LIST_TIMEOUT_S) -> str:
    """Run git without prompts, without the repository around us and without its hooks."""
    # GitPython adds to the environment and cannot take away from it.
    for name in _LOCAL_ENVIRONMENT:
        os.environ.pop(name, None)
    command = ["git", "-c", "core.hooksPath=/dev/null", *arguments]
    _log.debug("+ %s", shlex.join(command))
    try:
        output = Git(directory or "/").execute(
            command, env=_ENVIRONMENT, kill_after_timeout=timeout_s, strip_newline_in_stdout=False
        )
    except GitCommandNotFound as error:
        raise InsidersError("git was not found", "install git") from error
    except GitCommandError as error:
        raise _translate(str(error.stderr), arguments[0], timeout_s) from error
    return str(output)


# What git and ssh say, what that means, and what helps. The first match counts.
_MEANINGS = (
    (
        r"Permission denied \(|Too many authentication failures|[Aa]ccess denied"
        + r"|Authentication failed|Invalid username or|could not read (?:Username|Password)"
        + r"|unable to read askpass",
        "no access: the host does not accept the credentials that git has here",
        "try `git ls-remote URL` in a shell; a key with a passphrase must be in the ssh agent",
    ),
    (
        r"Host key verification failed|no \w+ host key is known|No matching host key",
        "the host's ssh key is not known here",
        "connect once with `ssh` and check the fingerprint",
    ),
    (
        r"Repository not found|does not appear to be a git repository|not found|does not exist",
        "no such repository, or no access to it",
        "check the name, and that your sponsorship or account gives access",
    ),
    (
        r"Could not resolve host|Temporary failure in name resolution|Name or service not known",
        "the host's name cannot be resolved",
        "check the name and the network",
    ),
    (
        r"Connection (?:refused|timed out|reset|closed)|No route to host|Network is unreachable"
        + r"|Failed to connect|unable to connect|Operation timed out",
        "the host cannot be reached",
        "check the network; the next update tries again",
    ),
    (r"No space left on device|Disk quota exceeded", "the disk is full", "make room on that disk"),
    (
        r"transport '\w+' not allowed",
        "git may not use that transport here",
        "use https, ssh, git or file",
    ),
)


def _translate(stderr: str, command: str, timeout_s: float) -> InsidersError:
    """Say in one line why git failed, without any credential."""
    # GitPython quotes what it caught: `\n  stderr: '...'`.
    text = without_any_credentials(stderr.strip().removeprefix("stderr:").strip().strip("'"))
    if "Timeout: the command" in text:
        return InsidersError(
            f"git {command} took longer than {timeout_s:g} s", "the next update tries again"
        )
    for pattern, meaning, hint in _MEANINGS:
        if re.search(pattern, text):
            detail = _telling_line(text)
            return InsidersError(f"{meaning} ({detail})", hint)
    return InsidersError(f"git {command} failed: {_telling_line(text)}")


def _telling_line(text: str) -> str:
    """Pick the line that says most: the first fatal one or error, or else the last."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for line in lines:
        if re.match(
            r"(?:fatal|error|ERROR|ssh|.*: Permission denied|Host key|remote: ERROR)", line
        ):
            return re.sub(r"^(?:fatal|error|ERROR): ", "", line)
    return lines[-1] if lines else "it said nothing"


class UnreachableError(InsidersError):
    """The host of a repository is out of reach."""
