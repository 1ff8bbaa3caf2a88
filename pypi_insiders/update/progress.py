"""Keep account of what an update does at each repository, and of how long that takes."""

import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Activity:
    """Something that is done at a repository."""

    verb: str
    """`check`, `fetch`, `build`, `publish`, `clean` or `upload`."""
    what: str = ""
    """The tag that is built, or the version that was."""
    number: int = 0
    """Which build it is of this update, from 1; 0 for anything else."""
    expected: int = 0
    """Of how many builds."""

    def __str__(self) -> str:
        """Return it as a user reads it while it is done."""
        of = f" ({self.number} of {self.expected})" if self.number else ""
        return f"{self.verb}ing {self.what}".rstrip() + of


@dataclass
class _Count:
    """How many of something have been begun, of how many."""

    begun: int = 0
    expected: int = 0


@dataclass(frozen=True)
class _Begun:
    """A step that is under way."""

    step: Activity
    number: int
    """Which of its kind it is, from 1."""
    since_s: float


class Progress:
    """The account of one update; safe in threads.

    Args:
        show: told the name of a repository and what is done there now; `None` when nothing is.
        tell: told in one line what the update does, whenever that changes.
    """

    def __init__(
        self, show: Callable[[str, Activity | None], None], tell: Callable[[str], None]
    ) -> None:
        self._show = show
        self._tell = tell
        self._told = ""
        self._lock = threading.Lock()
        self._start_s = time.monotonic()
        self._counts: dict[str, _Count] = defaultdict(_Count)
        self._now: dict[str, _Begun] = {}
        """By repository, the latest last."""
        self._seconds: dict[str, dict[str, float]] = {}

    @property
    def elapsed_s(self) -> float:
        """For how many seconds the update has been under way."""
        return time.monotonic() - self._start_s

    def seconds(self, repository: str) -> dict[str, float]:
        """Tell how many seconds were spent on a repository, by verb, in the order of the steps."""
        with self._lock:
            return dict(self._seconds.get(repository, {}))

    def expect(self, verb: str, number: int) -> None:
        """Add to how many checks or builds there will be; a negative number takes away."""
        with self._lock:
            self._counts[verb].expected += number

    def begin(self, repository: str, verb: str, what: str = "") -> None:
        """Note that something begins, and that what was done at that repository has ended."""
        with self._lock:
            self._end(repository)
            count = self._counts[verb]
            count.begun += 1
            place = (count.begun, count.expected) if verb == "build" else (0, 0)
            step = Activity(verb, what, *place)
            self._now[repository] = _Begun(step, count.begun, time.monotonic())
            self._show(repository, step)
            self._retell(self._line())

    def end(self, repository: str) -> None:
        """Note that nothing is done at a repository any more, for now."""
        with self._lock:
            if self._end(repository):
                self._show(repository, None)
                self._retell(self._line())

    def tell(self, line: str) -> None:
        """Tell what the update does apart from repositories."""
        with self._lock:
            self._retell(line)

    def _end(self, repository: str) -> bool:
        ended = self._now.pop(repository, None)
        if ended is None:
            return False
        spent, verb = self._seconds.setdefault(repository, {}), ended.step.verb
        spent[verb] = spent.get(verb, 0) + time.monotonic() - ended.since_s
        return True

    def _retell(self, line: str) -> None:
        if line and line != self._told:
            self._told = line
            self._tell(line)

    def _line(self) -> str:
        """Tell how far the checks are, and what else was begun last; nothing between two steps."""
        work = [(name, it) for name, it in self._now.items() if it.step.verb != "check"]
        words = []
        if len(work) < len(self._now):
            count = self._counts["check"]
            words.append(f"checking {count.begun} of {count.expected}")
        if work:
            name, latest = work[-1]
            step, expected = latest.step, self._counts["build"].expected
            of = f" ({latest.number} of {expected})" if step.verb == "build" else ""
            more = f" and {len(work) - 1} more" if len(work) > 1 else ""
            words.append(f"{step.verb}ing {name} {step.what}".rstrip() + of + more)
        return ", ".join(words)
