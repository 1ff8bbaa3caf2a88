"""Send a message to the user."""

import html
import json
import os
import shutil
from dataclasses import dataclass
from typing import Any

from pypi_insiders.systemd import unconfined
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.formatting import last_line
from pypi_insiders.util.plain_text import one_line, printable
from pypi_insiders.util.process import run

_BUS = "org.freedesktop.DBus"
_SERVICE = "org.freedesktop.Notifications"
_TIMEOUT_S = 60


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
    program, timeout_s = argv[0], _TIMEOUT_S
    if command is not None and unconfined.is_needed():
        argv = unconfined.command(argv, "Notification of pypi-insiders", _TIMEOUT_S)
        timeout_s *= 2  # the unit ends first
    result = run(argv, timeout_s=timeout_s, stdin=message.text)
    if result.status != 0:
        reason = last_line(result.stderr, f"exit status {result.status}")
        raise InsidersError(
            f"{program} failed to send the message: {reason}",
            "test it with `pypi-insiders notify --test`, or set another `notify-command` in "
            "config.toml",
        )
    return program


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
