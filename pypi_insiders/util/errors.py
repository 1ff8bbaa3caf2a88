"""The base class of all errors that are shown to the user."""

from collections.abc import Callable
from typing import TypeVar

from pypi_insiders.util.plain_text import one_line

_T = TypeVar("_T")

# The head of a message names the object and its tail the reason, so the middle is cut.
_HEAD_CHARS, _TAIL_CHARS = 1500, 400


def cut(line: str) -> str:
    """Shorten an overlong line in its middle."""
    if len(line) <= _HEAD_CHARS + _TAIL_CHARS:
        return line
    left_out = len(line) - _HEAD_CHARS - _TAIL_CHARS
    return f"{line[:_HEAD_CHARS]} [{left_out} characters omitted] {line[-_TAIL_CHARS:]}"


def reason(error: BaseException) -> str:
    """Return the message of a library's or the system's error, without its number; never empty."""
    # str() of an OSError is "[Errno 2] ..." with the path, which our message names already.
    of_system = error.strerror if isinstance(error, OSError) else None
    return of_system or str(error) or type(error).__name__


class InsidersError(Exception):
    """A failure in one line: what failed, on which object, why.

    Args:
        message: without a full stop.
        hint: the next command or action, in one line; `None` if nothing helps.
    """

    exit_status = 1

    def __init__(self, message: str, hint: str | None = None) -> None:
        # Messages quote foreign text: a newline or an escape sequence in it must not forge output.
        self.message = cut(one_line(message))
        super().__init__(self.message)
        self.hint = hint if hint is None else one_line(hint)


def as_value(error: InsidersError) -> InsidersError:
    """Return an error that is kept, without the frames from which it was raised.

    They keep all their variables in memory, and with the error in one of them until a full garbage
    collection.
    """
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)


def tried(work: Callable[[], _T]) -> _T | InsidersError:
    """Return what a function returns, or its error, kept as by `as_value`."""
    try:
        return work()
    except InsidersError as error:
        return as_value(error)


class UsageError(InsidersError):
    """The command line is wrong."""

    exit_status = 2
