"""Wait for git processes, and kill those that take too long or print too much."""

import contextlib
import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from typing import IO

from pypi_insiders.git.errors import AccessError
from pypi_insiders.git.waiting import waiting_helper
from pypi_insiders.util import disk_reserve
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.process_group import activity, kill_with_descendants

STALL_TIMEOUT_S = 120
"""A host that makes no progress for this time is treated as unreachable."""
_CHECKS_PER_STALL = 8
_CHECK_S = 0.1
"""How often the disk is checked."""
_BLOCK_BYTES = 64 * 1024
_OUTPUT_LIMIT_BYTES = 256 * 1024 * 1024
"""More than a list of a million tags."""
_ERRORS_LIMIT_BYTES = 16 * 1024 * 1024
"""A host writes them too, and their lines take several times as much memory."""
_END_TIMEOUT_S = 5
# Signals from outside. A damaged repository can crash git with others, such as SIGSEGV.
EXTERNAL_SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGKILL, signal.SIGTERM)
# ssh may send keep-alive messages to a host that hangs, and git-remote-https polls.
_APART, _WAITING = ("ssh",), ("git-remote-",)


def finish(
    process: "subprocess.Popen[bytes] | None", until_s: float, *, connects: bool
) -> tuple[bytearray, bytearray, int | None]:
    """Wait for a git process; return its output, its errors and its status, `None` if killed.

    It is killed at `until_s` of the monotonic clock, or earlier if the host makes no progress or
    the disk is almost full.

    Args:
        process: its output and its errors are pipes.
        until_s: a time of the monotonic clock.
        connects: whether it connects to a host.

    Raises:
        AccessError: it waits for a credential helper.
        InsidersError: it printed too much.
    """
    if process is None or process.stdout is None or process.stderr is None:
        raise RuntimeError("git has ended already")
    with process.stdout, process.stderr, ending(process.pid):
        output = _Output(process.stdout, process.stderr)
        if _wait(process, output, until_s, connects=connects):
            return output.printed, output.errors, process.returncode
        # Of this machine: to wait for the host to come back would hide it.
        helper = waiting_helper(process.pid) if connects else None
        # Not GitPython's kill, which needs ps(1) to find descendants: without it ssh would survive.
        kill_with_descendants(process.pid)
        # With a timeout: it may be in a read of the disk that no signal ends.
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_END_TIMEOUT_S)
    if helper is not None and not disk_reserve.is_exhausted():
        raise AccessError(
            f"credential helper {helper} does not answer",
            "it may wait for you to unlock a keyring or to sign in; see where it is set: "
            "`git config --show-origin --get-all credential.helper`",
        )
    return bytearray(), bytearray(), None


class _Output:
    """What a process prints, within the limits."""

    # Not communicate(), which makes a selector, and sleeps until it looks for the end again: most
    # commands end within milliseconds.

    def __init__(self, printed: IO[bytes], errors: IO[bytes]) -> None:
        self.printed, self.errors = bytearray(), bytearray()
        self._open = {printed.fileno(): self.printed, errors.fileno(): self.errors}
        self._poll = select.poll()  # unlike select, takes descriptors above 1023
        for descriptor in self._open:
            self._poll.register(descriptor, select.POLLIN)

    @property
    def is_open(self) -> bool:
        """Whether more may come."""
        return bool(self._open)

    def take(self, timeout_s: float) -> None:
        """Read what has come; wait for it at most `timeout_s` seconds.

        Raises:
            InsidersError: it is more than the limits.
        """
        for descriptor, _ in self._poll.poll(timeout_s * 1000):
            part = os.read(descriptor, _BLOCK_BYTES)
            self._open[descriptor] += part
            if not part:
                self._poll.unregister(descriptor)
                del self._open[descriptor]
        # A host can list any number of refs, all of which would be in memory.
        if len(self.printed) + len(self.errors) > _OUTPUT_LIMIT_BYTES:
            raise InsidersError(f"git printed more than {_OUTPUT_LIMIT_BYTES // 1024**2} MiB")
        if len(self.errors) > _ERRORS_LIMIT_BYTES:
            limit = f"{_ERRORS_LIMIT_BYTES // 1024**2} MiB of errors"
            raise InsidersError(f"git printed more than {limit}")


def _wait(
    process: "subprocess.Popen[bytes]", output: _Output, until_s: float, *, connects: bool
) -> bool:
    """Wait for the end of a process; return whether it has ended by itself."""
    seen, since_s = None, time.monotonic()
    check_at_s, look_at_s = since_s + _CHECK_S, since_s + STALL_TIMEOUT_S / _CHECKS_PER_STALL
    while (now_s := time.monotonic()) < until_s:
        wait_s = max(0.0, min(until_s, check_at_s) - now_s)
        # It may close its output and go on, and a child may keep the output open after its end.
        if output.is_open:
            try:
                output.take(wait_s)
            except InsidersError:
                kill_with_descendants(process.pid)
                raise
        else:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(wait_s)
                return True
        # Not after every block of a long output.
        if time.monotonic() < check_at_s:
            continue
        check_at_s = time.monotonic() + _CHECK_S
        if disk_reserve.is_exhausted():
            return False
        if not connects or time.monotonic() < look_at_s:
            continue
        # Less often than the disk, because it reads /proc for all descendants.
        look_at_s = time.monotonic() + STALL_TIMEOUT_S / _CHECKS_PER_STALL
        before, seen = seen, activity(process.pid, apart=_APART, waiting=_WAITING)
        # `None` if /proc is hidden: then only the time limit applies.
        if seen is None or seen != before:
            since_s = time.monotonic()
        elif time.monotonic() - since_s >= STALL_TIMEOUT_S:
            return False
    return False


_pids: set[int] = set()
_has_ended = threading.Event()


@contextlib.contextmanager
def ending(pid: int) -> Iterator[None]:
    """Let `end` kill a process of this context with its descendants."""
    _pids.add(pid)
    # `end` may have run before git was started.
    if _has_ended.is_set():
        kill_with_descendants(pid)
    try:
        yield
    finally:
        _pids.discard(pid)


def end() -> None:
    """Kill all git processes and starting connections of all threads, from now on too."""
    _has_ended.set()
    for pid in tuple(_pids):
        kill_with_descendants(pid)
