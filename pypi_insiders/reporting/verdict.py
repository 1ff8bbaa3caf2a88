"""The lines of a judgement: what each is about, how grave it is, and what helps."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import IntEnum, StrEnum

from pypi_insiders.util.plain_text import one_line
from pypi_insiders.util.without_credentials import without_any_credentials

CONFIG, REPOSITORIES, INDEX, STATE = "config.toml", "repos.toml", "index", "state"
BUILDS, PASSWORDS = "builds", "passwords"
ALL_YANKED = "yanked"
"""The kind of an item: every release of a project is yanked."""


class Health(IntEnum):
    """How everything is, as the exit status of `status`."""

    WELL = 0
    FAILING = 1
    STOPPED = 3


class Severity(StrEnum):
    """How grave an item is."""

    PROBLEM = "problem"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True)
class Item:
    """One line of the judgement."""

    severity: Severity
    subject: str
    """What it is about: `NS/PROJ`, a project, `server`, `watcher`, `index`, `config.toml` ..."""
    text: str
    hint: str | None = None
    """The next command to type."""
    kind: str = ""
    """The same as long as it is the same problem; empty where there can be but one."""
    is_stopped: bool = False
    """It says that a service does not run, which may be as it should be."""

    @property
    def line(self) -> str:
        """What a person reads of it."""
        return f"{self.subject}: {self.text}"


@dataclass(frozen=True)
class Judgement:
    """What there is to know of a snapshot, in the order in which to read it."""

    problems: tuple[Item, ...] = ()
    warnings: tuple[Item, ...] = ()
    notes: tuple[Item, ...] = ()

    @property
    def items(self) -> tuple[Item, ...]:
        """All of them, the gravest first."""
        return (*self.problems, *self.warnings, *self.notes)

    @property
    def health(self) -> Health:
        """How everything is: a problem counts more than what is stopped."""
        if self.problems:
            return Health.FAILING
        is_stopped = any(item.is_stopped for item in self.warnings)
        return Health.STOPPED if is_stopped else Health.WELL

    def about(self, subjects: Iterable[str | None]) -> tuple[Item, ...]:
        """Pick the items about some subjects."""
        wanted = set(subjects)
        return tuple(item for item in self.items if item.subject in wanted)


def clean(text: str) -> str:
    """Take out credentials, and what a terminal would not show as it is."""
    return without_any_credentials(one_line(text))


def kind_of(error: str) -> str:
    """Tell which problem an error of a repository is.

    Counts, times and commits do not make it another one; nor does how a tag fails.
    """
    if match := re.match(r"tag [^ :]+(?=: )", error):
        return match[0]
    return re.sub(r"\b[0-9a-f]*\d[0-9a-f]*\b|\d+", "0", error)


def _of(severity: Severity) -> Callable[..., Item]:
    def make(subject: str, text: str, hint: str | None = None, kind: str = "") -> Item:
        return Item(severity, subject, text, hint, kind)

    return make


problem, warning, note = map(_of, Severity)
