"""Run other programs, and capture or stream their output."""

import contextlib
import logging
import os
import select
import shlex
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from io import FileIO
from typing import IO, Any, NamedTuple

from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import hint_for, shortage

_log = logging.getLogger(__name__)


class Result(NamedTuple):
    """The exit status and the output of a program."""

    status: int
    stdout: str
    stderr: str


def run(
    argv: Sequence[str],
    *,
    timeout_s: float,
    environment: Mapping[str, str] | None = None,
    stdin: FileIO | str | None = None,
) -> Result:
    """Run a program without a shell or a terminal and return its result, whatever its status.

    Args:
        argv: the program and its arguments.
        timeout_s: the program is killed after this many seconds.
        environment: its whole environment (default: ours with the locale C.UTF-8).
        stdin: a file or a text that it reads (default: empty).

    Raises:
        InsidersError: the program is missing or took too long.
    """
    _log.debug("+ %s", shlex.join(argv))
    if environment is None:
        # Untranslated messages: callers match some of them.
        environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    try:
        done = subprocess.run(
            argv,
            **_input(stdin),
            capture_output=True,
            encoding="utf-8",
            # Other programs also print what is no UTF-8, such as names of files.
            errors="replace",
            env=environment,
            timeout=timeout_s,
            check=False,
        )
    except OSError as error:
        raise cannot_run(argv[0], error) from error
    except subprocess.TimeoutExpired as error:
        raise InsidersError(f"{argv[0]} timed out after {timeout_s:g} s") from error
    return Result(done.returncode, done.stdout, done.stderr)


def _input(stdin: FileIO | str | None) -> dict[str, Any]:
    if isinstance(stdin, str):
        return {"input": stdin}
    return {"stdin": subprocess.DEVNULL if stdin is None else stdin}


class Lines:
    """The lines of a running program's output."""

    def __init__(self, stream: IO[bytes] | None) -> None:
        self._stream = stream
        self._waiting = b""

    @property
    def has_ended(self) -> bool:
        """Return whether all lines have been read."""
        return self._stream is None and b"\n" not in self._waiting

    def wait(self, timeout_s: float) -> None:
        """Wait until output is available, at most `timeout_s` seconds."""
        if b"\n" not in self._waiting:
            select.select([self._stream] if self._stream else [], [], [], timeout_s)

    def next(self, timeout_s: float) -> str | None:
        """Return the next line without its line end; `None` after `timeout_s` seconds."""
        # Not readline: it would block in the middle of a line, and its buffer hides from select
        # what has been read already.
        until_s = time.monotonic() + timeout_s
        while b"\n" not in self._waiting:
            self.wait(left_s := max(0.0, until_s - time.monotonic()))
            if not self._stream or not select.select([self._stream], [], [], 0)[0]:
                if left_s > 0:
                    continue
                return None
            part = os.read(self._stream.fileno(), 65536)
            self._waiting += part
            if not part:
                self._stream = None
        line, _, self._waiting = self._waiting.partition(b"\n")
        return line.decode(errors="replace")


@contextlib.contextmanager
def printing(argv: Sequence[str]) -> Iterator[Lines]:
    """Run a program in this context and stream its output.

    The program is killed when the context ends.

    Raises:
        InsidersError: the program is missing.
    """
    _log.debug("+ %s", shlex.join(argv))
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "LC_ALL": "C.UTF-8"},
            # Ctrl-C reaches only this process, which first reads the last lines.
            start_new_session=True,
        )
    except OSError as error:
        raise cannot_run(argv[0], error) from error
    try:
        yield Lines(process.stdout)
    finally:
        # It has nothing to finish, and `journalctl --follow` would never end.
        process.kill()
        with process:
            pass


def cannot_run(program: str, error: OSError) -> InsidersError:
    """Return the error for a program that cannot be run."""
    # Python's error names the program, or the working directory if that is missing. An exhausted
    # limit has nothing to do with either.
    lacking = shortage(error)
    place = "" if lacking or error.filename in (program, None) else f": {error.filename}"
    if isinstance(error, FileNotFoundError) and not place:
        return InsidersError(f"{program} was not found", f"install {program}")
    hint = hint_for(error) if lacking else None
    return InsidersError(f"cannot run {program}: {error.strerror}{place}", hint)
