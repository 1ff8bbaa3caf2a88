"""Track the steps of an update for each repository, and their durations."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple


class Activity(NamedTuple):
    """A step that is running for a repository."""

    verb: str
    """`check`, `fetch`, `build`, `publish`, `clean`, `upload` or `look`."""
    what: str = ""
    """The tag to build, or the version that was built."""
    number: int = 0
    """The number of this build in the update, from 1; 0 for anything else."""
    expected: int = 0
    """The number of builds in the update."""

    def __str__(self) -> str:
        """Return it as a phrase, `building v1.0 (2 of 4)`."""
        of = f" ({self.number} of {self.expected})" if self.number else ""
        return f"{self.verb}ing {self.what}".rstrip() + of


class _Begun(NamedTuple):
    """A running step."""

    step: Activity
    since_s: float


class Progress:
    """The progress of one update; thread-safe.

    Args:
        show: called with a repository and its new step; `None` when none is running.
        tell: called with one line on the whole update whenever it changes.
    """

    def __init__(
        self, show: Callable[[str, Activity | None], None], tell: Callable[[str], None]
    ) -> None:
        self._show = show
        self._tell = tell
        self._told = ""
        self._lock = threading.Lock()
        # Not time.time(): the clock may be set while an update runs for an hour.
        self._start_s = time.monotonic()
        self._started, self._expected = Counter[str](), Counter[str]()
        self._now: dict[str, _Begun] = {}
        """By repository, the latest last."""
        self._seconds: dict[str, dict[str, float]] = {}

    @property
    def elapsed_s(self) -> float:
        """Seconds since the start of the update."""
        return time.monotonic() - self._start_s

    def seconds(self, repository: str) -> dict[str, float]:
        """Return the seconds spent on a repository, by verb, in the order of the steps."""
        with self._lock:
            return dict(self._seconds.get(repository, {}))

    def expect(self, verb: str, number: int) -> None:
        """Change the expected number of checks or builds; may be negative."""
        with self._lock:
            self._expected[verb] += number

    def begin(self, repository: str, verb: str, what: str = "") -> None:
        """Start a step of a repository, or of none (`""`); this ends its previous step."""
        with self._lock:
            self._end(repository)
            self._started[verb] += 1
            place = (self._started[verb], self._expected[verb]) if verb == "build" else (0, 0)
            step = Activity(verb, what, *place)
            # Popped by `_end`, so inserted last: `_line` shows the latest step.
            self._now[repository] = _Begun(step, time.monotonic())
            # Under the lock: a live display must not be called by two threads at once.
            self._show(repository, step)
            self._retell(self._line())

    def end(self, repository: str) -> None:
        """End the current step of a repository."""
        with self._lock:
            if self._end(repository):
                self._show(repository, None)
                self._retell(self._line())

    def tell(self, line: str) -> None:
        """Report a step that belongs to no repository."""
        with self._lock:
            self._retell(line)

    # Called with the lock.
    def _end(self, repository: str) -> bool:
        ended = self._now.pop(repository, None)
        if ended is None:
            return False
        # Added up, as a repository with several new tags has several steps of a kind.
        spent, verb = self._seconds.setdefault(repository, {}), ended.step.verb
        spent[verb] = spent.get(verb, 0) + time.monotonic() - ended.since_s
        return True

    def _retell(self, line: str) -> None:
        # Empty between two steps: then the last line stays, and does not flicker.
        if line and line != self._told:
            self._told = line
            self._tell(line)

    def _line(self) -> str:
        """Return the progress of the checks and the latest other step; empty between two steps."""
        # Many checks run at a time, so they are only counted; other steps are shown by name.
        work = [(name, it) for name, it in self._now.items() if it.step.verb != "check"]
        words = []
        if len(work) < len(self._now):
            words.append(f"checking {self._started['check']} of {self._expected['check']}")
        if work:
            name, (step, _) = work[-1]
            # As many as are expected now.
            step = step._replace(
                what=f"{name} {step.what}".strip(), expected=self._expected["build"]
            )
            words.append(f"{step} and {len(work) - 1} more" if len(work) > 1 else str(step))
        return ", ".join(words)
