"""`pypi-insiders status`, and `pypi-insiders` alone."""

import gc
from datetime import datetime

import click

from pypi_insiders.cli import completers
from pypi_insiders.cli.common import CommonCommand, json_option, none_watched
from pypi_insiders.cli.table import echo_table
from pypi_insiders.cli.verdicts import echo_verdict, echo_verdicts
from pypi_insiders.config.paths import default_paths


@click.command(cls=CommonCommand)
@click.argument("names", metavar="[NS/PROJ]...", nargs=-1, shell_complete=completers.repositories)
@json_option
@click.pass_context
def status(ctx: click.Context, names: tuple[str, ...], as_json: bool) -> None:
    """Show the state of everything.

    The index, the watcher, each repository with the release that is served, its tag and the version
    on PyPI, and all problems. With NS/PROJ, only these repositories and their problems. A page and
    a file are fetched from the index, which starts it if it is idle. Exit status: 0 all is well, 1
    a problem was found, 3 a service is stopped.
    """
    # What is read stays until the end: to look for garbage in it takes a quarter of the time.
    gc.disable()
    # TAB completes its arguments without this.
    from pypi_insiders.reporting import status as state
    from pypi_insiders.reporting.verdict import grouped

    now = datetime.now().astimezone()
    found = state.take(default_paths(), now, names)
    if as_json:
        click.echo(state.as_json(found))
        ctx.exit(found.judgement.health)
    is_first = True
    # Of some repositories the services are not asked for, and do not count for the exit status.
    for health, name, text in () if names else state.summary(found):
        echo_verdict(name, text, health.name, is_heading=True)
        is_first = False
    if found.snapshot.standings:
        _separate(is_first)
        is_first = False
        rows = [(state.row(item, now), ()) for item in found.snapshot.standings]
        echo_table(state.COLUMNS, rows, state.GIVES_WAY)
    # Not where repos.toml cannot be read, which is one of the problems below.
    elif found.snapshot.watched == {}:
        none_watched()
    if found.judgement.items:
        _separate(is_first)
        lines = ((item.severity, item.line, item.hint) for item in grouped(found.judgement.items))
        echo_verdicts(lines, by_subject=True)
    ctx.exit(found.judgement.health)


def _separate(is_first: bool) -> None:
    """Print a blank line between two parts."""
    if not is_first:
        click.echo()
