"""Bring a message to the person who may not be there."""

import html
import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from pypi_insiders.errors import InsidersError
from pypi_insiders.process import run
from pypi_insiders.urls import without_any_credentials

OFF = ("off",)
_TIMEOUT_S = 60
_BUS = "org.freedesktop.DBus"
_NOTIFICATIONS = "org.freedesktop.Notifications"


@dataclass(frozen=True)
class Message:
    """What the person is to know."""

    subject: str
    """One line."""
    body: str
    """Lines, each with its end."""


class NobodyError(InsidersError):
    """Nothing shows notifications at this moment."""


def send(message: Message, command: Sequence[str]) -> str | None:
    """Bring a message to the person; tell by what, `None` if by nothing.

    Args:
        message: URLs in it lose their credentials.
        command: is run without a shell, with the body as its input; `{subject}` in its words is
            the subject. Without words it is a notification on the desktop; `OFF` is none at all.

    Raises:
        NobodyError: there is no desktop now.
        InsidersError: the command failed.
    """
    if tuple(command) == OFF:
        return None
    subject, body = _clean(message.subject), _clean(message.body)
    if not command:
        _show_on_desktop(subject, body)
        return "notify-send"
    words = [word.replace("{subject}", subject) for word in command]
    result = run(words, timeout_s=_TIMEOUT_S, environment=os.environ, stdin=body)
    if result.status != 0:
        said = (result.stderr.strip() or result.stdout.strip()).partition("\n")[0]
        raise InsidersError(
            f"{shlex.join(command)} ended with {result.status}: {said or 'it said nothing'}",
            "change notify-command in config.toml, and try `pypi-insiders notify --test`",
        )
    return str(command[0])


def _clean(text: str) -> str:
    """Take out credentials, and what would move a cursor."""
    return "".join(
        character if character.isprintable() or character == "\n" else "?"
        for character in without_any_credentials(text)
    )


def _show_on_desktop(subject: str, body: str) -> None:
    """Show a notification, where something shows them.

    Source: notify-send(1); Desktop Notifications Specification, "Markup".
    """
    if not _has_desktop():
        raise NobodyError(
            "there is no desktop now that shows notifications", "set notify-command in config.toml"
        )
    result = run(
        (
            *("notify-send", "--app-name=pypi-insiders", "--icon=dialog-warning", "--"),
            *(subject, html.escape(body.rstrip("\n"), quote=False)),
        ),
        timeout_s=_TIMEOUT_S,
    )
    if result.status != 0:
        why = result.stderr.strip().partition("\n")[0]
        raise NobodyError(f"notify-send: {why}", "set notify-command in config.toml")


def _has_desktop() -> bool:
    """Tell whether the session is a graphical one, or something shows notifications anyhow.

    The bus alone would start a service for them even where it has no display.
    """
    if os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        return True
    argv = (
        *("busctl", "--user", "call", _BUS, "/org/freedesktop/DBus", _BUS),
        *("NameHasOwner", "s", _NOTIFICATIONS),
    )
    result = run(argv, timeout_s=_TIMEOUT_S)
    return result.stdout.strip() == "b true"
