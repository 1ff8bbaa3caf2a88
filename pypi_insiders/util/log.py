"""Send log records to standard error, as the terminal wants them, or to the journal."""

import copy
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, TextIO

from pypi_insiders.util.plain_text import Block, one_line, printable

if TYPE_CHECKING:
    from pypi_insiders.util.journal import Journal

REPOSITORY_FIELD = "PYPI_INSIDERS_REPOSITORY"
"""The field of an entry in the journal that names the repository which it is about."""

_repository: ContextVar[str | None] = ContextVar("repository", default=None)

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
    logger = logging.getLogger("pypi_insiders")
    logger.handlers[:] = [_JournalHandler() if is_journal(sys.stderr) else _StreamHandler()]
    logger.setLevel(level)
    logger.propagate = False


@contextmanager
def about(repository: str) -> Iterator[None]:
    """Say that what this thread logs is about a repository.

    Args:
        repository: its name.
    """
    token = _repository.set(repository)
    try:
        yield
    finally:
        _repository.reset(token)


def tell(text: str, *, is_error: bool = False) -> None:
    """Let a text go the way of the records, however quiet the log is, so that it keeps its place.

    Args:
        text: of one or more lines.
        is_error: whether something has failed.
    """
    logger = logging.getLogger("pypi_insiders")
    if not logger.handlers:
        setup()
    level = logging.ERROR if is_error else logging.INFO
    logger.handle(logger.makeRecord(logger.name, level, "", 0, text, (), None))


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


class _StreamHandler(logging.Handler):
    """Write to what standard error is at that moment: a live display takes its place."""

    def __init__(self, formatter: logging.Formatter | None = None) -> None:
        super().__init__()
        self.setFormatter(formatter or _TerminalFormatter())

    def emit(self, record: logging.LogRecord) -> None:
        sys.stderr.write(f"{self.format(record)}\n")
        sys.stderr.flush()


class _JournalHandler(_StreamHandler):
    """Send each record as one entry; where that cannot be, write lines with their priority."""

    def __init__(self) -> None:
        super().__init__(_LineFormatter())
        self._entry = _EntryFormatter()
        self._journal = _journal()

    def emit(self, record: logging.LogRecord) -> None:
        if self._journal is None or not self._send(self._journal, record):
            super().emit(record)

    def _send(self, journal: "Journal", record: logging.LogRecord) -> bool:
        repository = _repository.get()
        fields = {REPOSITORY_FIELD: repository} if repository else {}
        with suppress(OSError):
            journal.send(self._entry.format(record), _priority(record), fields)
            return True
        return False


def _journal() -> "Journal | None":
    from pypi_insiders.util.journal import Journal

    with suppress(OSError):
        return Journal()
    return None


def _priority(record: logging.LogRecord) -> int:
    return _PRIORITIES.get(record.levelno, 6)


class _InOneLine:
    """What is put into a message: names and other texts, which must not begin a line of their own.

    Args:
        value: what it stands for.
    """

    def __init__(self, value: object) -> None:
        self._value = value

    def __str__(self) -> str:
        return _as_one_line(str(self._value))

    def __repr__(self) -> str:
        return _as_one_line(repr(self._value))


def _as_one_line(text: str) -> str:
    """Return a text in one line; what is one already keeps the spaces around it."""
    text = printable(text)
    return one_line(text) if "\n" in text else text


def _in_one_line(value: object) -> object:
    return value if isinstance(value, int | float | Block) else _InOneLine(value)


class _EntryFormatter(logging.Formatter):
    """Write the text alone: the rest is in fields."""

    def format(self, record: logging.LogRecord) -> str:
        record, arguments = copy.copy(record), record.args
        if isinstance(arguments, Mapping):
            record.args = {name: _in_one_line(value) for name, value in arguments.items()}
        elif arguments:
            record.args = tuple(map(_in_one_line, arguments))
        return printable(super().format(record))


class _LineFormatter(_EntryFormatter):
    """Prefix every line with its priority, also each line of a longer text."""

    def format(self, record: logging.LogRecord) -> str:
        prefix = f"<{_priority(record)}>"
        return "\n".join(prefix + line for line in super().format(record).splitlines() or [""])


class _TerminalFormatter(_EntryFormatter):
    """Name the level of warnings and errors only: the rest reads as plain sentences."""

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        return f"{record.levelname.lower()}: {text}" if record.levelno >= logging.WARNING else text
