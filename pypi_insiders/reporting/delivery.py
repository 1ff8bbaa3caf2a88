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
# Variables of the unit in which this runs: elsewhere they would name the wrong journal stream,
# credentials and notification socket.
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
        command: a program that reads the text, and its arguments, in which `{subject}` is
            replaced; `None`: the notification service of the desktop.

    Returns:
        The program that sent it; `None`: no desktop is running.

    Raises:
        InsidersError: the program cannot be run, or fails.
    """
    message = Message(one_line(message.subject), printable(message.text))
    if command is not None:
        # Not str.format(), which would fail for other braces of a command, as of a shell or JSON.
        argv = tuple(word.replace("{subject}", message.subject) for word in command)
    elif _has_desktop():
        # The desktop would take `<b>` or `&` in an error of a build for markup. Source: Desktop
        # Notifications Specification, "Markup".
        body = html.escape(message.text.rstrip(), quote=False)
        # `--`, as a subject may begin with a dash.
        argv = ("notify-send", "--app-name=pypi-insiders", "--", message.subject, body)
    else:
        return None
    # notify-send needs only the bus of the user, and works confined.
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
    """Return whether this process and its children cannot get the group of a program file."""
    # mail and wall are setgid. Source: proc_pid_status(5), `NoNewPrivs`.
    try:
        return "NoNewPrivs:\t1" in Path("/proc/self/status").read_text(encoding="utf-8")
    except OSError:
        return False


def _run_outside(argv: Sequence[str], text: str) -> Result:
    """Run a program with the variables of this process in a unit that is not confined.

    Source: systemd-run(1); systemd.exec(5), "ENVIRONMENT VARIABLES".
    """
    kept = (name for name in os.environ if name not in _OF_UNIT and name.isidentifier())
    return run(
        transient.command(
            argv,
            # Not the command, which may have a secret: systemd logs the description.
            "Notification of pypi-insiders",
            (f"RuntimeMaxSec={_TIMEOUT_S}",),
            variables=kept,
        ),
        timeout_s=2 * _TIMEOUT_S,
        stdin=text,
    )


def _has_desktop() -> bool:
    """Return whether the session's bus has a notification service, or can start one."""
    if shutil.which("notify-send") is None:
        return False
    # Without starting it: `notify-send` waits 25 s for a service that cannot start.
    if _ask("NameHasOwner", "s", _SERVICE) == [True]:
        return True
    # Without a display the service would fail to start.
    has_display = bool(os.environ.get("WAYLAND_DISPLAY") or os.environ.get("DISPLAY"))
    return has_display and any(_SERVICE in names for names in _ask("ListActivatableNames"))


def _ask(*call: str) -> list[Any]:
    """Call a method of the session's bus; return nothing where no bus is running.

    Source: D-Bus Specification, "Message Bus Messages"; busctl(1).
    """
    path = "/" + _BUS.replace(".", "/")
    argv = ("busctl", "--user", "--json=short", "call", _BUS, path, _BUS, *call)
    try:
        result = run(argv, timeout_s=_TIMEOUT_S)
    except InsidersError:
        return []
    return list(json.loads(result.stdout)["data"]) if result.status == 0 else []
