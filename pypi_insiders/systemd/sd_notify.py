"""Tell systemd how a service is."""

import os

import sdnotify

from pypi_insiders.util.plain_text import one_line


class Notifier:
    """A way to the service manager; without one nobody is told.

    The variable that names its socket is taken away: no program that we start is to use it.

    Source: sd_notify(3).
    """

    def __init__(self) -> None:
        self._notifier = sdnotify.SystemdNotifier()
        # With NotifyAccess=main systemd ignores them, but logs a warning for each message.
        os.environ.pop("NOTIFY_SOCKET", None)

    def notify(self, *lines: str) -> None:
        """Send assignments such as `READY=1`, in one message."""
        text = "\n".join(map(one_line, lines))
        # What it sends is Latin-1, and systemd reads UTF-8.
        self._notifier.notify(text.encode(errors="replace").decode("latin-1"))
