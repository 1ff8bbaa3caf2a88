"""`pypi-insiders show`."""

from datetime import datetime

import click

from pypi_insiders.cli import completers
from pypi_insiders.cli.common import CommonCommand, verbosity
from pypi_insiders.config.paths import default_paths
from pypi_insiders.util.plain_text import printable


@click.command(cls=CommonCommand)
@click.argument("name", metavar="NS/PROJ", shell_complete=completers.repositories)
@click.option("--json", "as_json", is_flag=True, help="Print JSON for scripts.")
@click.pass_context
def show(ctx: click.Context, name: str, as_json: bool) -> None:
    """Show details of a repository.

    The last check and the last attempt with its error, what was built from what and which of its
    files are served, and which tags failed or were not built. With -v also what was installed to
    build each version.
    """
    from pypi_insiders.reporting import detail

    now = datetime.now().astimezone()
    found = detail.give(default_paths(), name, now)
    if as_json:
        click.echo(detail.as_json(found))
    else:
        text = detail.as_text(found, now, in_full=verbosity(ctx) > 0)
        click.echo(printable(text))
