"""`pypi-insiders status`, and `pypi-insiders` alone."""

import click

from pypi_insiders.cli.common import Command, none_watched
from pypi_insiders.cli.table import echo_table

_COLOURS = {
    "error": "red", "warning": "yellow", "note": "cyan",
    "FAILING": "red", "STOPPED": "yellow", "WELL": "green",
}  # fmt: skip


@click.command(cls=Command)
@click.option("--json", "as_json", is_flag=True, help="For scripts; times are in UTC.")
@click.pass_context
def status(ctx: click.Context, as_json: bool) -> None:
    """Show the state of everything.

    The index, the watcher, and of each repository what is served, from which tag, what PyPI has,
    and what is wrong. Exit status: 0 all is well, 1 something fails, 3 something is stopped.
    """
    from datetime import datetime

    from pypi_insiders import status as state
    from pypi_insiders.paths import default_paths

    now = datetime.now().astimezone()
    found = state.take(default_paths(), now)
    if as_json:
        click.echo(state.as_json(found))
        ctx.exit(found.health)
    for health, name, words in state.summary(found, now):
        label = click.style(name.ljust(7), fg=_COLOURS[health.name], bold=True)
        click.echo(f"{label}  {words}")
    if found.repositories:
        click.echo()
        rows = [(state.row(item, now), state.notes(item, now)) for item in found.repositories]
        echo_table(
            state.COLUMNS,
            [(cells, [_note(*note) for note in notes]) for cells, notes in rows],
        )
    else:
        none_watched()
    ctx.exit(found.health)


def _note(kind: str, line: str) -> str:
    return f"{click.style(f'{kind}:', fg=_COLOURS[kind])} {line}"
