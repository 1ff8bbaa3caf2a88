"""Run other programs to their end, or read what they print."""

import contextlib
import logging
import os
import select
import shlex
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import FileIO
from typing import IO, Any

from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import hint_for, shortage

_log = logging.getLogger(__name__)


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
    stdin: FileIO | str | None = None,
) -> Result:
    """Run a program to its end, without a shell or a terminal; any exit status is a result.

    Args:
        argv: the program and its arguments.
        timeout_s: after this many seconds it is killed.
        environment: all of its environment; by default ours with the C locale, so that its
            messages are the ones that we know.
        stdin: a file that it reads, or a text; by default it has nothing to read.

    Raises:
        InsidersError: the program is missing or took too long.
    """
    _log.debug("+ %s", shlex.join(argv))
    if environment is None:
        environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    try:
        done = subprocess.run(
            argv,
            **_input(stdin),
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            env=environment,
            timeout=timeout_s,
            check=False,
        )
    except OSError as error:
        raise cannot_run(argv[0], error) from error
    except subprocess.TimeoutExpired as error:
        raise InsidersError(f"{argv[0]} took longer than {timeout_s:g} s") from error
    return Result(done.returncode, done.stdout, done.stderr)


def _input(stdin: FileIO | str | None) -> dict[str, Any]:
    if isinstance(stdin, str):
        return {"input": stdin}
    return {"stdin": subprocess.DEVNULL if stdin is None else stdin}


class Lines:
    """The lines that a program prints while it runs, one after the other."""

    def __init__(self, stream: IO[bytes] | None) -> None:
        self._stream = stream
        self._waiting = b""

    @property
    def has_ended(self) -> bool:
        """Return whether nothing will come any more."""
        return self._stream is None and b"\n" not in self._waiting

    def wait(self, timeout_s: float) -> None:
        """Wait until something has come, or for so many seconds."""
        if b"\n" not in self._waiting:
            select.select([self._stream] if self._stream else [], [], [], timeout_s)

    def next(self, timeout_s: float) -> str | None:
        """Return the next line without its end; `None` if none comes within so many seconds."""
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
    """Run a program for as long as the context lasts, and read what it prints.

    A terminal ends us and not the program, which ends with the context.

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
            start_new_session=True,
        )
    except OSError as error:
        raise cannot_run(argv[0], error) from error
    try:
        yield Lines(process.stdout)
    finally:
        process.kill()
        with process:
            pass


def cannot_run(program: str, error: OSError) -> InsidersError:
    """Return the error that says why a program cannot be run."""
    # Python names the program or, if that is what is missing, the directory where it should run.
    place = "" if error.filename in (program, None) else f": {error.filename}"
    if isinstance(error, FileNotFoundError) and not place:
        return InsidersError(f"{program} was not found", f"install {program}")
    hint = hint_for(error) if shortage(error) else None
    return InsidersError(f"{program} cannot be run: {error.strerror}{place}", hint)
