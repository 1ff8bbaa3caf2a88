"""What one update did for one repository."""

from dataclasses import dataclass, field

from pypi_insiders.index import distribution
from pypi_insiders.util import times
from pypi_insiders.util.errors import InsidersError

_FELT_S = 1
"""Cleaning is reported only where it takes so long."""


@dataclass
class Outcome:
    """What one update did for one repository, or found of a project that none builds."""

    repository: str
    """Or else the project."""
    is_watched: bool = True
    """Whether it is a repository."""
    published: list[str] = field(default_factory=list)
    """File names, in the order of their publication."""
    errors: list[InsidersError] = field(default_factory=list)
    unreachable: bool = False
    """Its host is out of reach, not for long enough yet to be an error."""
    warnings: list[str] = field(default_factory=list)
    """Of tags that have moved after they were built, and of what was built again."""
    seconds: dict[str, float] = field(default_factory=dict)
    """How long each step took: `check`, `fetch`, `build`, `publish`, `clean`, `upload`."""

    @property
    def summary(self) -> str:
        """Return which releases were published, and how long that took, in one line."""
        published = (distribution.release_of(name) for name in self.published)
        names = dict.fromkeys(f"{project} {version}" for project, version in published)
        steps = ", ".join(
            f"{step} {times.took(spent)}"
            for step, spent in self.seconds.items()
            if step != "clean" or spent >= _FELT_S
        )
        return f"{', '.join(names)} in {times.took(sum(self.seconds.values()))} ({steps})"
