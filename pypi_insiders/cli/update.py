"""`pypi-insiders update`."""

from typing import Any

import click

from pypi_insiders.cli import completers
from pypi_insiders.cli.common import CommonCommand, verbosity


@click.command(cls=CommonCommand)
@click.argument("names", metavar="[NS/PROJ]...", nargs=-1, shell_complete=completers.repositories)
@click.option("--tag", metavar="TAG", help="Build this tag of the one repository, however old.")
@click.option("--all-tags", is_flag=True, help="Build all releases, however old.")
@click.option(
    "--force",
    is_flag=True,
    help="Build again what was built before, and tell what differs from what is published.",
)
@click.option(
    "--index-url",
    metavar="URL",
    help="Upload to this index as well; see `help publishing`.",
)
@click.option("--index-user", metavar="USER", help="Who uploads there.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for scripts.")
@click.pass_context
def update(ctx: click.Context, /, names: tuple[str, ...], as_json: bool, **options: Any) -> None:
    """Build and publish new releases.

    Checks the repositories for new tags, builds those and publishes what was built: all watched
    repositories, or those that are named. Tags that failed before are tried again at once if their
    repository is named, and else after a while. Exit status 1 if any of them failed, or if
    published files are lost, or a project has no release that you did not unpublish.
    """
    from pypi_insiders import remote_index

    password = remote_index.take_password()  # before a program is started

    from pypi_insiders.cli import run_update

    code = run_update.update(names, password, options, as_json=as_json, is_quiet=verbosity(ctx) < 0)
    ctx.exit(code)
