"""Report held names that go back to the fallback index."""

from collections.abc import Iterable

import click

from pypi_insiders.config.paths import Paths
from pypi_insiders.update import removal


def report_let_go(paths: Paths, projects: Iterable[str]) -> bool:
    """Release held names of which nothing is left, and report each; return whether any was."""
    gone = removal.let_go(paths, projects)
    for name in gone:
        click.echo(f"{name} is no longer held: installers get it from the fallback index")
    return bool(gone)
