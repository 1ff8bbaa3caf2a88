"""Send entries with fields to the journal, through its native protocol."""

import re
from pathlib import Path

from logging_journald import JournaldTransport

SOCKET = JournaldTransport.SOCKET_PATH
_PROGRAM = "pypi-insiders"


class Journal:
    """A sender of journal entries; thread-safe.

    Raises:
        OSError: no socket can be created.

    Source: https://systemd.io/JOURNAL_NATIVE_PROTOCOL/; systemd.journal-fields(7).
    """

    def __init__(self) -> None:
        # Not connected: a restarted journald has a new socket, and a connected one would fail.
        self._transport = JournaldTransport(SOCKET, connected=False)
        self._identifier = identifier(_cgroup())

    def send(self, message: str, priority: int, fields: dict[str, str]) -> None:
        """Send one entry, of any number of lines and bytes.

        Args:
            message: the text.
            priority: 0 to 7, as in syslog(3).
            fields: further fields by name.

        Raises:
            OSError: the journal is unreachable; nothing was sent.
        """
        # Lone surrogates cannot be encoded; Python escapes them on standard error, too.
        text = message.encode(errors="backslashreplace").decode()
        own = {"MESSAGE": text, "PRIORITY": priority, "SYSLOG_IDENTIFIER": self._identifier}
        self._transport.send((own | fields).items())


def identifier(cgroup: str) -> str:
    """Return the syslog identifier of a process: its unit or template, or the program's name.

    Args:
        cgroup: the text of `/proc/self/cgroup`.

    Source: cgroups(7), "/proc files"; systemd.exec(5), `SyslogIdentifier=`.
    """
    # SyslogIdentifier= of a unit applies to its standard error only; entries of the native protocol
    # must set the same, because the log commands select by it.
    unit = re.search(rf"/({_PROGRAM}-[^/@\n]+)(@[^/\n]*)?\.service$", cgroup, re.MULTILINE)
    return unit[1] if unit else _PROGRAM


def _cgroup() -> str:
    try:
        return Path("/proc/self/cgroup").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
