"""Run other programs, and what of this one needs a process of its own."""

import contextlib
import json
import logging
import os
import re
import select
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from types import FrameType
from typing import IO, Any, NoReturn

from pypi_insiders.util import disk
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import hint_for, shortage
from pypi_insiders.util.time_limit import shortened

_log = logging.getLogger(__name__)

_OUTPUT_LIMIT_BYTES = 4 * 1024 * 1024
# What a terminal sends to all processes of its foreground.
_OF_TERMINAL = (signal.SIGINT, signal.SIGQUIT)
_HANDED_ON = (*_OF_TERMINAL, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
_READY = b"\0"
# Nothing of ours kills by these: the session ends.
_FROM_OTHERS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
_LOOK_S = 0.1
"""How often it is looked whether a program may go on."""


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
        raise _cannot_run(argv[0], error) from error
    except subprocess.TimeoutExpired as error:
        raise InsidersError(f"{argv[0]} took longer than {timeout_s:g} s") from error
    return Result(done.returncode, done.stdout, done.stderr)


def _input(stdin: FileIO | str | None) -> dict[str, Any]:
    if isinstance(stdin, str):
        return {"input": stdin}
    return {"stdin": subprocess.DEVNULL if stdin is None else stdin}


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
        stdin: int = subprocess.DEVNULL,
    ) -> Result:
        """Run a program to its end; no process of its group outlives it.

        Args:
            argv: the program and its arguments.
            timeout_s: after this many seconds it is killed, or before that at a `TimeLimit` or
                when it fills a disk that a `Guard` keeps free.
            environment: all of its environment.
            directory: where it runs.
            stdin: a descriptor that becomes its standard input; by default there is nothing to
                read.

        Returns:
            Its status, -9 if it was killed, and what it wrote, in `stdout`; of very much the end.

        Raises:
            InsidersError: the program cannot be run, or was ended by others.
        """
        _log.debug("+ %s", shlex.join(argv))
        # A file and no pipe: a process that is left behind would keep a pipe open.
        with tempfile.TemporaryFile() as output:
            try:
                process = subprocess.Popen(
                    _with_default_signals(argv, environment),
                    stdin=stdin,
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
                if why := _wait(process, timeout_s):
                    output.write(f"\n{why}\n".encode())
            finally:
                _kill_group(process.pid)
                status = process.wait()
                self._groups.discard(process.pid)
            if -status in _FROM_OTHERS and not self._ended.is_set():
                raise InsidersError(
                    f"{Path(argv[0]).name} was ended by signal {-status}",
                    "the next update tries again",
                )
            output.seek(max(0, output.seek(0, os.SEEK_END) - _OUTPUT_LIMIT_BYTES))
            return Result(status, output.read().decode(errors="replace"), "")

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


def _with_default_signals(argv: Sequence[str], environment: Mapping[str, str]) -> Sequence[str]:
    """Let a program begin with default signals; `preexec_fn` is not for a process with threads."""
    ignored = [
        str(int(number))
        for number in (*_OF_TERMINAL, signal.SIGHUP)
        if signal.getsignal(number) is signal.SIG_IGN
    ]
    # What is not found is to be complained of as always.
    if not ignored or shutil.which(argv[0], path=environment.get("PATH")) is None:
        return argv
    return (sys.executable, "-I", "-S", "-c", _RESET, " ".join(ignored), *argv)


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
        raise _cannot_run(argv[0], error) from error
    try:
        yield Lines(process.stdout)
    finally:
        process.kill()
        with process:
            pass


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


class CommandNotFoundError(InsidersError):
    """There is no such command."""

    exit_status = 127


class NotExecutableError(InsidersError):
    """The command is there, and cannot be run."""

    exit_status = 126


def find_command(name: str) -> None:
    """Make sure that there is a command of this name, or at this path.

    Raises:
        CommandNotFoundError: there is none.
        NotExecutableError: nobody may run it.

    Source: env(1), "EXIT STATUS".
    """
    if shutil.which(name) is None:
        directories = [""] if os.sep in name else os.get_exec_path()
        if any(Path(directory, name).exists() for directory in directories):
            raise NotExecutableError(f"{name} is not executable", "`chmod +x`, or name its shell")
        raise _not_found(name)


def _not_found(command: str) -> CommandNotFoundError:
    hint = f"it is one word; a line for a shell: `sh -c {shlex.quote(command)}`"
    return CommandNotFoundError(
        f"{command} was not found", hint if " " in command else "see how it is spelled, and $PATH"
    )


def attend(argv: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run a command that has our terminal, input and output; return its status as a shell does.

    Signals that we get are handed on; the command ends by them or not, and we wait. What a
    terminal sends, it sends to the command as well. What we ignore, it ignores too (nohup).

    Args:
        argv: the command and its arguments.
        environment: all of its environment.

    Returns:
        Its exit status, or 128 and the number of the signal that ended it.

    Raises:
        CommandNotFoundError: there is none.
        NotExecutableError: it cannot be run.

    Source: env(1), "EXIT STATUS"; tty_ioctl(4), tcgetpgrp(3).
    """
    _log.debug("+ %s", shlex.join(argv))
    command: subprocess.Popen[bytes] | None = None
    early: list[int] = []

    def hand_on(number: int, _frame: FrameType | None) -> None:
        if number in _OF_TERMINAL and _is_in_foreground():
            return
        if command is None:
            early.append(number)
        else:
            command.send_signal(number)

    handlers = {
        number: signal.signal(number, hand_on)
        for number in _HANDED_ON
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        # As env(1) does, with all files that we were given: a socket, say, or make's job server.
        command = subprocess.Popen(argv, env=environment, close_fds=False)
        for number in early:
            command.send_signal(number)
        status = command.wait()
    except FileNotFoundError as error:
        raise _not_found(argv[0]) from error
    except OSError as error:
        message = f"{argv[0]} cannot be run: {error.strerror or error}"
        raise NotExecutableError(message, "see what it is: `file`") from error
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    return status if status >= 0 else 128 - status


def _is_in_foreground() -> bool:
    """Tell whether we are among those to whom a terminal sends its signals."""
    try:
        terminal = os.open(os.ctermid(), os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)


@contextlib.contextmanager
def beside(work: Callable[[Callable[[], None]], None]) -> Iterator[None]:
    """Do something in a process of its own until the context ends, or this process, however.

    To be called while there are no other threads. That process is in a session of its own, so no
    terminal ends it, and of our files it uses standard error only.

    Args:
        work: is given what it calls as soon as it is ready, for which the context waits; it is
            killed, whatever it does.

    Raises:
        InsidersError: raised there before it was ready.

    Source: fork(2), setsid(2).
    """
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            process = os.fork()
            if process == 0:
                ours.close()
                _work_beside(work, theirs)
        try:
            told = b""
            while not told.endswith(_READY) and (part := ours.recv(65536)):
                told += part
            if told != _READY:
                raise _as_told(told)
            yield
        finally:
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)


def _work_beside(work: Callable[[Callable[[], None]], None], channel: socket.socket) -> NoReturn:
    """Be the other process."""
    try:
        os.setsid()
        nothing = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1):
            os.dup2(nothing, descriptor)
        # At the other end's end, by whatever way.
        threading.Thread(target=lambda: os._exit(bool(channel.recv(1))), daemon=True).start()
        work(lambda: channel.sendall(_READY))
    except InsidersError as error:
        with contextlib.suppress(OSError):
            channel.sendall(json.dumps([error.message, error.hint]).encode())
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(1)


def _as_told(told: bytes) -> Exception:
    """Read what the other process said, which is nothing if it met a bug or was killed."""
    return InsidersError(*json.loads(told)) if told else RuntimeError("ended before it was ready")


def _cannot_run(program: str, error: OSError) -> InsidersError:
    # Python names the program or, if that is what is missing, the directory where it should run.
    place = "" if error.filename in (program, None) else f": {error.filename}"
    if isinstance(error, FileNotFoundError) and not place:
        return InsidersError(f"{program} was not found", f"install {program}")
    hint = hint_for(error) if shortage(error) else None
    return InsidersError(f"{program} cannot be run: {error.strerror}{place}", hint)
