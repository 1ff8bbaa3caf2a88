"""`pypi-insiders status`, and `pypi-insiders` alone."""

from collections.abc import Iterator
from datetime import datetime

import click

from pypi_insiders.cli.common import Command, none_watched
from pypi_insiders.cli.table import echo_table
from pypi_insiders.config.paths import default_paths
from pypi_insiders.reporting import status as state
from pypi_insiders.reporting.verdict import Judgement
from pypi_insiders.util.plain_text import printable

_COLOURS = {
    "problem": "red", "warning": "yellow", "note": "cyan",
    "FAILING": "red", "STOPPED": "yellow", "WELL": "green",
}  # fmt: skip


@click.command(cls=Command)
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
        label = click.style(name.ljust(7), fg=_COLOURS[health.name], bold=True)
        click.echo(f"{label}  {printable(words)}")
    if found.snapshot.standings:
        click.echo()
        rows = [(state.row(item, now), ()) for item in found.snapshot.standings]
        echo_table(state.COLUMNS, rows)
    elif found.snapshot.watched == {}:
        none_watched()
    if found.judgement.items:
        click.echo()
        for line in _lines(found.judgement):
            click.echo(line)
    ctx.exit(found.judgement.health)


def _lines(judgement: Judgement) -> Iterator[str]:
    """Write each item as `doctor` does, and its hint unless it is that of the line before."""
    before = None
    for item in judgement.items:
        label = click.style(item.severity.ljust(7), fg=_COLOURS[item.severity])
        yield f"{label}  {printable(item.line)}"
        if item.hint and item.hint != before:
            yield f"{' ' * 9}{click.style('hint:', fg='cyan')} {printable(item.hint)}"
        before = item.hint
