"""Run git, with GitPython."""

import contextlib
import logging
import os
import shlex
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import BinaryIO, TypedDict, Unpack

from pypi_insiders.git import running
from pypi_insiders.git.diagnosis import Remote, explain
from pypi_insiders.git.errors import UnreachableError
from pypi_insiders.util import disk_reserve
from pypi_insiders.util.disk_reserve import DiskFullError
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.time_limit import shortened

# GitPython looks for git when it is imported, and raises ImportError without it.
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")

from git.cmd import Git
from git.exc import GitCommandNotFound

_log = logging.getLogger(__name__)

TIMEOUT_S = 60
# For a slow host. A host that hangs is ended by `running.STALL_TIMEOUT_S`.
FETCH_TIMEOUT_S = 1800
# With these, git would work on another repository, for example when called by a hook of git.
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

ENVIRONMENT = {
    "GIT_TERMINAL_PROMPT": "0",
    # ssh asks this program for passwords instead of the terminal, and it answers nothing. Not
    # GIT_SSH_COMMAND with BatchMode, which would override the user's `core.sshCommand`.
    # Source: ssh(1), "ENVIRONMENT"; OpenSSH >= 8.4.
    "SSH_ASKPASS": "false",
    "SSH_ASKPASS_REQUIRE": "force",
    "GIT_ASKPASS": "false",
    # Without a locale, which git and its helpers would each load, a tenth of their processor time.
    "LC_ALL": "C",
    # A repository in a newer format could not be read by an older git.
    "GIT_DEFAULT_HASH": "sha1",
    "GIT_DEFAULT_REF_FORMAT": "files",
    "GIT_TRACE_REDACT": "1",
    # Missing objects are fetched explicitly, all at once. On its own git would fetch one by one,
    # and with a host that serves files only, start itself without end. Git before 2.39.4 ignores
    # this variable.
    "GIT_NO_LAZY_FETCH": "1",
}
"""Of git and of the programs that it runs, in addition to ours."""

# No code of a repository runs, and nothing in the background. core.fsmonitor needs no mention: it
# concerns work trees only, and those are checked out without the user's settings.
_OPTIONS = (
    "core.hooksPath=/dev/null",
    "gc.auto=0",
    "maintenance.auto=false",
)


@dataclass(frozen=True)
class GitSettings:
    """Settings and environment of a git command."""

    options: tuple[str, ...] = ()
    """Settings `KEY=VALUE`, which override configuration files."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Environment variables."""
    remote: Remote | None = None
    """The repository to which the command connects; `None`: it does not."""

    def adding(self, environment: Mapping[str, str], *options: str) -> "GitSettings":
        """Return these settings with further variables and settings `KEY=VALUE`."""
        return replace(
            self,
            options=(*self.options, *options),
            environment={**self.environment, **environment},
        )


LOCAL = GitSettings(
    options=("core.attributesFile=/dev/null", "core.excludesFile=/dev/null"),
    environment={
        # The user's settings could change the checked out files.
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_SYSTEM": os.devnull,
        "GIT_CONFIG_COUNT": "0",
        "GIT_CONFIG_PARAMETERS": "",
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_ALLOW_PROTOCOL": "none",
    },
)
"""For local commands: without the user's settings, and without connections."""


class Options(TypedDict, total=False):
    """The options of `attempt`, but for the working directory."""

    settings: GitSettings
    stdin: Iterable[str]
    timeout_s: float
    file_limit_bytes: int | None


@dataclass(frozen=True)
class GitResult:
    """The exit status and output of git."""

    status: int
    stdout: str
    stderr: str


def attempt(
    *arguments: str,
    directory: Path | None = None,
    settings: GitSettings = LOCAL,
    stdin: Iterable[str] = (),
    timeout_s: float = TIMEOUT_S,
    file_limit_bytes: int | None = None,
) -> GitResult:
    """Run git without prompts and hooks; return its result, whatever its status.

    Args:
        arguments: the command and its arguments.
        directory: the working directory.
        settings: settings and environment (default: `LOCAL`).
        stdin: lines of its standard input.
        timeout_s: git is killed after this many seconds, or at the `TimeLimit` of this thread.
        file_limit_bytes: git fails if a file that it writes grows larger.

    Raises:
        UnreachableError: git connects, and takes too long or makes no progress.
        AccessError: it waits for a credential helper.
        DiskFullError: git was killed because the disk is almost full.
        InsidersError: git is missing, took too long, or another process killed it.
    """
    # From os.environ: GitPython adds to the environment, and cannot remove variables.
    for name in _LOCAL_ENVIRONMENT:
        os.environ.pop(name, None)
    timeout_s = shortened(timeout_s)
    until_s = time.monotonic() + timeout_s
    options = [word for option in (*_OPTIONS, *settings.options) for word in ("-c", option)]
    limited = _limited(file_limit_bytes)
    command = [*limited, "git", *options, *arguments]
    if _log.isEnabledFor(logging.DEBUG):
        _log.debug("+ %s", shlex.join(command))
    try:
        with _file_of(stdin) as lines:
            started = (Git(directory) if directory else _ANYWHERE).execute(
                command,
                executable=None if limited else _git_in(os.environ.get("PATH")),
                istream=lines,
                env={**ENVIRONMENT, **settings.environment},
                as_process=True,
                umask=0o022,
            )
            stdout, stderr, status = running.finish(
                started.proc, until_s, connects=settings.remote is not None
            )
    except GitCommandNotFound as error:
        raise InsidersError("git was not found", "install git") from error
    if status is None and disk_reserve.is_exhausted():
        raise DiskFullError(f"git {_name(arguments)}: {disk_reserve.ALMOST_FULL}")
    if status is None:
        # Killed before its time, so the host made no progress.
        has_stalled = time.monotonic() < until_s
        what = (
            f"the host sent nothing for {running.STALL_TIMEOUT_S:g} s"
            if has_stalled
            else f"git {_name(arguments)} timed out after {timeout_s:.0f} s"
        )
        kind = UnreachableError if settings.remote else InsidersError
        raise kind(what, "the next update tries again")
    # Not UnexplainedError, after which the mirror is recreated: that would not help here.
    if -status in running.EXTERNAL_SIGNALS:
        raise InsidersError(
            f"git {_name(arguments)} was killed by signal {-status}", "the next update tries again"
        )
    return GitResult(status, _decoded(stdout), _decoded(stderr).rstrip("\n"))


_ANYWHERE = Git("/")


@cache
def _git_in(path: str | None) -> str | None:
    """Return the path of git in `$PATH`; `None`: it is looked for at its start."""
    # An update starts it a thousand times, each time with an execve(2) for each directory.
    found = shutil.which("git", path=path)
    # A relative one would be another one in another working directory.
    return found if found and found.startswith("/") else None


@contextlib.contextmanager
def _file_of(lines: Iterable[str]) -> Iterator[BinaryIO | None]:
    """Open a file with lines, for the standard input of git; `None`: it is empty."""
    if not (lines := tuple(lines)):
        yield None
        return
    # Not a pipe, which would have to be written while output is read.
    with tempfile.TemporaryFile() as file:
        file.writelines(f"{line}\n".encode() for line in lines)
        file.seek(0)
        yield file


def _decoded(output: bytearray) -> str:
    # File names and refs are bytes in git; this way they survive unchanged.
    return output.decode(errors="surrogateescape")


def _limited(file_limit_bytes: int | None) -> tuple[str, ...]:
    """Return the prefix of a command line that limits the size of files.

    Source: POSIX, `ulimit`, which counts blocks of 512 bytes.
    """
    if file_limit_bytes is None:
        return ()
    # With a shell, because preexec_fn is not safe in a process with threads (Python's subprocess).
    # Beyond the limit git gets SIGXFSZ.
    return ("sh", "-c", f'ulimit -f {file_limit_bytes // 512} && exec "$@"', "sh")


def git(*arguments: str, directory: Path | None = None, **options: Unpack[Options]) -> str:
    """Run git as `attempt` does; return its output.

    Raises:
        UnreachableError: the host is unreachable.
        UnexplainedError: git failed for an unknown reason.
        InsidersError: git failed for a known reason.
    """
    result = attempt(*arguments, directory=directory, **options)
    if result.status != 0:
        remote = options.get("settings", LOCAL).remote
        raise explain(result.stderr, _name(arguments), remote)
    return result.stdout


def _name(arguments: Sequence[str]) -> str:
    """Return the git command that follows git's own options."""
    words = iter(arguments)
    for word in words:
        if word == "-c":
            next(words)
        elif not word.startswith("-"):
            return word
    raise ValueError(arguments)


def in_mirror(mirror: Path, *arguments: str, **options: Unpack[Options]) -> str:
    """Run git on a bare repository."""
    # Otherwise git would search the parent directories for a repository and use its settings. It
    # also skips the check of safe.directory, which fails for a mirror of another owner.
    return git(f"--git-dir={mirror}", *arguments, **options)


def in_tree(tree: Path, *arguments: str, stdin: Iterable[str] = ()) -> str:
    """Run git on a work tree."""
    return git(f"--git-dir={tree / '.git'}", *arguments, directory=tree, stdin=stdin)
