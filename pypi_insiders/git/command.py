"""Run git, through GitPython."""

import contextlib
import logging
import os
import shlex
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pypi_insiders.git.errors import UnreachableError, explain
from pypi_insiders.util import disk_reserve
from pypi_insiders.util.disk_reserve import DiskFullError
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.process_group import activity, kill_with_descendants
from pypi_insiders.util.time_limit import shortened

# GitPython looks for git when it is imported, and fails there without one.
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")

from git.cmd import Git
from git.exc import GitCommandNotFound

_log = logging.getLogger(__name__)

TIMEOUT_S = 60
# For a host that is slow, not for one that hangs: that is what STALL_TIMEOUT_S ends.
FETCH_TIMEOUT_S = 1800
STALL_TIMEOUT_S = 120
"""After so long without anything that moves, a host that should send something hangs."""
_LOOKS = 8
_LOOK_S = 0.1
"""How often it is looked whether there is room on the disk, and how much was printed."""
_OUTPUT_LIMIT_BYTES = 256 * 1024 * 1024
"""More than the list of a million tags has."""
_END_TIMEOUT_S = 5
# A damaged repository can end git by a signal, but by none of these.
_FROM_OTHERS = (signal.SIGHUP, signal.SIGINT, signal.SIGKILL, signal.SIGTERM)
# ssh may go on asking whether its host is alive, and what git asks by https with wakes up often.
_APART, _WAITING = ("ssh",), ("git-remote-",)

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
    "GIT_TERMINAL_PROMPT": "0",
    # ssh asks this program instead of the terminal, whatever `core.sshCommand` says, and the
    # program says nothing. Source: ssh(1), "ENVIRONMENT"; OpenSSH >= 8.4.
    "SSH_ASKPASS": "false",
    "SSH_ASKPASS_REQUIRE": "force",
    "GIT_ASKPASS": "false",
    "LC_ALL": "C.UTF-8",
    # A git that would rather have these otherwise cannot be read by an older one.
    "GIT_DEFAULT_HASH": "sha1",
    "GIT_DEFAULT_REF_FORMAT": "files",
    "GIT_TRACE_REDACT": "1",
    # What is missing in a mirror is not fetched unasked: a host that has only files would make git
    # start git without end. Older than 2.39.4, git does not know this variable.
    "GIT_NO_LAZY_FETCH": "1",
}

# Nothing runs that a repository could bring along, and nothing in the background. A file system
# monitor is asked about work trees only: mirrors have none, and those of builds are checked out
# without the user's settings.
_OPTIONS = (
    "core.hooksPath=/dev/null",
    "gc.auto=0",
    "maintenance.auto=false",
)


@dataclass(frozen=True)
class GitSettings:
    """What git is told beside a command."""

    options: tuple[str, ...] = ()
    """Settings, each `KEY=VALUE`, which win over those of files."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables."""
    connects: bool = False
    """Whether it is about a host, which may not answer."""
    access_hint: str | None = None
    """What helps if the host gives no access."""


LOCAL = GitSettings(
    options=("core.attributesFile=/dev/null", "core.excludesFile=/dev/null"),
    environment={
        # Not the person's settings, which could change what is checked out.
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_SYSTEM": os.devnull,
        "GIT_CONFIG_COUNT": "0",
        "GIT_CONFIG_PARAMETERS": "",
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_ALLOW_PROTOCOL": "none",
    },
)
"""For what has no need of a host: without the person's settings, and without any connection."""


@dataclass(frozen=True)
class GitResult:
    """What git left behind."""

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
    """Run git without prompts, without the repository around us and without hooks.

    Args:
        arguments: the command and its arguments.
        directory: where it runs.
        settings: by default none of the person's, and no connection.
        stdin: lines to read.
        timeout_s: after this many seconds it is killed, or before that at a `TimeLimit`.
        file_limit_bytes: of a file that it writes; if one grows larger, git fails.

    Raises:
        UnreachableError: it connects, and took too long, or the host sent nothing for long.
        DiskFullError: it was killed because the disk is almost full.
        InsidersError: there is no git, it took too long, or was killed by others.
    """
    # GitPython adds to the environment and cannot take away from it.
    for name in _LOCAL_ENVIRONMENT:
        os.environ.pop(name, None)
    timeout_s = shortened(timeout_s)
    until_s = time.monotonic() + timeout_s
    options = [word for option in (*_OPTIONS, *settings.options) for word in ("-c", option)]
    command = [*_limited(file_limit_bytes), "git", *options, *arguments]
    _log.debug("+ %s", shlex.join(command))
    try:
        # A file, for GitPython hands it to git as it is: a pipe would have to be written while
        # output is read.
        with tempfile.TemporaryFile() as lines:
            lines.writelines(f"{line}\n".encode() for line in stdin)
            lines.seek(0)
            started = Git(directory or "/").execute(
                command,
                istream=lines,
                env={**_ENVIRONMENT, **settings.environment},
                as_process=True,
                umask=0o022,
            )
            stdout, stderr, status = _finish(started.proc, until_s, connects=settings.connects)
    except GitCommandNotFound as error:
        raise InsidersError("git was not found", "install git") from error
    if status is None and disk_reserve.is_exhausted():
        raise DiskFullError(f"git {_name(arguments)}: {disk_reserve.ALMOST_FULL}")
    if status is None:
        # It was ended before its time, so it was the host.
        has_stalled = time.monotonic() < until_s
        what = (
            f"the host sent nothing for {STALL_TIMEOUT_S:g} s"
            if has_stalled
            else f"git {_name(arguments)} took longer than {timeout_s:.0f} s"
        )
        kind = UnreachableError if settings.connects else InsidersError
        raise kind(what, "the next update tries again")
    # To try again helps, and to make the mirror anew, as after other failures, would not.
    if -status in _FROM_OTHERS:
        raise InsidersError(
            f"git {_name(arguments)} was ended by signal {-status}", "the next update tries again"
        )
    return GitResult(status, _decoded(stdout), _decoded(stderr).rstrip("\n"))


def _finish(
    process: "subprocess.Popen[bytes] | None", until_s: float, *, connects: bool
) -> tuple[bytes, bytes, int | None]:
    """Wait for the end of a process; return its output and status, `None` if it was killed.

    It is killed at a time of the monotonic clock, or before that if it waits for a host in vain,
    or fills the disk.
    """
    if process is None:
        raise RuntimeError("git has ended already")
    with _running(process.pid):
        return _wait(process, until_s, connects=connects)


def _wait(
    process: "subprocess.Popen[bytes]", until_s: float, *, connects: bool
) -> tuple[bytes, bytes, int | None]:
    seen, since_s = None, time.monotonic()
    look_at_s = since_s
    while (left_s := until_s - time.monotonic()) > 0:
        output: tuple[bytes, bytes] | None = None
        try:
            # communicate() goes on where it was after a timeout, and loses nothing of the output.
            output = process.communicate(timeout=min(left_s, _LOOK_S))
            printed = sum(map(len, output))
        except subprocess.TimeoutExpired as error:
            printed = len(error.output or b"") + len(error.stderr or b"")
        # A host can have as many refs as it likes, and all of them would be in memory at once.
        if printed > _OUTPUT_LIMIT_BYTES:
            kill_with_descendants(process.pid)
            raise InsidersError(f"git printed more than {_OUTPUT_LIMIT_BYTES // 1024**2} MiB")
        if output is not None:
            return (*output, process.returncode)
        if disk_reserve.is_exhausted():
            break
        if not connects or time.monotonic() < look_at_s:
            continue
        # Each look reads /proc for all descendants, so it is not done ten times a second.
        look_at_s = time.monotonic() + STALL_TIMEOUT_S / _LOOKS
        before, seen = seen, activity(process.pid, apart=_APART, waiting=_WAITING)
        # Nothing can be seen where /proc is hidden: then only the time limit counts.
        if seen is None or seen != before:
            since_s = time.monotonic()
        elif time.monotonic() - since_s >= STALL_TIMEOUT_S:
            break
    # GitPython's own way to kill needs `pgrep` or `ps`: without them ssh and others stay, and keep
    # the pipes open.
    kill_with_descendants(process.pid)
    # What was killed cannot hold the pipes open, but a descendant that has left the group could.
    with contextlib.suppress(subprocess.TimeoutExpired):
        return (*process.communicate(timeout=_END_TIMEOUT_S), None)
    return b"", b"", None


_pids: set[int] = set()


@contextlib.contextmanager
def _running(pid: int) -> Iterator[None]:
    _pids.add(pid)
    try:
        yield
    finally:
        _pids.discard(pid)


def end() -> None:
    """Kill all that git does now, in whatever thread."""
    for pid in tuple(_pids):
        kill_with_descendants(pid)


def _decoded(output: bytes) -> str:
    return output.decode(errors="surrogateescape")


def _limited(file_limit_bytes: int | None) -> tuple[str, ...]:
    """Write what must stand before a command so that no file that it writes grows larger.

    Source: POSIX, `ulimit`, which counts blocks of 512 bytes.
    """
    if file_limit_bytes is None:
        return ()
    # By a shell, for preexec_fn is not safe where threads run. Source: subprocess, in Python's
    # documentation. Beyond the limit git gets SIGXFSZ.
    return ("sh", "-c", f'ulimit -f {file_limit_bytes // 512} && exec "$@"', "sh")


def git(
    *arguments: str,
    directory: Path | None = None,
    settings: GitSettings = LOCAL,
    stdin: Iterable[str] = (),
    timeout_s: float = TIMEOUT_S,
    file_limit_bytes: int | None = None,
) -> str:
    """Run git as `attempt` does; return what it prints.

    Raises:
        UnreachableError: the host cannot be reached.
        UnexplainedError: git failed, and we do not know why.
        InsidersError: git failed; the message says why.
    """
    result = attempt(
        *arguments,
        directory=directory,
        settings=settings,
        stdin=stdin,
        timeout_s=timeout_s,
        file_limit_bytes=file_limit_bytes,
    )
    if result.status != 0:
        raise explain(
            result.stderr,
            _name(arguments),
            connects=settings.connects,
            access_hint=settings.access_hint,
        )
    return result.stdout


def _name(arguments: Sequence[str]) -> str:
    """Name the command of git, behind its own options."""
    words = iter(arguments)
    for word in words:
        if word == "-c":
            next(words)
        elif not word.startswith("-"):
            return word
    raise ValueError(arguments)


def in_mirror(
    mirror: Path,
    *arguments: str,
    settings: GitSettings = LOCAL,
    stdin: Iterable[str] = (),
    timeout_s: float = TIMEOUT_S,
    file_limit_bytes: int | None = None,
) -> str:
    """Run git on a bare repository, whatever repository is around it."""
    return git(
        # Without it git looks for a repository in the directories above, and its settings would
        # count. It also skips the check of safe.directory, which fails for mirrors of another
        # owner.
        f"--git-dir={mirror}",
        *arguments,
        settings=settings,
        stdin=stdin,
        timeout_s=timeout_s,
        file_limit_bytes=file_limit_bytes,
    )


def in_tree(
    tree: Path, *arguments: str, stdin: Iterable[str] = (), timeout_s: float = TIMEOUT_S
) -> str:
    """Run git on a work tree, whatever repository is around it."""
    return git(
        f"--git-dir={tree / '.git'}", *arguments, directory=tree, stdin=stdin, timeout_s=timeout_s
    )
