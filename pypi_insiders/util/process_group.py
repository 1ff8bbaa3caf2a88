"""Run foreign code in process groups that end with this process."""

import contextlib
import logging
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pypi_insiders.util import disk
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.process import Result, cannot_run
from pypi_insiders.util.time_limit import shortened

_log = logging.getLogger(__name__)

_OUTPUT_LIMIT_BYTES = 4 * 1024 * 1024
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
        # A file and no pipe: a process that is left behind would keep a pipe open.
        with tempfile.TemporaryFile() as output:
            try:
                process = subprocess.Popen(
                    _with_default_signals(command),
                    stdin=stdin,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=command.environ,
                    cwd=command.directory,
                    start_new_session=True,
                    umask=0o022,
                )
            except OSError as error:
                raise cannot_run(command.argv[0], error) from error
            self._groups.add(process.pid)
            try:
                if self._ended.is_set():
                    _kill_group(process.pid)
                if why := _wait(process, command.timeout_s):
                    output.write(f"\n{why}\n".encode())
            finally:
                _kill_group(process.pid)
                status = process.wait()
                self._groups.discard(process.pid)
            if -status in _FROM_OTHERS and not self._ended.is_set():
                raise InsidersError(
                    f"{Path(command.argv[0]).name} was ended by signal {-status}",
                    "the next update tries again",
                )
            output.seek(max(0, output.seek(0, os.SEEK_END) - _OUTPUT_LIMIT_BYTES))
            return Result(status, output.read(_OUTPUT_LIMIT_BYTES).decode(errors="replace"), "")

    def pause(self, seconds: float) -> bool:
        """Wait for so many seconds; return whether more may be run then."""
        return not self._ended.wait(seconds)

    def end(self) -> None:
        """Kill all that runs, in whatever thread, and whatever is begun from now on."""
        self._ended.set()
        for group in tuple(self._groups):
            _kill_group(group)


def _wait(process: "subprocess.Popen[bytes]", timeout_s: float) -> str | None:
    """Wait for the end of a process; return why it is to be killed if it must not go on."""
    left_s = shortened(timeout_s)
    until_s = time.monotonic() + left_s
    why = (
        "at the time limit of its repository" if left_s < timeout_s else f"after {timeout_s:.0f} s"
    )
    while (left_s := until_s - time.monotonic()) > 0:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(min(left_s, _LOOK_S))
            return None
        if disk.is_exhausted():
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
