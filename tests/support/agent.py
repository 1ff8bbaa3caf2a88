"""Serve the requests of `machine.Machine` from inside a private user manager.

A request is a line of JSON on stdin, its answer a line of JSON on stdout with the same `id`, in the
order in which the work ends. End of input ends the agent, and with it everything inside.
"""

from __future__ import annotations

import array
import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import termios
import threading
import traceback
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parent))  # which `-I` leaves out

from forks import Forks, may_differ

if TYPE_CHECKING:
    from collections.abc import Callable

_STOP_TIMEOUT_S = 30
_COMMAND = "pypi-insiders"
# What most commands in a machine import; the rest is imported where it is needed.
_IMPORTED = (
    "pypi_insiders.cli.server_units",
    "pypi_insiders.cli.watcher_units",
    "pypi_insiders.reporting.index_check",
    "pypi_insiders.reporting.status",
)


class Process:
    """Run a command in a process group of its own, and keep what it prints."""

    def __init__(self, request: dict[str, Any]) -> None:
        """Start the command at once."""
        self._changed = threading.Condition()
        self._lines: dict[str, list[str]] = {"stdout": [], "stderr": []}
        self._open = len(self._lines)
        self._input: str | None = request["input"]
        self._child = subprocess.Popen(
            request["argv"],
            cwd=request["cwd"],
            env=os.environ | request["env"],
            stdin=subprocess.DEVNULL if self._input is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="backslashreplace",
            process_group=0,
        )
        streams: list[tuple[str, IO[str] | None]] = [
            ("stdout", self._child.stdout),
            ("stderr", self._child.stderr),
        ]
        for name, stream in streams:
            threading.Thread(target=self._collect, args=(name, stream), daemon=True).start()
        threading.Thread(target=self._feed, daemon=True).start()

    def _feed(self) -> None:
        if self._child.stdin is None or self._input is None:
            return
        with (
            contextlib.suppress(BrokenPipeError),
            self._child.stdin as stream,
        ):  # a command need not read its input
            stream.write(self._input)

    def _collect(self, name: str, stream: IO[str]) -> None:
        for line in stream:
            with self._changed:
                self._lines[name].append(line)
                self._changed.notify_all()
        with self._changed:
            self._open -= 1
            self._changed.notify_all()

    def line(self, number: int, timeout_s: float) -> dict[str, Any]:
        """Wait for line `number` (from 0) of stdout; None where stdout or the time ends before."""
        lines = self._lines["stdout"]
        with self._changed:
            in_time = self._changed.wait_for(
                lambda: len(lines) > number or self._open == 0, timeout_s
            )
            return {"timeout": not in_time, "line": lines[number] if len(lines) > number else None}

    def wait(self, timeout_s: float) -> dict[str, Any]:
        """Wait for the command's end and for the end of what it prints."""
        try:
            self._child.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return self.result()
        with self._changed:
            # A child left behind may hold the pipes open for ever; what the command said is there
            # when a second has brought nothing.
            while not self._changed.wait_for(lambda: self._open == 0, 1) and self._has_more():
                pass
        return self.result()

    def _has_more(self) -> bool:
        """Tell whether something in the pipes is not read yet. Source: FIONREAD(2const)."""
        count = array.array("i", [0])
        for stream in (self._child.stdout, self._child.stderr):
            if stream is not None:
                fcntl.ioctl(stream.fileno(), termios.FIONREAD, count)
                if count[0]:
                    return True
        return False

    def stop(self) -> dict[str, Any]:
        """End the process group: politely, then by force."""
        for how in (signal.SIGTERM, signal.SIGKILL):
            if self._child.poll() is None:
                os.killpg(self._child.pid, how)
                self.wait(_STOP_TIMEOUT_S)
        return self.result()

    def result(self) -> dict[str, Any]:
        """Return the exit status, None while it runs, and the output so far."""
        with self._changed:
            return {"returncode": self._child.poll()} | {
                name: "".join(lines) for name, lines in self._lines.items()
            }


def processes(words: str) -> list[int]:
    """Return the IDs of the processes whose command line has these words in a row.

    Source: proc_pid_cmdline(5).
    """
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # gone meanwhile
            line = (process / "cmdline").read_bytes().replace(b"\0", b" ")
            if words.encode() in line:
                found.append(int(process.name))
    return found


def get(url: str, timeout_s: float) -> dict[str, Any]:
    """Fetch a URL over HTTP, without following redirects; without an answer, tell why."""
    import http.client
    import urllib.parse

    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout_s)
    with contextlib.closing(connection):
        try:
            connection.request("GET", parts.path)
            answer = connection.getresponse()
            location, body = answer.headers["Location"], answer.read().decode()
        except OSError as error:
            return {"status": None, "location": None, "body": error.strerror}
        return {"status": answer.status, "location": location, "body": body}


class Agent:
    """Turn requests into processes and files."""

    def __init__(self) -> None:
        """Start without processes."""
        self._processes: dict[int, Process] = {}
        self._starting = threading.Lock()
        self._forks: dict[tuple[Path, str], Forks] = {}
        self._output = threading.Lock()
        self._operations: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            "run": self._run,
            "start": self._start,
            "line": lambda request: self._process(request).line(
                request["line_number"], request["timeout_s"]
            ),
            "wait": lambda request: self._process(request).wait(request["timeout_s"]),
            "result": lambda request: self._process(request).result(),
            "stop": lambda request: self._process(request).stop(),
            "kill": self._kill,
            "get": lambda request: get(request["url"], request["timeout_s"]),
            "processes": lambda request: {"pids": processes(request["words"])},
            "read": lambda request: {"text": Path(request["path"]).read_text(encoding="utf-8")},
            "write": self._write,
        }

    def serve(self) -> None:
        """Answer every request in a thread of its own until the input ends."""
        self._send({"id": 0, "home": str(Path.home())})
        for line in sys.stdin:
            threading.Thread(target=self._answer, args=(json.loads(line),), daemon=True).start()

    def _answer(self, request: dict[str, Any]) -> None:
        try:
            answer = self._operations[request["operation"]](request)
        except (OSError, UnicodeError) as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        except Exception:  # without an answer, who asks would wait
            answer = {"error": traceback.format_exc()}
        self._send({"id": request["id"]} | answer)

    def _send(self, answer: dict[str, Any]) -> None:
        with self._output:
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()

    def _process(self, request: dict[str, Any]) -> Process:
        return self._processes[request["process"]]

    def _start(self, request: dict[str, Any]) -> dict[str, Any]:
        self._processes[request["id"]] = Process(request)
        return {}

    def _run(self, request: dict[str, Any]) -> dict[str, Any]:
        if (command := self._command(request)) is not None:
            return self._fork(command, request)
        process = Process(request)
        result = process.wait(request["timeout_s"])
        return result if result["returncode"] is not None else process.stop() | {"returncode": None}

    def _command(self, request: dict[str, Any]) -> Path | None:
        """Find the command, where a fork of it is as good as a process of its own."""
        # A command that is found by another PATH reads it later than Python starts.
        path = request["env"].get("PATH", os.environ["PATH"])
        is_alike = may_differ(os.environ | request["env"], os.environ | {"PATH": path})
        if request["argv"][0] != _COMMAND or request["input"] is not None or not is_alike:
            return None
        found = shutil.which(_COMMAND, path=path)
        return Path(found) if found and Path(found).with_name("python").exists() else None

    def _fork(self, command: Path, request: dict[str, Any]) -> dict[str, Any]:
        argv = [command, *request["argv"][1:]]
        directory = Path(request["cwd"] or Path.cwd())
        environment, timeout_s = os.environ | request["env"], request["timeout_s"]
        path = environment["PATH"]  # which GitPython reads when it is imported
        with self._starting:
            forks = self._forks.get((command, path))
            if forks is None or not forks.is_there:
                forks = Forks(command, os.environ | {"PATH": path}, modules=_IMPORTED)
                self._forks[command, path] = forks
        try:
            done = forks.run(argv, environment, directory, timeout_s, "backslashreplace")
        except TimeoutError as error:
            return {"returncode": None, "stdout": str(error), "stderr": ""}
        return {"returncode": done.returncode, "stdout": done.stdout, "stderr": done.stderr}

    def _kill(self, request: dict[str, Any]) -> dict[str, Any]:
        os.kill(request["pid"], request["signal"])
        return {}

    def _write(self, request: dict[str, Any]) -> dict[str, Any]:
        path = Path(request["path"])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(request["text"], encoding="utf-8")
        if request["mode"] is not None:
            path.chmod(request["mode"])
        return {}


if __name__ == "__main__":
    Agent().serve()
