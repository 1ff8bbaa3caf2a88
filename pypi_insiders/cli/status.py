"""`pypi-insiders status`, and `pypi-insiders` alone."""

from datetime import datetime

import click

from pypi_insiders.cli.common import CommonCommand, none_watched
from pypi_insiders.cli.table import echo_table
from pypi_insiders.cli.verdicts import echo_verdict, echo_verdicts
from pypi_insiders.config.paths import default_paths
from pypi_insiders.reporting import status as state


@click.command(cls=CommonCommand)
@click.option("--json", "as_json", is_flag=True, help="For scripts; times are in UTC.")
@click.pass_context
def status(ctx: click.Context, as_json: bool) -> None:
    """Show the state of everything.

    The index, the watcher, each repository with the release that is served, its tag and what PyPI
    has, and everything that is wrong. A page and a file are fetched from the index, which starts it
    if it is idle. Exit status: 0 all is well, 1 there is a problem, 3 something is stopped.
    """
    now = datetime.now().astimezone()
    found = state.take(default_paths(), now)
    if as_json:
        click.echo(state.as_json(found))
        ctx.exit(found.judgement.health)
    for health, name, words in state.summary(found):
        echo_verdict(name, words, health.name, is_heading=True)
    if found.snapshot.standings:
        click.echo()
        rows = [(state.row(item, now), ()) for item in found.snapshot.standings]
        echo_table(state.COLUMNS, rows)
    elif found.snapshot.watched == {}:
        none_watched()
    if found.judgement.items:
        click.echo()
        echo_verdicts((item.severity, item.line, item.hint) for item in found.judgement.items)
    ctx.exit(found.judgement.health)
