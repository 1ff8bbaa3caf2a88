"""Write log records to standard error or to the journal."""

import copy
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, TextIO

from pypi_insiders.util.plain_text import Block, one_line, printable

if TYPE_CHECKING:
    from pypi_insiders.util.journal import Journal

REPOSITORY_FIELD = "PYPI_INSIDERS_REPOSITORY"
"""The journal field with the name of the repository."""

# A context variable: git and uv far below know nothing of repositories, and several are updated at
# once in threads.
_repository: ContextVar[str | None] = ContextVar("repository", default=None)

_BELOW = frozenset(
    f"pypi_insiders.{name}"
    for name in (
        *("builder.build", "builder.environments", "builder.requirements", "builder.sandbox"),
        *("git.checkout", "git.lfs", "git.mirror", "git.submodules"),
    )
)
"""The loggers of modules that do not know of which repository they report."""

# The syslog priorities; as a `<N>` prefix systemd strips them off a line. Source: sd-daemon(3).
_PRIORITIES = {
    logging.CRITICAL: 2,
    logging.ERROR: 3,
    logging.WARNING: 4,
    logging.INFO: 6,
    logging.DEBUG: 7,
}


def setup(verbosity: int = 0) -> None:
    """Show this program's log records on standard error.

    Args:
        verbosity: below 0 for warnings and errors only, 0 for events, above 0 for each step.
    """
    level = logging.WARNING if verbosity < 0 else logging.DEBUG if verbosity else logging.INFO
    # Not the root logger: records of libraries stay out.
    logger = logging.getLogger("pypi_insiders")
    # Replaced, not added: `tell` may have called `setup` before the options were parsed.
    logger.handlers[:] = [_JournalHandler() if is_journal(sys.stderr) else _StreamHandler()]
    logger.setLevel(level)
    logger.propagate = False


@contextmanager
def about(repository: str) -> Iterator[None]:
    """Add the name of a repository to all journal entries of this thread in this context."""
    token = _repository.set(repository)
    try:
        yield
    finally:
        _repository.reset(token)


@contextmanager
def together() -> Iterator[None]:
    """Keep the records of other threads out from between those of this context."""
    # `handle` takes the same lock, which its thread may take again.
    with ExitStack() as stack:
        for handler in logging.getLogger("pypi_insiders").handlers:
            handler.acquire()
            stack.callback(handler.release)
        yield


def tell(text: str, *, is_error: bool = False) -> None:
    """Write one or more lines where the log goes, whatever the verbosity."""
    logger = logging.getLogger("pypi_insiders")
    if not logger.handlers:
        setup()
    level = logging.ERROR if is_error else logging.INFO
    # `handle` skips the level check. Through the handlers and not print, so that it stays in order
    # with the records.
    logger.handle(logger.makeRecord(logger.name, level, "", 0, text, (), None))


def is_journal(stream: TextIO) -> bool:
    """Return whether a stream is connected to the journal.

    Source: systemd.exec(5), `$JOURNAL_STREAM` (device and inode of the stream, `DEV:INODE`).
    """
    # The variable alone is not enough: children inherit it even where their output is a pipe.
    device, _, inode = os.environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return (device, inode) == (str(status.st_dev), str(status.st_ino))


class _StreamHandler(logging.Handler):
    def __init__(self, formatter: logging.Formatter | None = None) -> None:
        super().__init__()
        self.setFormatter(formatter or _TerminalFormatter())

    def emit(self, record: logging.LogRecord) -> None:
        # Looked up each time, unlike logging.StreamHandler: a live display replaces sys.stderr.
        sys.stderr.write(f"{self.format(record)}\n")
        sys.stderr.flush()


class _JournalHandler(_StreamHandler):
    """Send each record as one journal entry; if that fails, write lines with `<N>` prefixes."""

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
        with suppress(OSError):  # journald restarts, or a sandbox hides its socket
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
    """Wrap an argument of a log message, so that `%s` and `%r` format it in one line."""

    def __init__(self, value: object) -> None:
        self._value = value

    def __str__(self) -> str:
        return _as_one_line(str(self._value))

    def __repr__(self) -> str:
        return _as_one_line(repr(self._value))


def _as_one_line(text: str) -> str:
    text = printable(text)
    # Only if needed: `one_line` strips spaces, which a single line may have on purpose.
    return one_line(text) if "\n" in text else text


def _in_one_line(value: object) -> object:
    # Numbers stay numbers for `%d` and `%.1f`.
    return value if isinstance(value, int | float | Block) else _InOneLine(value)


class _EntryFormatter(logging.Formatter):
    """Format the message only: level, time and repository are journal fields."""

    def format(self, record: logging.LogRecord) -> str:
        # Arguments are foreign (tags, versions, file names): a newline in one could forge an entry
        # of the log. Other handlers get the same record, so a copy is changed.
        record, arguments = copy.copy(record), record.args
        if isinstance(arguments, Mapping):
            record.args = {name: _in_one_line(value) for name, value in arguments.items()}
        elif arguments:
            record.args = tuple(map(_in_one_line, arguments))
        return _subject(record) + printable(super().format(record))


def _subject(record: logging.LogRecord) -> str:
    # Of several that are built at once, the terminal would not show which one lacks a Python.
    name = _repository.get() if record.levelno > logging.DEBUG else None
    return f"{name}: " if name and record.name in _BELOW else ""


class _LineFormatter(_EntryFormatter):
    def format(self, record: logging.LogRecord) -> str:
        # Each line is an entry of its own in the journal, so each needs its priority.
        prefix = f"<{_priority(record)}>"
        return "\n".join(prefix + line for line in super().format(record).splitlines() or [""])


class _TerminalFormatter(_EntryFormatter):
    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        # As git and uv do: "warning: ...", and no prefix for progress.
        return f"{record.levelname.lower()}: {text}" if record.levelno >= logging.WARNING else text
