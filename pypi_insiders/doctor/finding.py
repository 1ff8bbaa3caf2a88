"""A finding: the result of one check."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from pypi_insiders.reporting import verdict


class Verdict(StrEnum):
    """How grave the result of a check is."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True)
class Finding:
    """The result of one check."""

    check: str
    """What was checked."""
    verdict: Verdict
    message: str
    hint: str | None = None
    """The next command, or what to do; `None`: nothing helps, or nothing has to be done."""
    repository: str | None = None
    """`NS/PROJ`, if the check is about one repository."""

    @property
    def line(self) -> str:
        """Return the line that `doctor` prints."""
        return f"{self.check}: {f'{self.repository} ' if self.repository else ''}{self.message}"


def grouped(findings: Sequence[Finding]) -> Iterator[Finding]:
    """Yield findings for a terminal: of six or more that differ only in their subject, one line.

    The subject is the repository or, of a finding about none, what was checked.
    """
    return verdict.merged(
        findings,
        lambda item: (item.verdict, item.message, item.hint, item.repository and item.check),
        lambda item: item.repository or item.check,
        lambda item, names: (
            replace(item, repository=f"each of {names}")
            if item.repository
            else replace(item, check=names)
        ),
    )


def ok(check: str, message: str, hint: str | None = None) -> Finding:
    """Return the finding of a check that passed."""
    return Finding(check, Verdict.OK, message, hint)


def warning(check: str, message: str, hint: str | None) -> Finding:
    """Return a finding that may be intended, or that stops nothing."""
    return Finding(check, Verdict.WARNING, message, hint)


def problem(check: str, message: str, hint: str | None) -> Finding:
    """Return a finding because of which something does not work."""
    return Finding(check, Verdict.PROBLEM, message, hint)


def together(words: Sequence[str]) -> str:
    """Join words as in a sentence: `a, b and c`."""
    return " and ".join((", ".join(words[:-1]), words[-1])) if len(words) > 1 else "".join(words)
