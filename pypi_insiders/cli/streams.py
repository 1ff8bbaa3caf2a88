"""Keep a standard stream that takes nothing more from ending a command half way."""

import errno
import io
import os
import sys
from typing import Any, TextIO

from pypi_insiders.util.errors import InsidersError, reason


class _Stream(io.FileIO):
    """A standard stream that discards all that follows a failed write, and remembers the failure.

    Args:
        descriptor: 1 or 2, or what stands in for it.
        lost: why nothing can be written from the start; `None`: it can.
    """

    def __init__(self, descriptor: int, lost: OSError | None) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self._lost = lost
        self.failure: OSError | None = None

    def write(self, data: Any, /) -> int | None:
        """Write, or discard."""
        if self._lost is not None:
            self.failure = self._lost
        try:
            return super().write(data)
        except OSError as error:
            self.failure = error
            # What is done goes on to its end: an update is not to stop for `| head -1`. Programs
            # that this one starts write there as well, and what is buffered is flushed at the end.
            with open(os.devnull, "wb") as sink:
                os.dup2(sink.fileno(), self.fileno())
            return memoryview(data).nbytes


_output: list[_Stream] = []


def guard() -> None:
    """Let no write to standard output or standard error fail from now on."""
    sys.stdin = sys.stdin or open(os.devnull, encoding="utf-8")
    sys.stdout, output = _guarded(sys.stdout, 1)
    sys.stderr, _ = _guarded(sys.stderr, 2)
    _output[:] = [output]


def _guarded(stream: TextIO | None, descriptor: int) -> tuple[TextIO, _Stream]:
    lost = None
    if stream is None:  # it was closed when this process was started
        lost = OSError(errno.EBADF, "the stream is closed")
        stream = open(os.devnull, "w", encoding="utf-8")
        # Or else the next file that is opened, such as a state, would get what programs print.
        os.dup2(stream.fileno(), descriptor)
    raw = _Stream(descriptor, lost)
    text = io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=stream.encoding,
        errors=stream.errors,
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
