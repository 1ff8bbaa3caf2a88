"""The one root of the errors that a person gets to read."""


class InsidersError(Exception):
    """Say what failed, on which object and why, in one line.

    Args:
        message: one line, without a full stop.
        hint: what to type or do next, one line, or `None` where nothing helps.
    """

    exit_status = 1

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(InsidersError):
    """The person's own words cannot be what was meant."""

    exit_status = 2
