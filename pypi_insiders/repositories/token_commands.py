"""Get tokens from the programs that print them, once in a process."""

import logging
import os
import re
import selectors
import subprocess
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path

from pypi_insiders.config.paths import Paths
from pypi_insiders.config.settings import load_settings
from pypi_insiders.systemd import unconfined
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.formatting import last_line
from pypi_insiders.util.plain_text import one_line
from pypi_insiders.util.process import cannot_run
from pypi_insiders.util.process_group import kill_with_descendants
from pypi_insiders.util.without_credentials import without_any_credentials

_log = logging.getLogger(__name__)

TokenCommands = Mapping[str, tuple[str, ...]]
"""Host, with its port if it has one, to the command that prints the token for it."""

HINT = "run the command in a terminal; it is `token-command` in config.toml or repos.toml"

TIMEOUT_S = 30
_SPARE_S = 5
_CHECK_S = 0.05
"""How often the end of the program and the time limit are checked."""
_LIMIT_BYTES = 16 * 1024
"""Far more than a token."""
_SHORTEST = 6
"""Of what a failing program prints, shorter words are text."""

_lock = threading.Lock()
_found: dict[tuple[str, ...], "Future[Path | InsidersError]"] = {}


def configured(paths: Paths) -> TokenCommands | None:
    """Return `token-command` of `config.toml`; `None`: not set, or the file is invalid."""
    try:
        return load_settings(paths.settings).watcher.token_command
    except InsidersError:  # reported as a problem of the file; repositories are still read
        return None


def token(command: tuple[str, ...]) -> Path | InsidersError:
    """Return a file in memory with the token that a command prints, or why there is none.

    The command runs once in this process, however many threads and repositories ask.
    """
    with _lock:
        is_first = command not in _found
        future = _found.setdefault(command, Future())
    if is_first:
        try:
            future.set_result(_in_memory(_run(command)))
        except InsidersError as error:
            # Once, and not for each repository: public ones do not need the token.
            _log.warning("%s", error.message)
            _log.info("hint: %s", error.hint)
            future.set_result(error)
        except BaseException as error:
            future.set_exception(error)
            raise
    return future.result()


def _in_memory(text: bytes) -> Path:
    """Write a token to a file that ends with this process, and that only its user can read."""
    # Not a file on disk, which a killed update would leave; not a variable of git's environment,
    # which hooks and helpers inherit. Source: memfd_create(2).
    descriptor = os.memfd_create("pypi-insiders-token")
    os.fchmod(descriptor, 0o600)
    os.write(descriptor, text)
    # By the number: git and its helpers are other processes. It stays open until this one ends.
    return Path(f"/proc/{os.getpid()}/fd/{descriptor}")


def _run(command: tuple[str, ...]) -> bytes:
    """Run a command, and return the token that it prints.

    Raises:
        InsidersError: it cannot be run, fails, takes too long, or prints anything but a token.
    """
    # Not the arguments, which may have a secret; and never what it prints.
    program = Path(command[0]).name
    _log.debug("getting a token from %s", program)
    argv = command
    # Programs that renew a token store the new one: in the confined watcher they could not.
    if unconfined.is_needed():
        argv = unconfined.command(command, "Token for pypi-insiders", TIMEOUT_S + _SPARE_S)
    status, output, errors = _finish(argv, program)
    if status != 0:
        said = _shown(last_line(errors.decode(errors="replace"), ""), output)
        raise _no_token(program, f"it exited with {status}{said and f': {said}'}")
    text = output.strip()
    if not text:
        raise _no_token(program, "it printed nothing")
    if b"\n" in text or b"\r" in text:
        raise _no_token(program, "it printed more than one line")
    if re.fullmatch(rb"[\x21-\x7e]+", text) is None or len(text) > _LIMIT_BYTES:
        raise _no_token(program, "what it printed is not a token")
    return text


def _shown(error: str, output: bytes) -> str:
    """Return the last line of a failing program without what may be a token, as of `sh -x`."""
    for word in output.decode(errors="replace").split():
        if len(word) >= _SHORTEST:
            error = error.replace(word, "***")
    # Of the forges, and whatever is long and has a digit.
    may_be = r"\b(?:gh[a-z]_|github_pat_|gl[a-z]+-)[\w.-]+|(?<![\w-])(?=[A-Za-z_-]*\d)[\w-]{20,}"
    return one_line(without_any_credentials(re.sub(may_be, "***", error)))


def _no_token(program: str, reason: str) -> InsidersError:
    return InsidersError(
        f"`token-command` returned no token: {program}: {reason}",
        HINT,
    )


def _finish(argv: tuple[str, ...], program: str) -> tuple[int, bytes, bytes]:
    """Run a program to its end; return its status, its first output and its last errors."""
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "LC_ALL": "C.UTF-8"},
        )
    except OSError as error:
        raise _no_token(program, cannot_run(argv[0], error).message) from error
    output, errors = bytearray(), bytearray()
    until_s = time.monotonic() + TIMEOUT_S
    with process, selectors.DefaultSelector() as selector:
        for stream, kept in ((process.stdout, output), (process.stderr, errors)):
            if stream is not None:
                os.set_blocking(stream.fileno(), False)
                selector.register(stream, selectors.EVENT_READ, kept)
        # Not until the end of the output: a child that it leaves may keep that open.
        while process.poll() is None:
            _take(selector, _CHECK_S)
            if time.monotonic() > until_s or len(output) > _LIMIT_BYTES:
                kill_with_descendants(process.pid)
                is_long = len(output) > _LIMIT_BYTES
                took = f"it took longer than {TIMEOUT_S} s"
                raise _no_token(program, "what it printed is not a token" if is_long else took)
        _take(selector, 0)
    return process.returncode, bytes(output), bytes(errors)


def _take(selector: selectors.BaseSelector, timeout_s: float) -> None:
    """Read what a program has printed; wait for it at most `timeout_s` seconds."""
    for found, _ in selector.select(timeout_s):
        part = os.read(found.fd, 4 * _LIMIT_BYTES)
        if not part:
            selector.unregister(found.fileobj)
        found.data.extend(part)
        # The first output and the last errors are enough; the rest could fill the memory.
        del found.data[: -4 * _LIMIT_BYTES]
