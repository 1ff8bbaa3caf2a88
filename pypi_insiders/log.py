"""Send log records to standard error, as the terminal or the journal wants them."""

import logging
import os
import re
import sys
from typing import TextIO

# Source: sd-daemon(3), the prefixes that systemd takes off a line for its priority.
_PRIORITIES = {
    logging.CRITICAL: 2,
    logging.ERROR: 3,
    logging.WARNING: 4,
    logging.INFO: 6,
    logging.DEBUG: 7,
}


def setup(verbosity: int = 0) -> None:
    """Make this program's records visible on standard error.

    Args:
        verbosity: below 0 only warnings and errors, 0 what happens, above 0 every step.
    """
    level = logging.WARNING if verbosity < 0 else logging.DEBUG if verbosity else logging.INFO
    handler = _Handler()
    handler.setFormatter(_JournalFormatter() if is_journal(sys.stderr) else _TerminalFormatter())
    logger = logging.getLogger("pypi_insiders")
    logger.handlers[:] = [handler]
    logger.setLevel(level)
    logger.propagate = False


def is_journal(stream: TextIO) -> bool:
    """Tell whether a stream is connected to the journal.

    Source: systemd.exec(5), `$JOURNAL_STREAM` (device and inode of the stream, `DEV:INODE`).
    """
    device, _, inode = os.environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return (device, inode) == (str(status.st_dev), str(status.st_ino))


class _Handler(logging.Handler):
    """Write to what standard error is at that moment: a live display takes its place."""

    def emit(self, record: logging.LogRecord) -> None:
        sys.stderr.write(f"{self.format(record)}\n")
        sys.stderr.flush()


class _JournalFormatter(logging.Formatter):
    """Prefix every line with its priority, also each line of a longer text."""

    def format(self, record: logging.LogRecord) -> str:
        prefix = f"<{_PRIORITIES.get(record.levelno, 6)}>"
        text = _printable(super().format(record))
        return "\n".join(prefix + line for line in text.splitlines() or [""])


class _TerminalFormatter(logging.Formatter):
    """Name the level of warnings and errors only: the rest reads as plain sentences."""

    def format(self, record: logging.LogRecord) -> str:
        text = _printable(super().format(record))
        return f"{record.levelname.lower()}: {text}" if record.levelno >= logging.WARNING else text


def _printable(text: str) -> str:
    """Take out what would move the cursor or colour the rest: foreign programs speak here too."""
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)  # Source: console_codes(4), "CSI sequences"
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", "?", re.sub("\r\n?", "\n", text))
