"""Give a test a machine: a private, real `systemd --user` with its bus, journal and home.

`Machine` starts `user-manager` with `agent.py` inside; the agent does what the test
asks for. Its home is in another mount namespace: its files are reached through the machine's
methods only. The host's files, /tmp included, are shared except for homes and /run.
"""

import contextlib
import itertools
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any, Self, TypeVar

_TESTS = Path(__file__).resolve().parent
_START_TIMEOUT_S = 120
_END_TIMEOUT_S = 60
_PATIENCE_S = 120  # what is waited for comes in seconds, on a machine that has nothing else to do
_SPARE_S = 100  # by how much the agent, which watches the time itself, may be late
_STATUS_UNAVAILABLE = 77

# What a command needs to find programs and to reach a package index through a proxy. The rest
# (VIRTUAL_ENV, PYTHON*, what pytest sets) would make the inside depend on how the tests were
# started.
_INHERITED = re.compile(
    r"PATH|LANG|SSL_CERT_FILE|SSL_CERT_DIR|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE|GIT_SSL_CAINFO"
    r"|NODE_EXTRA_CA_CERTS|PIP_.*|UV_.*|(?i:https?_proxy|ftp_proxy|all_proxy|no_proxy)"
    r"|XDG_RUNTIME_DIR|DBUS_SESSION_BUS_ADDRESS"  # for user-manager, which replaces them inside
)
# Where pip and uv keep things is the person's home, which is not there.
_NOT_INHERITED = re.compile(
    r"UV_(PROJECT|CACHE|TOOL|PYTHON|RUN|SYSTEM|WORKING).*|PIP_(CACHE_DIR|LOG|TARGET|PREFIX|USER)"
)


_Seen = TypeVar("_Seen")


@dataclass(frozen=True)
class Answer:
    """What a web server answered; without a status, why there was no answer."""

    status: int | None
    location: str | None
    body: str


class Unavailable(Exception):  # noqa: N818  # "unavailable" is no error: a reason to skip
    """Say in one line why no user manager can be had here."""


class Machine:
    """Run commands next to a user manager that nobody else uses; a context manager.

    `expose` names directories that must be readable inside at their own paths (the interpreter's
    and this one always are). With `private_network` there is nothing but the loopback, and without
    `ipv6` in it not even ::1. With `linked_resolver`, `/etc/resolv.conf` is a link to
    a link. `env` is added to the environment of the manager, its units and all
    commands (not XDG_* and what else belongs to a session: `user-manager` sets it anew). Raises
    `Unavailable` on entering where the host has no user manager to give, `RuntimeError` where one
    should have started but did not.
    """

    home: Path

    def __init__(
        self,
        expose: Sequence[Path] = (),
        *,
        private_network: bool = False,
        ipv6: bool = True,
        linked_resolver: bool = False,
        env: Mapping[str, str] | None = None,
    ) -> None:
        """Describe the machine; `with` starts it."""
        if not ipv6 and not private_network:
            raise ValueError(
                "ipv6=False needs private_network=True: the host's network is not ours to change"
            )
        self._env = _inherited(os.environ) | dict(env or {})
        self._env["EXPOSE"] = ":".join(
            str(path.absolute()) for path in [*expose, _TESTS, *_interpreter_directories()]
        )
        if private_network:
            self._env["NET"] = "private"
        if not ipv6:
            self._env["NOIPV6"] = "1"
        if linked_resolver:
            self._env["RESOLVER"] = "linked"
        self._ids = itertools.count(1)
        self._lock = threading.Lock()
        self._gone = False
        self._answers: dict[int, SimpleQueue[dict[str, Any]]] = {}

    def __enter__(self) -> Self:
        """Start the manager and wait until it is ready."""
        self._errors = tempfile.TemporaryFile("a+", encoding="utf-8", errors="replace")
        hello: SimpleQueue[dict[str, Any]] = SimpleQueue()
        self._answers[0] = hello
        self._process = subprocess.Popen(
            [_TESTS / "user-manager", sys.executable, "-I", _TESTS / "agent.py"],
            env=self._env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            encoding="utf-8",
            process_group=0,  # Ctrl-C is for the tests, which then end the machine
        )
        self._receiver = threading.Thread(target=self._receive, daemon=True)
        self._receiver.start()
        try:
            self.home = Path(_within(_START_TIMEOUT_S, hello)["home"])
        except (Empty, KeyError):
            self._end()
            errors = self._read_errors()
            self._errors.close()
            if self._process.returncode == _STATUS_UNAVAILABLE:
                raise Unavailable(errors.strip()) from None
            raise RuntimeError(
                f"user-manager ended with {self._process.returncode}:\n{errors}"
            ) from None
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End everything inside and wait until it is gone."""
        self._end()
        self._errors.close()

    @property
    def pid(self) -> int:
        """Return the process ID of `user-manager`, whose cgroup holds the whole machine."""
        return self._process.pid

    @property
    def path(self) -> str:
        """Return the PATH of what runs inside."""
        return self._env["PATH"]

    def run(
        self,
        *argv: str | Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | str | None = None,
        input: str | None = None,  # noqa: A002  # as in subprocess.run
        check: bool = True,
        timeout_s: float = _PATIENCE_S,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside to its end and return its status and output.

        `env` is added to the machine's; `cwd` is the home if not given; stdin is empty without
        `input`. Raises `AssertionError` with all there is to know where the status is not 0 and
        `check` is set, and `TimeoutError` after ending the command where it takes longer than
        `timeout_s`. Safe to call from several threads.
        """
        command = _command(argv, env, cwd, input)
        answer = self._ask("run", timeout_s, **command)
        done = subprocess.CompletedProcess(
            command["argv"], answer["returncode"], answer["stdout"], answer["stderr"]
        )
        if done.returncode is None:
            raise TimeoutError(f"not done after {timeout_s} s: {_describe(done)}")
        if check and done.returncode != 0:
            raise AssertionError(_describe(done))
        return done

    def start(
        self, *argv: str | Path, env: Mapping[str, str] | None = None, cwd: Path | str | None = None
    ) -> "Background":
        """Start a command inside and return at once; it ends with the machine at the latest."""
        command = _command(argv, env, cwd, None)
        number = next(self._ids)
        self._ask("start", number=number, **command)
        return Background(self, number, command["argv"])

    def journal(self, *arguments: str) -> str:
        """Return what `journalctl --user` prints: messages only unless an argument says more."""
        return self.run(
            "journalctl", "--user", "--quiet", "--no-pager", "--output=cat", *arguments
        ).stdout

    def wait_for_journal(
        self, pattern: str, *arguments: str, timeout_s: float = _PATIENCE_S
    ) -> str:
        """Wait until a line of the followed journal matches the expression; return that line.

        Lines from before the call count. `arguments` are journalctl's (`-u`, `x.service`). Raises
        `TimeoutError` with the lines seen.
        """
        wanted = re.compile(pattern)
        deadline = time.monotonic() + timeout_s
        follower = self.start(*_FOLLOW, "--lines=all", *arguments)
        seen = []
        try:
            for line in follower.lines(lambda: deadline - time.monotonic()):
                if wanted.search(line):
                    return line
                seen.append(line)
        finally:
            follower.stop()
        raise TimeoutError(
            f"no line like {pattern!r} in {shlex.join(follower.argv)} after {timeout_s} s:\n"
            + "\n".join(seen)
        )

    def wait_for(
        self,
        argv: Sequence[str | Path],
        until: Callable[[subprocess.CompletedProcess[str]], bool],
        timeout_s: float = _PATIENCE_S,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command again and again until its result is as wanted; return that result.

        It runs whenever the journal of the user grows, which is what a unit that changes its state
        makes it do, and at least four times a second. Raises `TimeoutError` with the last result.
        """

        return self._look_again(
            lambda: self.run(*argv, check=False, timeout_s=timeout_s), until, _describe, timeout_s
        )

    def get(self, url: str) -> Answer:
        """Fetch a URL inside over HTTP, without following redirects, and without a process."""
        answer = self._ask("get", _PATIENCE_S, url=url)
        return Answer(answer["status"], answer["location"], answer["body"])

    def wait_for_answer(self, url: str, until: Callable[[Answer], bool]) -> Answer:
        """Fetch a URL again and again, as `wait_for` runs a command; return the answer."""
        return self._look_again(lambda: self.get(url), until, str, _PATIENCE_S)

    def processes(self, words: str) -> list[int]:
        """Return the IDs of the processes inside whose command line has these words in a row."""
        return list(self._ask("processes", words=words)["pids"])

    def wait_for_process(self, words: str, timeout_s: float = _PATIENCE_S) -> int:
        """Wait until one process's command line has these words in a row; return its ID."""
        return self._look_again(lambda: self.processes(words), bool, str, timeout_s)[0]

    def wait_for_other_process(self, words: str, pid: int) -> int:
        """Wait until a process has these words in a row in place of one that is gone."""
        return self._look_again(
            lambda: self.processes(words), lambda found: found not in ([], [pid]), str, _PATIENCE_S
        )[0]

    def kill(self, pid: int, number: signal.Signals) -> None:
        """Send a signal to a process inside."""
        self._ask("kill", pid=pid, signal=number)

    def _look_again(
        self,
        look: Callable[[], _Seen],
        until: Callable[[_Seen], bool],
        describe: Callable[[_Seen], str],
        timeout_s: float,
    ) -> _Seen:
        if until(seen := look()):
            return seen
        deadline = time.monotonic() + timeout_s
        follower = self.start(*_FOLLOW, "--lines=0")
        try:
            news = follower.lines(lambda: min(0.25, deadline - time.monotonic()), patient=True)
            while True:
                seen = look()
                if until(seen):
                    return seen
                if time.monotonic() > deadline:
                    raise TimeoutError(f"still not as wanted after {timeout_s} s: {describe(seen)}")
                if next(news, None) is None:
                    raise RuntimeError(f"the journal is not followed: {follower.stderr_text()}")
        finally:
            follower.stop()

    def read_text(self, path: Path | str) -> str:
        """Return the contents of a file inside; a relative path is one in the home."""
        return str(self._ask("read", path=str(self.home / path))["text"])

    def write_text(self, path: Path | str, text: str, mode: int | None = None) -> Path:
        """Write a file inside, making the directories above it; return its whole path."""
        whole = self.home / path
        self._ask("write", path=str(whole), text=text, mode=mode)
        return whole

    def _ask(
        self, operation: str, timeout_s: float = 0, *, number: int | None = None, **request: Any
    ) -> dict[str, Any]:
        number = next(self._ids) if number is None else number
        answers: SimpleQueue[dict[str, Any]] = SimpleQueue()
        message = {"id": number, "operation": operation, "timeout_s": timeout_s} | request
        with self._lock:
            if self._gone or self._process.stdin is None:
                raise RuntimeError(f"the machine is gone:\n{self._read_errors()}")
            self._answers[number] = answers
            with contextlib.suppress(BrokenPipeError):  # the receiver will tell
                self._process.stdin.write(json.dumps(message) + "\n")
                self._process.stdin.flush()
        try:
            answer = _within(timeout_s + _SPARE_S, answers)
        except Empty:
            raise RuntimeError(f"no answer, asked to {operation} {request}") from None
        if "gone" in answer:
            raise RuntimeError(
                f"the machine is gone, asked to {operation} {request}:\n{self._read_errors()}"
            )
        if "error" in answer:
            raise OSError(f"{operation} {request}: {answer['error']}")
        return answer

    def _receive(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            answer = json.loads(line)
            with self._lock:
                answers = self._answers.pop(answer["id"])
            answers.put(answer)
        with self._lock:
            self._gone = True
            for answers in self._answers.values():
                answers.put({"gone": True})

    def _end(self) -> None:
        with self._lock:
            if self._process.stdin is not None and not self._process.stdin.closed:
                with contextlib.suppress(BrokenPipeError):  # it is gone already
                    self._process.stdin.close()
        try:
            self._process.wait(_END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.terminate()
            self._process.wait(_END_TIMEOUT_S)
        self._receiver.join()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _read_errors(self) -> str:
        if self._errors.closed:
            return ""
        self._errors.seek(0)
        return self._errors.read()


class Background:
    """Stand for a command that `Machine.start` started."""

    def __init__(self, machine: Machine, number: int, argv: list[str]) -> None:
        """Remember which process it is."""
        self._machine = machine
        self._number = number
        self.argv = argv

    def wait(self, timeout_s: float = _PATIENCE_S) -> int:
        """Wait for the end and return the exit status; `TimeoutError` shows the output so far."""
        answer = self._ask("wait", timeout_s)
        done = subprocess.CompletedProcess(
            self.argv, answer["returncode"], answer["stdout"], answer["stderr"]
        )
        if done.returncode is None:
            raise TimeoutError(f"not done after {timeout_s} s: {_describe(done)}")
        return int(done.returncode)

    def stop(self) -> int:
        """End the command's process group, by SIGTERM if that is enough; return its status."""
        return int(self._ask("stop")["returncode"])

    def stdout_text(self) -> str:
        """Return what it has printed so far."""
        return str(self._ask("result")["stdout"])

    def stderr_text(self) -> str:
        """Return what it has printed to stderr so far."""
        return str(self._ask("result")["stderr"])

    def lines(
        self, left_s: Callable[[], float] = lambda: _PATIENCE_S, *, patient: bool = False
    ) -> Iterator[str]:
        """Yield the lines of stdout as they come, waiting for each at most `left_s()` seconds.

        Where no line comes in that time the end is reached, or if `patient` an empty string is
        yielded.
        """
        number = 0
        while True:
            answer = self._ask("line", max(0.0, left_s()), line_number=number)
            if answer["line"] is not None:
                number += 1
                yield answer["line"].removesuffix("\n")
            elif answer["timeout"] and patient:
                yield ""
            else:
                return

    def _ask(self, operation: str, timeout_s: float = 0, **request: Any) -> dict[str, Any]:
        return self._machine._ask(operation, timeout_s, process=self._number, **request)


_FOLLOW = ("journalctl", "--user", "--quiet", "--no-pager", "--output=cat", "--follow")


def _inherited(environment: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in environment.items()
        if _INHERITED.fullmatch(name) and not _NOT_INHERITED.fullmatch(name)
    }


def _interpreter_directories() -> set[Path]:
    """Return what the interpreter needs: its prefixes and those behind every link on the way."""
    directories = {Path(sys.prefix), Path(sys.base_prefix)}
    link = Path(sys.executable)
    while link.is_symlink():
        link = link.parent / link.readlink()
        directories.add(link.parent.parent)
    return {path for path in directories if path.resolve() != Path("/")}


def _command(
    argv: Sequence[str | Path],
    env: Mapping[str, str] | None,
    cwd: Path | str | None,
    text: str | None,
) -> dict[str, Any]:
    return {
        "argv": [str(word) for word in argv],
        "env": dict(env or {}),
        "cwd": None if cwd is None else str(cwd),
        "input": text,
    }


def _within(timeout_s: float, answers: "SimpleQueue[dict[str, Any]]") -> dict[str, Any]:
    return answers.get(timeout=timeout_s)


def _describe(done: subprocess.CompletedProcess[str]) -> str:
    output = f"--- stdout\n{done.stdout}\n--- stderr\n{done.stderr}"
    return f"{shlex.join(done.args)} ended with {done.returncode}\n{output}"
