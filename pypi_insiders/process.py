"""Run other programs."""

import contextlib
import logging
import os
import shlex
import signal
import subprocess
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from pypi_insiders.errors import InsidersError

_log = logging.getLogger(__name__)

_OUTPUT_LIMIT_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True)
class Result:
    """What a program that has ended left behind."""

    status: int
    stdout: str
    stderr: str


def run(
    argv: Sequence[str],
    *,
    timeout_s: float,
    environment: Mapping[str, str] | None = None,
    text: str = "",
) -> Result:
    """Run a program to its end, without a shell or a terminal; any exit status is a result.

    Args:
        argv: the program and its arguments.
        timeout_s: after this many seconds it is killed.
        environment: all of its environment; by default ours with the C locale, so that its
            messages are the ones that we know.
        text: its input.

    Raises:
        InsidersError: the program is missing or took too long.
    """
    _log.debug("+ %s", shlex.join(argv))
    if environment is None:
        environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    try:
        done = subprocess.run(
            argv,
            input=text,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            env=environment,
            timeout=timeout_s,
            check=False,
        )
    except OSError as error:
        raise _cannot_run(argv[0], error) from error
    except subprocess.TimeoutExpired as error:
        raise InsidersError(f"{argv[0]} took longer than {timeout_s:g} s") from error
    return Result(done.returncode, done.stdout, done.stderr)


class Containment:
    """Run foreign code without our terminal, and end it with all that it started.

    Held is what stays in the process group. A process that leaves it is not; under systemd it ends
    with the unit.

    Source: setsid(2), killpg(3).
    """

    def __init__(self) -> None:
        self._groups: set[int] = set()
        self._ended = threading.Event()

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout_s: float,
        environment: Mapping[str, str],
        directory: Path,
    ) -> Result:
        """Run a program to its end; no process of its group outlives it.

        Args:
            argv: the program and its arguments.
            timeout_s: after this many seconds it is killed.
            environment: all of its environment.
            directory: where it runs.

        Returns:
            Its status, -9 if it was killed, and what it wrote, in `stdout`; of very much the end.

        Raises:
            InsidersError: the program cannot be run.
        """
        _log.debug("+ %s", shlex.join(argv))
        # A file and no pipe: a process that is left behind would keep a pipe open.
        with tempfile.TemporaryFile() as output:
            try:
                process = subprocess.Popen(
                    argv,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=environment,
                    cwd=directory,
                    start_new_session=True,
                    umask=0o022,
                )
            except OSError as error:
                raise _cannot_run(argv[0], error) from error
            self._groups.add(process.pid)
            try:
                if self._ended.is_set():
                    _kill_group(process.pid)
                process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                output.write(f"\nkilled after {timeout_s:g} s\n".encode())
            finally:
                _kill_group(process.pid)
                status = process.wait()
                self._groups.discard(process.pid)
            output.seek(max(0, output.seek(0, os.SEEK_END) - _OUTPUT_LIMIT_BYTES))
            return Result(status, output.read().decode(errors="replace"), "")

    def end(self) -> None:
        """Kill all that runs, in whatever thread, and whatever is begun from now on."""
        self._ended.set()
        for group in tuple(self._groups):
            _kill_group(group)


def _kill_group(leader: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)


def attached(argv: Sequence[str]) -> int:
    """Run a program that prints for the person, on our own standard output; return its status.

    Raises:
        InsidersError: the program is missing.
    """
    _log.debug("+ %s", shlex.join(argv))
    try:
        return subprocess.run(argv, stdin=subprocess.DEVNULL, check=False).returncode
    except OSError as error:
        raise _cannot_run(argv[0], error) from error


def interactive(argv: Sequence[str]) -> int:
    """Run a program that a person works with, such as an editor; return its status.

    Ctrl-C is meant for it, and not for us. Source: launch_specified_editor in git's editor.c.

    Raises:
        InsidersError: the program cannot be run.
    """
    _log.debug("+ %s", shlex.join(argv))
    # A handler, for the program would inherit that they are ignored. Source: execve(2).
    keys = (signal.SIGINT, signal.SIGQUIT)
    before = {number: signal.signal(number, lambda *_: None) for number in keys}
    try:
        return subprocess.run(argv, check=False).returncode
    except OSError as error:
        raise _cannot_run(argv[0], error) from error
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def become(argv: Sequence[str]) -> NoReturn:
    """Replace this process by a program, which inherits the terminal and ends in our place.

    Raises:
        InsidersError: the program is missing.

    Source: execvp(3).
    """
    _log.debug("+ exec %s", shlex.join(argv))
    try:
        os.execvp(argv[0], list(argv))
    except OSError as error:
        raise _cannot_run(argv[0], error) from error


def _cannot_run(program: str, error: OSError) -> InsidersError:
    # Python names the program or, if that is what is missing, the directory where it should run.
    place = "" if error.filename in (program, None) else f": {error.filename}"
    if isinstance(error, FileNotFoundError) and not place:
        return InsidersError(f"{program} was not found", f"install {program}")
    return InsidersError(f"{program} cannot be run: {error.strerror}{place}")
