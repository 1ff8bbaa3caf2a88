"""The one root of the errors that a person gets to read."""

from pypi_insiders.util.plain_text import one_line

_HEAD_CHARS, _TAIL_CHARS = 1500, 400


def cut(line: str) -> str:
    """Cut a line that foreign code may have written, in its middle, to what can be read."""
    if len(line) <= _HEAD_CHARS + _TAIL_CHARS:
        return line
    left_out = len(line) - _HEAD_CHARS - _TAIL_CHARS
    return f"{line[:_HEAD_CHARS]} [{left_out} characters left out] {line[-_TAIL_CHARS:]}"


def reason(error: BaseException) -> str:
    """Return what an error of a library or the system says, without its number; never nothing."""
    of_system = error.strerror if isinstance(error, OSError) else None
    return of_system or str(error) or type(error).__name__


class InsidersError(Exception):
    """Say what failed, on which object and why, in one line.

    Args:
        message: without a full stop; foreign text in it is made one line, and cut where it is very
            long.
        hint: what to type or do next, one line, or `None` where nothing helps.
    """

    exit_status = 1

    def __init__(self, message: str, hint: str | None = None) -> None:
        self.message = cut(one_line(message))
        super().__init__(self.message)
        self.hint = hint if hint is None else one_line(hint)


class UsageError(InsidersError):
    """The person's own words cannot be what was meant."""

    exit_status = 2
