"""Send a message to the user."""

import html
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pypi_insiders.systemd import transient
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.formatting import last_line
from pypi_insiders.util.plain_text import one_line, printable
from pypi_insiders.util.process import Result, run

_BUS = "org.freedesktop.DBus"
_SERVICE = "org.freedesktop.Notifications"
_TIMEOUT_S = 60
# Of the unit in which this runs.
_OF_UNIT = (
    "CREDENTIALS_DIRECTORY",
    "INVOCATION_ID",
    "JOURNAL_STREAM",
    "MANAGERPID",
    "MONITOR_EXIT_CODE",
    "NOTIFY_SOCKET",
    "RUNTIME_DIRECTORY",
    "SYSTEMD_EXEC_PID",
)


@dataclass(frozen=True)
class Message:
    """A message about problems."""

    subject: str
    """One line."""
    text: str
    """Lines that can be understood without the subject."""


def send(message: Message, command: tuple[str, ...] | None) -> str | None:
    """Send a message by a command, or to the desktop of the user.

    Args:
        message: what to send.
        command: a program, which reads the text, and its arguments, in which `{subject}` is
            replaced; `None`: the notification service of the desktop.

    Returns:
        The program that took it; `None`: there is no desktop.

    Raises:
        InsidersError: the program cannot be run, or it failed.
    """
    message = Message(one_line(message.subject), printable(message.text))
    if command is not None:
        # Not str.format(): other braces of a command are its own.
        argv = tuple(word.replace("{subject}", message.subject) for word in command)
    elif _has_desktop():
        # The text may have markup, so what looks like it must not. Source: Desktop Notifications
        # Specification, "Markup".
        body = html.escape(message.text.rstrip(), quote=False)
        # `--`, for a subject may begin with a dash.
        argv = ("notify-send", "--app-name=pypi-insiders", "--", message.subject, body)
    else:
        return None
    # notify-send speaks to the bus of the user, for which it needs no group.
    if command is not None and _is_confined():
        result = _run_outside(argv, message.text)
    else:
        result = run(argv, timeout_s=_TIMEOUT_S, stdin=message.text)
    if result.status != 0:
        reason = last_line(result.stderr, f"exit status {result.status}")
        raise InsidersError(
            f"{argv[0]} failed to send the message: {reason}",
            "test it with `pypi-insiders notify --test`, or set another `notify-command` in "
            "config.toml",
        )
    return argv[0]


def _is_confined() -> bool:
    """Tell whether this process, and what it runs, cannot get the group of a program file."""
    # mail and wall need theirs. Source: proc_pid_status(5), `NoNewPrivs`.
    try:
        return "NoNewPrivs:\t1" in Path("/proc/self/status").read_text(encoding="utf-8")
    except OSError:
        return False


def _run_outside(argv: Sequence[str], text: str) -> Result:
    """Run a program with our variables in a unit of its own, which is not confined.

    Source: systemd-run(1); systemd.exec(5), "ENVIRONMENT VARIABLES".
    """
    kept = (name for name in os.environ if name not in _OF_UNIT and name.isidentifier())
    return run(
        transient.command(
            argv,
            # Not the words of the command, which may have a secret: the journal would have them.
            "Notification of pypi-insiders",
            (f"RuntimeMaxSec={_TIMEOUT_S}",),
            variables=kept,
        ),
        timeout_s=2 * _TIMEOUT_S,
        stdin=text,
    )


def _has_desktop() -> bool:
    """Tell whether the session's bus has a notification service, or can start one."""
    if shutil.which("notify-send") is None:
        return False
    # Asked without starting it: `notify-send` waits 25 s for a service that cannot start.
    if _ask("NameHasOwner", "s", _SERVICE) == [True]:
        return True
    # Without a display it would be waited for in vain.
    has_display = bool(os.environ.get("WAYLAND_DISPLAY") or os.environ.get("DISPLAY"))
    return has_display and any(_SERVICE in names for names in _ask("ListActivatableNames"))


def _ask(*call: str) -> list[Any]:
    """Ask the session's bus itself; it answers nothing where there is none.

    Source: D-Bus Specification, "Message Bus Messages"; busctl(1).
    """
    path = "/" + _BUS.replace(".", "/")
    argv = ("busctl", "--user", "--json=short", "call", _BUS, path, _BUS, *call)
    try:
        result = run(argv, timeout_s=_TIMEOUT_S)
    except InsidersError:
        return []
    return list(json.loads(result.stdout)["data"]) if result.status == 0 else []
