"""What a check found."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True)
class Finding:
    """What one check found."""

    check: str
    """What was looked at."""
    verdict: Verdict
    message: str
    hint: str | None = None
    """What to type or do, where there is a remedy."""
    repository: str | None = None
    """`NS/PROJ`, if it is about one of them."""

    @property
    def line(self) -> str:
        """What a person reads of it."""
        return f"{self.check}: {f'{self.repository} ' if self.repository else ''}{self.message}"


def ok(check: str, message: str, hint: str | None = None) -> Finding:
    """Tell that all is well."""
    return Finding(check, Verdict.OK, message, hint)


def warning(check: str, message: str, hint: str | None) -> Finding:
    """Tell what may be as it should be, or goes well all the same."""
    return Finding(check, Verdict.WARNING, message, hint)


def problem(check: str, message: str, hint: str | None) -> Finding:
    """Tell what keeps something from its work."""
    return Finding(check, Verdict.PROBLEM, message, hint)


def together(words: Sequence[str]) -> str:
    """Write a list as people do: `a, b and c`."""
    return " and ".join((", ".join(words[:-1]), words[-1])) if len(words) > 1 else "".join(words)
