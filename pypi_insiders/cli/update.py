"""`pypi-insiders update`."""

from typing import Any

import click

from pypi_insiders.cli import completers
from pypi_insiders.cli.common import CommonCommand, json_option, verbosity


@click.command(cls=CommonCommand)
@click.argument("names", metavar="[NS/PROJ]...", nargs=-1, shell_complete=completers.repositories)
@click.option(
    "--tag",
    metavar="TAG",
    shell_complete=completers.tags,
    help="Build this tag of the repository, or this development release, however old.",
)
@click.option("--all-tags", is_flag=True, help="Build all releases, however old.")
@click.option(
    "--force",
    is_flag=True,
    help="Rebuild, and report differences from the published files.",
)
@click.option(
    "--scheduled",
    "is_scheduled",
    is_flag=True,
    help="Wait with failed tags, and leave out what has its own timer, as the watcher does.",
)
@click.option(
    "--index-url",
    metavar="URL",
    help="Also upload to this index; see `pypi-insiders help publishing`.",
)
@click.option("--index-user", metavar="USER", help="User for the uploads.")
@json_option
@click.pass_context
def update(ctx: click.Context, /, names: tuple[str, ...], as_json: bool, **options: Any) -> None:
    """Build and publish new releases.

    Checks all watched repositories, or only the given ones, for new tags, builds these and
    publishes their files. Tags that failed before are retried at once for the given repositories,
    and otherwise after a pause. Exits with 1 if a repository failed, if published files are
    lost, or if a project has no release that you did not unpublish.
    """
    from pypi_insiders import remote_index

    password = remote_index.take_password()  # before a program is started

    from pypi_insiders.cli import run_update

    code = run_update.update(names, password, options, as_json=as_json, is_quiet=verbosity(ctx) < 0)
    ctx.exit(code)
