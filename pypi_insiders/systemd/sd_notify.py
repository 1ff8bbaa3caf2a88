"""Send the state of a service to systemd."""

import os

import sdnotify

from pypi_insiders.util.plain_text import one_line


class Notifier:
    """Sends notifications to the service manager; does nothing without one.

    Source: sd_notify(3).
    """

    def __init__(self) -> None:
        self._notifier = sdnotify.SystemdNotifier()
        # Children must not use it: with NotifyAccess=main, systemd logs a warning for each of their
        # messages.
        os.environ.pop("NOTIFY_SOCKET", None)

    def notify(self, *lines: str) -> None:
        """Send assignments such as `READY=1` in a single message."""
        text = "\n".join(map(one_line, lines))
        # sdnotify encodes as Latin-1, but systemd expects UTF-8.
        self._notifier.notify(text.encode(errors="replace").decode("latin-1"))
