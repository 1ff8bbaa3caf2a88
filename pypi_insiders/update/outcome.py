"""The outcome of an update for one repository."""

from dataclasses import dataclass, field

from pypi_insiders.index import distribution
from pypi_insiders.util import times
from pypi_insiders.util.errors import InsidersError

_FELT_S = 1
"""Cleaning is reported only where it takes so long."""


@dataclass
class Outcome:
    """The outcome for one repository, or for a project that no watched repository builds."""

    repository: str
    """The repository, or the project if not watched."""
    is_watched: bool = True
    """Whether this is a watched repository."""
    published: list[str] = field(default_factory=list)
    """File names, in the order of their publication."""
    errors: list[InsidersError] = field(default_factory=list)
    failed_tags: dict[InsidersError, str] = field(default_factory=dict)
    """Error to its tag, where it is about one."""
    unreachable: bool = False
    """Its host is unreachable, but not for long enough to be an error."""
    warnings: list[str] = field(default_factory=list)
    """About tags that moved after their build, and about files that were built again."""
    hints: dict[str, str] = field(default_factory=dict)
    """Warning to hint, where it has one of its own."""
    seconds: dict[str, float] = field(default_factory=dict)
    """The duration of each step: `check`, `fetch`, `build`, `publish`, `clean`, `upload`."""

    @property
    def summary(self) -> str:
        """Return the published releases and the durations of the steps, in one line."""
        published = (distribution.release_of(name) for name in self.published)
        # Each release once, as it has an sdist and wheels.
        names = dict.fromkeys(f"{project} {version}" for project, version in published)
        steps = ", ".join(
            f"{step} {times.took(spent)}"
            for step, spent in self.seconds.items()
            if step != "clean" or spent >= _FELT_S
        )
        return f"{', '.join(names)} in {times.took(sum(self.seconds.values()))} ({steps})"
