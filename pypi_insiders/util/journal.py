"""Send entries to the journal through its native protocol, which knows fields."""

import re
from pathlib import Path

from logging_journald import JournaldTransport

SOCKET = JournaldTransport.SOCKET_PATH
_PROGRAM = "pypi-insiders"


class Journal:
    """A way to the journal, for several threads.

    Raises:
        OSError: the process may not make a socket.

    Source: https://systemd.io/JOURNAL_NATIVE_PROTOCOL/; systemd.journal-fields(7).
    """

    def __init__(self) -> None:
        # Not connected: the journal may be restarted, and has another socket then.
        self._transport = JournaldTransport(SOCKET, connected=False)
        self._identifier = identifier(_cgroup())

    def send(self, message: str, priority: int, fields: dict[str, str]) -> None:
        """Add one entry, of however many lines and bytes.

        Args:
            message: what people read.
            priority: 0 to 7, as syslog(3) counts them.
            fields: further ones, by their names.

        Raises:
            OSError: the journal cannot be reached, and has nothing of the entry.
        """
        # What no text should have is written as Python writes it to standard error.
        text = message.encode(errors="backslashreplace").decode()
        own = {"MESSAGE": text, "PRIORITY": priority, "SYSLOG_IDENTIFIER": self._identifier}
        self._transport.send((own | fields).items())


def identifier(cgroup: str) -> str:
    """Tell under which name the entries of a process are filed: that of our unit, or its template.

    Args:
        cgroup: of the process, as `/proc/self/cgroup` tells it.

    Source: cgroups(7), "/proc files"; systemd.exec(5), `SyslogIdentifier=`.
    """
    unit = re.search(rf"/({_PROGRAM}-[^/@\n]+)(@[^/\n]*)?\.service$", cgroup, re.MULTILINE)
    return unit[1] if unit else _PROGRAM


def _cgroup() -> str:
    try:
        return Path("/proc/self/cgroup").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
