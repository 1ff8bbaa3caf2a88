"""Run foreign code in process groups that are killed when this process ends."""

import contextlib
import logging
import os
import re
import select
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from pypi_insiders.util import disk_reserve
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.process import Result, cannot_run
from pypi_insiders.util.time_limit import shortened

_log = logging.getLogger(__name__)

_OUTPUT_LIMIT_BYTES = 4 * 1024 * 1024
_BLOCK_BYTES = 64 * 1024
# This program kills with SIGKILL only, so these come from outside: the session ends.
_EXTERNAL_SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
_CHECK_S = 0.1
"""How often the time limit and the disk are checked."""
_STOP_S = 1.0
"""At most as long, a process is awaited that is to stop: it may be in a read of the disk."""
# Stopped, stopped by a debugger, and ended. Source: proc_pid_stat(5), `state`.
_STOPPED = ("T", "t", "Z", "X", "x")


@dataclass(frozen=True)
class Command:
    """A program to run."""

    argv: Sequence[str]
    """The program and its arguments."""
    environ: Mapping[str, str]
    """Its whole environment."""
    directory: Path
    """Its working directory."""
    timeout_s: float
    """The program is killed after this many seconds."""


class ProcessGroup:
    """Run foreign code without our terminal, and kill it with all processes of its group.

    A process that leaves its group is not killed; under systemd it ends with the unit.

    Source: setsid(2), killpg(3).
    """

    def __init__(self) -> None:
        self._groups: set[int] = set()
        self._ended = threading.Event()

    def run(self, command: Command, *, stdin: int = subprocess.DEVNULL) -> Result:
        """Run a program and return its result; kill the rest of its process group.

        Args:
            command: the program. It is killed early at the `TimeLimit` of this thread, or when it
                fills a disk that a `Guard` keeps free.
            stdin: the descriptor of its standard input (default: empty).

        Returns:
            Its status, -9 if it was killed, and the last 4 MiB of its output and errors in
            `stdout`.

        Raises:
            InsidersError: the program cannot be run, or another process killed it.
        """
        _log.debug("+ %s", shlex.join(command.argv))
        # Not a file, which foreign code could let grow on a disk that no guard measures.
        reader, writer = os.pipe()
        with os.fdopen(reader, "rb", buffering=0) as stream:
            os.set_blocking(reader, False)
            try:
                process = subprocess.Popen(
                    _with_default_signals(command),
                    stdin=stdin,
                    stdout=writer,
                    stderr=subprocess.STDOUT,
                    env=command.environ,
                    cwd=command.directory,
                    start_new_session=True,
                    umask=0o022,
                )
            except OSError as error:
                raise cannot_run(command.argv[0], error) from error
            finally:
                os.close(writer)
            output = _End(stream)
            self._groups.add(process.pid)
            try:
                # `end` may have run between the start of the process and its registration.
                if self._ended.is_set():
                    _kill_group(process.pid)
                why = _wait(process, output, command.timeout_s)
            finally:
                # Also children that a program left in its group, and after an exception.
                _kill_group(process.pid)
                status = process.wait()
                self._groups.discard(process.pid)
            if -status in _EXTERNAL_SIGNALS and not self._ended.is_set():
                raise InsidersError(
                    f"{Path(command.argv[0]).name} was killed by signal {-status}",
                    "the next update tries again",
                )
            output.drain()
            reason = f"\n{why}\n" if why else ""
            return Result(status, output.text() + reason, "")

    def pause(self, seconds: float) -> bool:
        """Wait; return `False` as soon as `end` is called."""
        return not self._ended.wait(seconds)

    def end(self) -> None:
        """Kill all running programs of all threads, and all that are started from now on."""
        # First the flag, then the groups: a program that starts meanwhile sees one or the other.
        self._ended.set()
        for group in tuple(self._groups):
            _kill_group(group)


class _End:
    """The last bytes of the output of a process and its children.

    Args:
        stream: a non-blocking pipe.
    """

    def __init__(self, stream: FileIO) -> None:
        self._stream = stream
        self._poll = select.poll()  # unlike select, takes descriptors above 1023
        self._poll.register(stream, select.POLLIN)
        self._kept = bytearray()
        self.is_open = True
        """Whether the pipe has a writer."""

    def take(self, timeout_s: float) -> None:
        """Read a block of output; wait for it at most `timeout_s` seconds."""
        if self._poll.poll(timeout_s * 1000):
            self._take()

    def drain(self) -> None:
        """Read the output that is in the pipe."""
        # Not until the end of the file: a process that left the group keeps the pipe open, and may
        # write into it without end.
        read_bytes = 0
        while read_bytes < _OUTPUT_LIMIT_BYTES and (count := self._take()):
            read_bytes += count

    def text(self) -> str:
        """Return the last 4 MiB."""
        return self._kept[-_OUTPUT_LIMIT_BYTES:].decode(errors="replace")

    def _take(self) -> int:
        part = self._stream.read(_BLOCK_BYTES) if self.is_open else None
        if part is None:
            return 0
        self.is_open = bool(part)
        self._kept += part
        # At twice the limit, so that not every block moves 4 MiB in memory.
        if len(self._kept) > 2 * _OUTPUT_LIMIT_BYTES:
            del self._kept[:-_OUTPUT_LIMIT_BYTES]
        return len(part)


def _wait(process: "subprocess.Popen[bytes]", output: _End, timeout_s: float) -> str | None:
    """Wait for the end of a process; return why it must be killed, or `None` if it ended."""
    left_s = shortened(timeout_s)
    until_s = time.monotonic() + left_s
    why = (
        "at the time limit of its repository" if left_s < timeout_s else f"after {timeout_s:.0f} s"
    )
    check_at_s = time.monotonic() + _CHECK_S
    while (left_s := until_s - time.monotonic()) > 0:
        wait_s = min(left_s, max(0.0, check_at_s - time.monotonic()))
        # The end of the output is no end of the process, which may close it and go on; nor is the
        # end of the process one of the output, which a child may keep open.
        if output.is_open:
            output.take(wait_s)
        else:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(wait_s)
        # Not after every block: a program that prints much would be slowed down by statvfs(3).
        if time.monotonic() >= check_at_s or not output.is_open:
            check_at_s = time.monotonic() + _CHECK_S
            if process.poll() is not None:
                return None
            if disk_reserve.is_exhausted():
                return "killed because the disk is almost full"
    return f"killed {why}"


# Ignored signals are inherited. Under nohup(1), or as a background job of a script, a build that
# stops its helpers by SIGINT would wait for ever. In its own session it gets no signals from our
# terminal, so defaults are safe.
_RESET = """
import os, signal, sys
for number in map(int, sys.argv[1].split()):
    signal.signal(number, signal.SIG_DFL)
os.execvp(sys.argv[2], sys.argv[2:])
"""


def _with_default_signals(command: Command) -> Sequence[str]:
    """Return the command line that runs a program with default signal handlers."""
    # Not `preexec_fn`, which can deadlock in a process with threads.
    ignored = [
        str(int(number))
        for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP)
        if signal.getsignal(number) is signal.SIG_IGN
    ]
    # A missing program must raise FileNotFoundError here, and not fail inside the wrapper.
    if not ignored or shutil.which(command.argv[0], path=command.environ.get("PATH")) is None:
        return command.argv
    return (sys.executable, "-I", "-S", "-c", _RESET, " ".join(ignored), *command.argv)


def _kill_group(leader: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)


def kill_with_descendants(process: int) -> None:
    """Kill a process and its descendants, except those that init has adopted.

    Source: proc_pid_status(5), `PPid`.
    """
    # Stopped first: what one of them starts meanwhile would be left behind.
    found = set[int]()
    while new := set(family(process)) - found:
        _send(signal.SIGSTOP, new)
        # A fork(2) that has begun ends before its process stops, and shows its child only then.
        _wait_until_stopped(new)
        found |= new
    _send(signal.SIGKILL, found)


def _send(number: signal.Signals, processes: Iterable[int]) -> None:
    for process in processes:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(process, number)


def _wait_until_stopped(processes: Iterable[int]) -> None:
    until_s = time.monotonic() + _STOP_S
    for process in processes:
        while _state(process) not in _STOPPED and time.monotonic() < until_s:
            time.sleep(_STOP_S / 1000)


def _state(process: int) -> str:
    try:
        return _stat(process)[0]
    except OSError:
        return "X"


def _stat(process: int) -> list[str]:
    """Return the fields after the name. Source: proc_pid_stat(5)."""
    text = Path("/proc", str(process), "stat").read_text(encoding="utf-8", errors="replace")
    # The name in parentheses may contain spaces and parentheses: split after the last.
    return text.rpartition(")")[2].split()


def activity(process: int, *, apart: Sequence[str], waiting: Sequence[str]) -> int | None:
    """Return a number that changes while a process and its descendants make progress.

    Args:
        process: its ID.
        apart: prefixes of the names of processes that are not counted.
        waiting: prefixes of those whose processor time is not counted, as they poll.

    Returns:
        Bytes read and written plus clock ticks; `None` if the kernel does not show them.

    Source: proc_pid_io(5), `rchar` and `wchar`; proc_pid_stat(5), `utime` and `stime`.
    """
    found = 0
    for member in family(process):
        place = Path("/proc", str(member))
        try:
            name = (place / "comm").read_text(errors="replace")
            if name.startswith(tuple(apart)):
                continue
            moved = re.findall(r"^[rw]char: (\d+)$", (place / "io").read_text(), re.MULTILINE)
            found += sum(map(int, moved))
            if not name.startswith(tuple(waiting)):
                found += sum(map(int, _stat(member)[11:13]))
        except OSError:
            # Ended since it was listed; if it still exists, access is denied.
            if place.exists():
                return None
    return found


def started_at(process: int) -> int | None:
    """Return when a process started; with its ID it is unique until the next boot.

    Returns:
        Clock ticks from boot to its start; `None` if the process does not exist.

    Source: proc_pid_stat(5), `starttime`.
    """
    try:
        return int(_stat(process)[19])
    except (FileNotFoundError, ProcessLookupError):
        return None


def family(process: int) -> list[int]:
    """Return the IDs of a process and its descendants, except those that init has adopted."""
    parents = _parents()
    family = [process]
    for parent in family:  # the list grows while it is read
        family += [child for child, of in parents.items() if of == parent]
    return family


def _parents() -> dict[int, int]:
    """Map the IDs of all visible processes to those of their parents."""
    # Not ps(1) or pgrep(1): minimal systems have no procps.
    found = {}
    # Not Path.glob(), which raises ProcessLookupError for a process that ends at that moment.
    for path in Path("/proc").iterdir():
        if not path.name.isdecimal():
            continue
        with contextlib.suppress(OSError):
            text = (path / "status").read_text(encoding="utf-8", errors="replace")
            if match := re.search(r"^PPid:\s*(\d+)$", text, re.MULTILINE):
                found[int(path.name)] = int(match[1])
    return found
