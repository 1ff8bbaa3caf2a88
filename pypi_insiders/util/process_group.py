"""Run foreign code in process groups that end with this process."""

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
from collections.abc import Mapping, Sequence
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
# Nothing of ours kills by these: the session ends.
_FROM_OTHERS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
_LOOK_S = 0.1
"""How often it is looked whether a program may go on."""


@dataclass(frozen=True)
class Command:
    """A program that is run to its end."""

    argv: Sequence[str]
    """The program and its arguments."""
    environ: Mapping[str, str]
    """All of its environment."""
    directory: Path
    """Where it runs."""
    timeout_s: float
    """After so many seconds it is killed."""


class ProcessGroup:
    """Run foreign code without our terminal, and end it with all that it started.

    Held is what stays in the process group. A process that leaves it is not; under systemd it ends
    with the unit.

    Source: setsid(2), killpg(3).
    """

    def __init__(self) -> None:
        self._groups: set[int] = set()
        self._ended = threading.Event()

    def run(self, command: Command, *, stdin: int = subprocess.DEVNULL) -> Result:
        """Run a program to its end; no process of its group outlives it.

        Args:
            command: what is run; it is killed before its time at a `TimeLimit` or when it fills a
                disk that a `Guard` keeps free.
            stdin: a descriptor that becomes its standard input; by default there is nothing to
                read.

        Returns:
            Its status, -9 if it was killed, and what it wrote, in `stdout`; of very much the end.

        Raises:
            InsidersError: the program cannot be run, or was ended by others.
        """
        _log.debug("+ %s", shlex.join(command.argv))
        # A file would grow as foreign code likes, on a disk that nobody measures.
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
                if self._ended.is_set():
                    _kill_group(process.pid)
                why = _wait(process, output, command.timeout_s)
            finally:
                _kill_group(process.pid)
                status = process.wait()
                self._groups.discard(process.pid)
            if -status in _FROM_OTHERS and not self._ended.is_set():
                raise InsidersError(
                    f"{Path(command.argv[0]).name} was ended by signal {-status}",
                    "the next update tries again",
                )
            output.drain()
            told = f"\n{why}\n" if why else ""
            return Result(status, output.text() + told, "")

    def pause(self, seconds: float) -> bool:
        """Wait for so many seconds; return whether more may be run then."""
        return not self._ended.wait(seconds)

    def end(self) -> None:
        """Kill all that runs, in whatever thread, and whatever is begun from now on."""
        self._ended.set()
        for group in tuple(self._groups):
            _kill_group(group)


class _End:
    """The end of what a process and those that it has started write.

    They are waited for no longer than for the process: one that is left behind keeps its pipe open.

    Args:
        stream: the pipe, which does not block.
    """

    def __init__(self, stream: FileIO) -> None:
        self._stream = stream
        self._poll = select.poll()  # takes any descriptor
        self._poll.register(stream, select.POLLIN)
        self._kept = bytearray()
        self.is_open = True
        """Whether more can come."""

    def take(self, timeout_s: float) -> None:
        """Read some of what has come, or comes within so many seconds."""
        if self._poll.poll(timeout_s * 1000):
            self._take()

    def drain(self) -> None:
        """Read what has come, but not for ever."""
        read_bytes = 0
        while read_bytes < _OUTPUT_LIMIT_BYTES and (count := self._take()):
            read_bytes += count

    def text(self) -> str:
        """Return what was read last."""
        return self._kept[-_OUTPUT_LIMIT_BYTES:].decode(errors="replace")

    def _take(self) -> int:
        part = self._stream.read(_BLOCK_BYTES) if self.is_open else None
        if part is None:
            return 0
        self.is_open = bool(part)
        self._kept += part
        if len(self._kept) > 2 * _OUTPUT_LIMIT_BYTES:
            del self._kept[:-_OUTPUT_LIMIT_BYTES]
        return len(part)


def _wait(process: "subprocess.Popen[bytes]", output: _End, timeout_s: float) -> str | None:
    """Wait for the end of a process; return why it is to be killed if it must not go on."""
    left_s = shortened(timeout_s)
    until_s = time.monotonic() + left_s
    why = (
        "at the time limit of its repository" if left_s < timeout_s else f"after {timeout_s:.0f} s"
    )
    look_at_s = time.monotonic() + _LOOK_S
    while (left_s := until_s - time.monotonic()) > 0:
        wait_s = min(left_s, max(0.0, look_at_s - time.monotonic()))
        if output.is_open:
            output.take(wait_s)
        else:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(wait_s)
        if time.monotonic() >= look_at_s or not output.is_open:
            look_at_s = time.monotonic() + _LOOK_S
            if process.poll() is not None:
                return None
            if disk_reserve.is_exhausted():
                return "killed because the disk is almost full"
    return f"killed {why}"


# A session of its own gets nothing from our terminal, and need not ignore what we ignore: under
# nohup(1), or as a job of a script, a build that ends its helpers by SIGINT would wait for ever.
_RESET = """
import os, signal, sys
for number in map(int, sys.argv[1].split()):
    signal.signal(number, signal.SIG_DFL)
os.execvp(sys.argv[2], sys.argv[2:])
"""


def _with_default_signals(command: Command) -> Sequence[str]:
    """Let a program begin with default signals; `preexec_fn` is not for a process with threads."""
    ignored = [
        str(int(number))
        for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP)
        if signal.getsignal(number) is signal.SIG_IGN
    ]
    # What is not found is to be complained of as always.
    if not ignored or shutil.which(command.argv[0], path=command.environ.get("PATH")) is None:
        return command.argv
    return (sys.executable, "-I", "-S", "-c", _RESET, " ".join(ignored), *command.argv)


def _kill_group(leader: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)


def kill_with_descendants(process: int) -> None:
    """Kill a process and all that it started, as far as they have not left it.

    Source: proc_pid_status(5), `PPid`.
    """
    for number in family(process):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(number, signal.SIGKILL)


def activity(process: int, *, apart: Sequence[str], waiting: Sequence[str]) -> int | None:
    """Return a number that stays the same for as long as a process and its children get nowhere.

    Args:
        process: its ID.
        apart: what the names of children begin with that do not count.
        waiting: likewise, of those that also take time of a processor while they wait.

    Returns:
        The number; `None` where the kernel does not tell what they do.

    Source: proc_pid_io(5), `rchar` and `wchar`; proc_pid_stat(5), `utime` and `stime`.
    """
    found = 0
    for place in (Path("/proc", str(number)) for number in family(process)):
        try:
            name = (place / "comm").read_text(errors="replace")
            if name.startswith(tuple(apart)):
                continue
            moved = re.findall(r"^[rw]char: (\d+)$", (place / "io").read_text(), re.MULTILINE)
            found += sum(map(int, moved))
            if not name.startswith(tuple(waiting)):
                fields = (place / "stat").read_text(errors="replace").rpartition(")")[2].split()
                found += int(fields[11]) + int(fields[12])
        except OSError:
            if place.exists():
                return None
    return found


def started_at(process: int) -> int | None:
    """Return when a process began; with its ID, no other has that until the system is started.

    Returns:
        Clock ticks since then; `None` if there is no such process.

    Source: proc_pid_stat(5), `starttime`.
    """
    try:
        text = Path("/proc", str(process), "stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    return int(text.rpartition(")")[2].split()[19])


def family(process: int) -> list[int]:
    """Name a process and all that it started, as far as they have not left it."""
    parents = _parents()
    family = [process]
    for parent in family:  # which grows
        family += [child for child, of in parents.items() if of == parent]
    return family


def _parents() -> dict[int, int]:
    """Map the numbers of all processes that can be seen to those of their parents."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/status"):
        with contextlib.suppress(OSError):
            text = path.read_text(encoding="utf-8", errors="replace")
            if match := re.search(r"^PPid:\s*(\d+)$", text, re.MULTILINE):
                found[int(path.parent.name)] = int(match[1])
    return found
