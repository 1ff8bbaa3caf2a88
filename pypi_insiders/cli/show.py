"""`pypi-insiders show`."""

from datetime import datetime

import click

from pypi_insiders.cli import completers
from pypi_insiders.cli.common import CommonCommand, json_option, verbosity
from pypi_insiders.config.paths import default_paths
from pypi_insiders.util.plain_text import printable


@click.command(cls=CommonCommand)
@click.argument("name", metavar="NS/PROJ", shell_complete=completers.repositories)
@json_option
@click.pass_context
def show(ctx: click.Context, name: str, as_json: bool) -> None:
    """Show details of a repository.

    Shows the last check, the last attempt and its error, each build with its tag, commit and files,
    and tags that failed or were skipped. With -v, also the build requirements of each version.
    """
    # TAB completes its argument without this.
    from pypi_insiders.reporting import detail

    now = datetime.now().astimezone()
    found = detail.give(default_paths(), name, now)
    if as_json:
        click.echo(detail.as_json(found))
    else:
        # Errors of builds are in it, which are foreign text.
        text = detail.as_text(found, now, in_full=verbosity(ctx) > 0)
        click.echo(printable(text))
