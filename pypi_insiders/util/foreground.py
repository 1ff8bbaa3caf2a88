"""Run programs on this process's terminal."""

import logging
import os
import shlex
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.process import cannot_run

_log = logging.getLogger(__name__)

# Ctrl-C and Ctrl-\: a terminal sends them to every process of its foreground group.
_FROM_TERMINAL = (signal.SIGINT, signal.SIGQUIT)
_FORWARDED = (*_FROM_TERMINAL, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


def attached(argv: Sequence[str]) -> int:
    """Run a program on our standard output and error; return its exit status.

    Raises:
        InsidersError: the program is missing.
    """
    _log.debug("+ %s", shlex.join(argv))
    try:
        return subprocess.run(argv, stdin=subprocess.DEVNULL, check=False).returncode
    except OSError as error:
        raise cannot_run(argv[0], error) from error


def interactive(argv: Sequence[str]) -> int:
    """Run an interactive program, such as an editor; return its exit status.

    Raises:
        InsidersError: the program cannot be run.
    """
    _log.debug("+ %s", shlex.join(argv))
    # Ctrl-C in an editor is for the editor, as in git (launch_specified_editor in its editor.c).
    # A handler and not SIG_IGN, which the program would inherit. Source: execve(2).
    keys = (signal.SIGINT, signal.SIGQUIT)
    before = {number: signal.signal(number, lambda *_: None) for number in keys}
    try:
        return subprocess.run(argv, check=False).returncode
    except OSError as error:
        raise cannot_run(argv[0], error) from error
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def exec_program(argv: Sequence[str]) -> NoReturn:
    """Replace this process by a program.

    Raises:
        InsidersError: the program is missing.

    Source: execvp(3).
    """
    _log.debug("+ exec %s", shlex.join(argv))
    try:
        os.execvp(argv[0], list(argv))
    except OSError as error:
        raise cannot_run(argv[0], error) from error


class CommandNotFoundError(InsidersError):
    """A command was not found."""

    exit_status = 127


class NotExecutableError(InsidersError):
    """A command was found and cannot be executed."""

    exit_status = 126


def find_command(name: str) -> None:
    """Require that a command of this name or path exists.

    Raises:
        CommandNotFoundError: it was not found.
        NotExecutableError: it is not executable.

    Source: env(1), "EXIT STATUS".
    """
    import shutil

    if shutil.which(name) is None:
        # `which` does not tell the two apart, and a shell exits with 126 for the one, 127 for the
        # other.
        directories = [""] if os.sep in name else os.get_exec_path()
        if any(Path(directory, name).exists() for directory in directories):
            hint = "run `chmod +x`, or name its interpreter"
            raise NotExecutableError(f"{name} is not executable", hint)
        raise _not_found(name)


def _not_found(command: str) -> CommandNotFoundError:
    # A name with a space is most likely a whole command line in quotes.
    hint = f"to run a shell command line, use `sh -c {shlex.quote(command)}`"
    return CommandNotFoundError(
        f"{command} was not found", hint if " " in command else "check its spelling and $PATH"
    )


def run_foreground(argv: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run a command on our terminal; return its exit status as a shell does.

    Signals to this process are forwarded to the command, and this process waits for its end.

    Returns:
        Its exit status, or 128 plus the number of the signal that killed it.

    Raises:
        CommandNotFoundError: it was not found.
        NotExecutableError: it cannot be executed.

    Source: env(1), "EXIT STATUS"; tty_ioctl(4), tcgetpgrp(3).
    """
    _log.debug("+ %s", shlex.join(argv))
    command: subprocess.Popen[bytes] | None = None
    # Signals between the installation of the handlers and the start of the command.
    early: list[int] = []

    def forward(number: int, _frame: FrameType | None) -> None:
        # The terminal has sent it to the command as well, which must not see a second Ctrl-C.
        if number in _FROM_TERMINAL and _is_in_foreground():
            return
        if command is None:
            early.append(number)
        else:
            command.send_signal(number)

    # An ignored signal stays ignored, here and in the command, as nohup(1) intends.
    handlers = {
        number: signal.signal(number, forward)
        for number in _FORWARDED
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        # Inherited files stay open, as with env(1): a socket, or the job server of make.
        command = subprocess.Popen(argv, env=environment, close_fds=False)
        for number in early:
            command.send_signal(number)
        status = command.wait()
    except FileNotFoundError as error:
        raise _not_found(argv[0]) from error
    except OSError as error:
        message = f"cannot run {argv[0]}: {error.strerror or error}"
        raise NotExecutableError(message, "check its type with `file`") from error
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    return status if status >= 0 else 128 - status


def _is_in_foreground() -> bool:
    try:
        # Not of standard input, which may be a pipe.
        terminal = os.open(os.ctermid(), os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)
