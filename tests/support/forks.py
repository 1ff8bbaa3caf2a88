"""Run the installed command in a fork of a process that has imported it.

Most tests ask what a command does, not whether it starts, and starting Python and importing would
be most of what they cost. A fork is a process as any other: it has an environment, a directory,
streams and an exit status of its own. What depends on how Python starts needs a new process.
"""

import array
import atexit
import contextlib
import gc
import importlib
import json
import os
import pkgutil
import re
import select
import selectors
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

_LENGTH = struct.Struct("!Q")
_STATUS = struct.Struct("!qi")
# What Python and the loader read when they start, and GitPython when it is imported.
_AT_START = re.compile("COVERAGE_|GIT_PYTHON_|LANG|LC_|LD_|PATH$|PYTHON|TZ$")
_ALL = "all"
_LIBRARIES = (
    "build", "email.policy", "git", "installer.records", "installer.sources", "packaging.metadata",
    "rich.live", "rich.progress", "tomlkit", "tomli_w", "uuid",
)  # fmt: skip

# What a word of a command makes it import: the first one for those that follow, too.
_IMPORTED_FOR = {
    "doctor": ("pypi_insiders.cli.doctor", "pypi_insiders.doctor.examination"),
    "update": ("pypi_insiders.cli.run_update",),
}


def may_differ(given: Mapping[str, str], other: Mapping[str, str]) -> bool:
    """Tell whether a fork may have one environment where the process that forks has the other."""
    return not any(_AT_START.match(name) for name, _ in given.items() ^ other.items())


class Forks:
    """A process that has imported the command, and forks for each one that is to run.

    Args:
        command: the installed one, beside its Python.
        environment: of the process.
        before: words of another program that starts it.
        modules: which it imports; by default all of the package, and what they import when needed.
    """

    def __init__(
        self,
        command: Path,
        environment: Mapping[str, str],
        before: Sequence[str] = (),
        modules: Sequence[str] = (_ALL,),
    ) -> None:
        self._lock = threading.Lock()
        self._ours, theirs = socket.socketpair()
        with theirs:
            python, number = command.with_name("python"), str(theirs.fileno())
            # Without the command, for which tests look among the processes.
            self._process = subprocess.Popen(
                [*before, python, __file__, number, command.parent, *modules],
                env=environment,
                pass_fds=[theirs.fileno()],
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )

    def run(
        self,
        argv: Sequence[str | Path],
        environment: Mapping[str, str],
        directory: Path,
        timeout_s: float,
        errors: str = "strict",
    ) -> "subprocess.CompletedProcess[str]":
        """Run the command to its end, as `subprocess.run` does with `capture_output`."""
        words = [str(word) for word in argv]
        outputs = [os.pipe(), os.pipe()]
        pid, answer = self._fork(words, environment, directory, [write for _, write in outputs])
        for _, write in outputs:
            os.close(write)
        with answer:
            try:
                told = _read([read for read, _ in outputs], time.monotonic() + timeout_s)
                _, status = _STATUS.unpack(answer.recv(_STATUS.size, socket.MSG_WAITALL))
            except BaseException:
                os.kill(pid, 9)
                raise
            finally:
                for read, _ in outputs:
                    os.close(read)
        decoded = (text.decode(errors=errors) for text in told)
        texts = [text.replace("\r\n", "\n").replace("\r", "\n") for text in decoded]
        return subprocess.CompletedProcess(words, os.waitstatus_to_exitcode(status), *texts)

    def start(
        self,
        argv: Sequence[str | Path],
        environment: Mapping[str, str],
        directory: Path,
        stderr: int,
    ) -> "Fork":
        """Start the command, as `subprocess.Popen` does; the text of its stdout can be read."""
        read, write = os.pipe()
        pid, answer = self._fork(map(str, argv), environment, directory, [write, stderr])
        os.close(write)
        return Fork(pid, answer, read)

    def _fork(
        self,
        words: Iterable[str],
        environment: Mapping[str, str],
        directory: Path,
        outputs: list[int],
    ) -> tuple[int, socket.socket]:
        """Return the process ID, and the socket on which the exit status will come."""
        request = json.dumps([list(words), dict(environment), str(directory), _umask()]).encode()
        answer, theirs = socket.socketpair()
        given = array.array("i", [*outputs, theirs.fileno()])
        with self._lock, theirs:
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, given)]
            self._ours.sendmsg([_LENGTH.pack(len(request))], rights)
            self._ours.sendall(request)
        pid, _ = _STATUS.unpack(answer.recv(_STATUS.size, socket.MSG_WAITALL))
        return pid, answer

    @property
    def is_there(self) -> bool:
        """Tell whether it has not ended; a test may have killed it."""
        return self._process.poll() is None

    def end(self) -> None:
        """End it; forks that run go on."""
        self._ours.close()
        self._process.wait()


class Fork:
    """What tests use of `subprocess.Popen`."""

    def __init__(self, pid: int, answer: socket.socket, stdout: int) -> None:
        self.pid = pid
        self.stdout = os.fdopen(stdout, encoding="utf-8")
        self.returncode: int | None = None
        self._answer = answer

    def __enter__(self) -> "Fork":
        return self

    def __exit__(self, *_: object) -> None:
        self.wait()
        self.stdout.close()
        self._answer.close()

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; return the exit status."""
        if self.returncode is None:
            self._answer.settimeout(timeout)
            _, status = _STATUS.unpack(self._answer.recv(_STATUS.size, socket.MSG_WAITALL))
            self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.returncode is None and not select.select([self._answer], [], [], 0)[0]:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def _umask() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1], 8) for line in lines if line.startswith("Umask:"))


def _read(descriptors: list[int], deadline: float) -> list[bytes]:
    """Read some pipes until nobody has them open for writing."""
    told = {descriptor: bytearray() for descriptor in descriptors}
    with selectors.DefaultSelector() as selector:
        for descriptor in descriptors:
            selector.register(descriptor, selectors.EVENT_READ)
        while selector.get_map():
            ready = selector.select(deadline - time.monotonic())
            if not ready and time.monotonic() > deadline:
                raise TimeoutError(b"".join(told.values()))
            for key, _ in ready:
                if block := os.read(key.fd, 1 << 16):
                    told[key.fd] += block
                else:
                    selector.unregister(key.fd)
    return [bytes(text) for text in told.values()]


# In the process that forks


def _serve(requests: socket.socket) -> list[str]:
    """Fork for each request; return in each fork, with its arguments."""
    poll = select.poll()
    poll.register(requests, select.POLLIN)
    running: dict[int, tuple[int, socket.socket]] = {}
    while True:
        for place, _ in poll.poll():
            if place in running:
                pid, answer = running.pop(place)
                poll.unregister(place)
                os.close(place)
                with answer:
                    _answer(answer, pid, os.waitpid(pid, 0)[1])
                continue
            length, outputs, _, _ = socket.recv_fds(requests, _LENGTH.size, 3)
            if not length:
                os._exit(0)
            request = requests.recv(_LENGTH.unpack(length)[0], socket.MSG_WAITALL)
            answer = socket.socket(fileno=outputs.pop())
            given = json.loads(request)
            for name in (name for word in given[0] for name in _IMPORTED_FOR.get(word, ())):
                with contextlib.suppress(Exception):  # which the fork itself will tell
                    importlib.import_module(name)
                gc.freeze()
            if (pid := os.fork()) == 0:
                for number, output in enumerate(outputs, 1):
                    os.dup2(output, number)
                os.closerange(3, max(*outputs, answer.fileno(), requests.fileno(), *running) + 1)
                return _become(*given)
            for output in outputs:
                os.close(output)
            _answer(answer, pid, 0)
            ended = os.pidfd_open(pid)
            running[ended] = pid, answer
            poll.register(ended, select.POLLIN)


def _answer(answer: socket.socket, pid: int, status: int) -> None:
    with contextlib.suppress(BrokenPipeError):  # who asked has gone
        answer.sendall(_STATUS.pack(pid, status))


def _become(argv: list[str], environment: dict[str, str], directory: str, mask: int) -> list[str]:
    os.environ.clear()
    os.environ |= environment
    os.chdir(directory)
    os.umask(mask)
    return argv


def _main() -> NoReturn:
    descriptor, sys.path[0], *modules = sys.argv[1:]
    import pypi_insiders.cli

    if modules == [_ALL]:
        package = pypi_insiders.__path__, "pypi_insiders."
        names = [module.name for module in pkgutil.walk_packages(*package)]
        modules = [*(name for name in names if not name.endswith("__main__")), *_LIBRARIES]
    for name in modules:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    sys.argv = _serve(socket.socket(fileno=int(descriptor)))
    status: int | str | None = 1
    try:
        pypi_insiders.cli.main()
    except SystemExit as end:
        status = end.code
    except BaseException:
        sys.excepthook(*sys.exc_info())
    # Without taking all modules apart, for which the kernel would first copy their memory.
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(int(status or 0))


if __name__ == "__main__":
    _main()
