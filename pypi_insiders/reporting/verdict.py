"""The items of a judgement: each with its subject, its severity and a hint."""

import re
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from enum import IntEnum, StrEnum
from typing import NamedTuple, TypeVar

from pypi_insiders.util.formatting import listed
from pypi_insiders.util.plain_text import one_line
from pypi_insiders.util.without_credentials import without_any_credentials

_T = TypeVar("_T")

CONFIG, REPOSITORIES, INDEX, STATE = "config.toml", "repos.toml", "index", "state"
BUILDS, PASSWORDS = "builds", "passwords"
ALL_YANKED = "yanked"
"""The kind of an item: every release of a project is yanked."""

_GROUPED, _NAMED = 6, 3


class Health(IntEnum):
    """The health of everything, as the exit status of `status`."""

    # 3 is what systemctl(1) and the LSB have for a service that is not running.

    WELL = 0
    FAILING = 1
    STOPPED = 3


class Severity(StrEnum):
    """The severity of an item."""

    PROBLEM = "problem"
    WARNING = "warning"
    NOTE = "note"


class Item(NamedTuple):
    """One line of the judgement."""

    severity: Severity
    subject: str
    """`NS/PROJ`, a project, `server`, `watcher`, `index`, `config.toml` ..."""
    text: str
    hint: str | None = None
    """The next command."""
    kind: str = ""
    """The same for the same problem; empty for a subject with one kind of problem."""
    is_stopped: bool = False
    """Whether it reports a service that is stopped, which may be intended."""

    @property
    def line(self) -> str:
        """Return the line that commands print."""
        return f"{self.subject}: {self.text}"


def grouped(items: Sequence[Item]) -> Iterator[Item]:
    """Yield items for a terminal: of six or more that differ only in their subject, one line."""
    return merged(
        items,
        lambda item: (item.severity, item.text, item.hint),
        lambda item: item.subject,
        lambda item, subjects: item._replace(subject=subjects),
    )


def merged(
    items: Sequence[_T],
    common: Callable[[_T], Hashable],
    subject: Callable[[_T], str],
    joined: Callable[[_T, str], _T],
) -> Iterator[_T]:
    """Yield items, but of six or more that differ only in their subject, one in place of the first.

    Args:
        items: in their order.
        common: returns what is the same for such items.
        subject: returns the subject of an item.
        joined: returns an item with some subjects, `a, b, c and 3 more`.
    """
    same = defaultdict[Hashable, list[str]](list)
    for item in items:
        same[common(item)].append(subject(item))
    are_named = set[Hashable]()
    for item in items:
        key = common(item)
        if len(same[key]) < _GROUPED:
            yield item
        elif key not in are_named:
            are_named.add(key)
            yield joined(item, listed(same[key], _NAMED))


class Judgement(NamedTuple):
    """The items of a snapshot, in the order in which they are printed."""

    problems: tuple[Item, ...] = ()
    warnings: tuple[Item, ...] = ()
    notes: tuple[Item, ...] = ()

    @property
    def items(self) -> tuple[Item, ...]:
        """All items, the gravest first."""
        return (*self.problems, *self.warnings, *self.notes)

    @property
    def health(self) -> Health:
        """The health of everything: a problem counts more than a stopped service."""
        if self.problems:
            return Health.FAILING
        # What is stopped is a warning, but scripts that watch a service want to know: status 3.
        is_stopped = any(item.is_stopped for item in self.warnings)
        return Health.STOPPED if is_stopped else Health.WELL

    def about(self, subjects: Iterable[str | None]) -> tuple[Item, ...]:
        """Return the items about some subjects."""
        # `None` among them is of a repository whose project is unknown, and is no subject.
        wanted = set(subjects)
        return tuple(item for item in self.items if item.subject in wanted)


def clean(text: str) -> str:
    """Remove credentials, line breaks and control characters."""
    return without_any_credentials(one_line(text))


def kind_of(error: str) -> str:
    """Return the kind of an error of a repository: the same for the same problem."""
    # By it a notification is sent once: a tag that fails in another way at each update, or an error
    # with a time or a commit in it, must not send one each half hour.
    if match := re.match(r"tag [^ :]+(?=: )|branch \S+(?= at [0-9a-f]+: )", error):
        return match[0]
    return re.sub(r"\b[0-9a-f]*\d[0-9a-f]*\b|\d+", "0", error)


def _of(severity: Severity) -> Callable[..., Item]:
    def make(subject: str, text: str, hint: str | None = None, kind: str = "") -> Item:
        return Item(severity, subject, text, hint, kind)

    return make


problem, warning, note = map(_of, Severity)
