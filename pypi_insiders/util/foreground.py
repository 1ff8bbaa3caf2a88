"""Run programs that have our terminal."""

import logging
import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.process import cannot_run

_log = logging.getLogger(__name__)

# What a terminal sends to all processes of its foreground.
_OF_TERMINAL = (signal.SIGINT, signal.SIGQUIT)
_HANDED_ON = (*_OF_TERMINAL, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


def attached(argv: Sequence[str]) -> int:
    """Run a program that prints for the person, on our own standard output; return its status.

    Raises:
        InsidersError: the program is missing.
    """
    _log.debug("+ %s", shlex.join(argv))
    try:
        return subprocess.run(argv, stdin=subprocess.DEVNULL, check=False).returncode
    except OSError as error:
        raise cannot_run(argv[0], error) from error


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
        raise cannot_run(argv[0], error) from error
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def exec_program(argv: Sequence[str]) -> NoReturn:
    """Replace this process by a program, which inherits the terminal and ends in our place.

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


def run_foreground(argv: Sequence[str], environment: Mapping[str, str]) -> int:
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
