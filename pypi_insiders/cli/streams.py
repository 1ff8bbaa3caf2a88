"""Keep a standard stream that takes nothing more from ending a command half way."""

import errno
import io
import os
import sys
from typing import Any, TextIO

from pypi_insiders.util.errors import InsidersError, reason


class _Stream(io.RawIOBase):
    """A standard stream that discards all that follows a failed write, and remembers the failure.

    Args:
        descriptor: 1 or 2.
        lost: why nothing can be written from the start; `None`: it can.
    """

    def __init__(self, descriptor: int, lost: OSError | None) -> None:
        self._descriptor = descriptor
        self._lost = lost
        self.failure: OSError | None = None

    def fileno(self) -> int:
        """Return the descriptor, which others may need."""
        return self._descriptor

    def writable(self) -> bool:
        """Return that this is for output."""
        return True

    def isatty(self) -> bool:
        """Return whether it is a terminal."""
        return os.isatty(self._descriptor)

    def write(self, data: Any, /) -> int:
        """Write, or discard."""
        # Only now: a command that prints nothing has lost nothing.
        if self._lost is not None:
            self.failure = self._lost
        try:
            return os.write(self._descriptor, data)
        except OSError as error:
            self.failure = error
            # What is done goes on to its end: an update is not to stop for `| head -1`. Programs
            # that this one starts write there as well, and what is buffered is flushed at the end.
            _discard(self._descriptor)
            return memoryview(data).nbytes


def _discard(descriptor: int) -> None:
    sink = os.open(os.devnull, os.O_RDWR)
    os.dup2(sink, descriptor)
    # Of a closed stream, `open` may return just this number.
    if sink != descriptor:
        os.close(sink)


_output: list[_Stream] = []


def guard() -> None:
    """Let no write to standard output or standard error fail from now on.

    A stream that was closed when this process was started is replaced, or else the next file that
    is opened would get its number, and what programs print.
    """
    # Python has `None` in the place of a stream that was closed when it started.
    if sys.stdin is None:
        _discard(0)
        sys.stdin = io.TextIOWrapper(io.BytesIO())
    sys.stdout, output = _guarded(sys.stdout, 1)
    sys.stderr, _ = _guarded(sys.stderr, 2)
    _output[:] = [output]


def _guarded(stream: TextIO | None, descriptor: int) -> tuple[TextIO, _Stream]:
    lost = None
    if stream is None:
        lost = OSError(errno.EBADF, "the stream is closed")
        _discard(descriptor)
    raw = _Stream(descriptor, lost)
    text = io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=stream.encoding if stream else "utf-8",
        errors=stream.errors if stream else "replace",
        # As Python itself does it.
        line_buffering=descriptor == 2 or raw.isatty(),
    )
    return text, raw


def demand_written() -> None:
    """Flush standard output.

    Raises:
        InsidersError: something of it could not be written; a reader that has gone is no failure.
    """
    sys.stdout.flush()
    failure = _output[0].failure if _output else None
    if failure is not None and not isinstance(failure, BrokenPipeError):
        raise InsidersError(f"cannot write to standard output: {reason(failure)}")
