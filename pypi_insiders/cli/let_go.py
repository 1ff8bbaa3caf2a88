"""Report held names that go back to the fallback index."""

from collections.abc import Iterable

from pypi_insiders.cli.common import report
from pypi_insiders.config.paths import Paths


def report_let_go(paths: Paths, projects: Iterable[str]) -> bool:
    """Release the held names of which nothing is left; return whether there were any."""
    from pypi_insiders.update import removal

    gone = removal.let_go(paths, projects)
    for name in gone:
        report(f"{name} is no longer held: installers get it from the fallback index")
    return bool(gone)
