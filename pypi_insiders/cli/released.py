"""`pypi-insiders released`."""

import click

from pypi_insiders.cli import release_completers
from pypi_insiders.cli.common import CommonCommand
from pypi_insiders.config.paths import default_paths

_HELP = """Run `release-command` for the new releases of PROJECT.

The unit pypi-insiders-released@PROJECT.service runs this after an update has published a release.
The command runs once for each, the lowest version first, with PYPI_INSIDERS_PROJECT, _VERSION,
_TAG, _COMMIT, _REPOSITORY and _FILES in its environment. COMMAND replaces `release-command`, for a
drop-in of that unit. Exits with 1 if the command fails.
"""


@click.command(
    "released",
    cls=CommonCommand,
    help=_HELP,
    # What comes after the project belongs to the command, `--help` included.
    context_settings={"allow_interspersed_args": False},
)
@click.option("--retry", is_flag=True, help="Also for releases for which it has failed twice.")
@click.argument("project", shell_complete=release_completers.projects)
@click.argument("argv", metavar="[[--] COMMAND [ARG]...]", nargs=-1)
@click.pass_context
def released(ctx: click.Context, project: str, argv: tuple[str, ...], retry: bool) -> None:
    """Run `release-command` for the new releases of a project."""
    from pypi_insiders.reporting import release_command
    from pypi_insiders.repositories.repository import parse_project

    words = argv[1:] if argv[:1] == ("--",) else argv
    name = parse_project(project)
    is_well = release_command.run(default_paths(), name, words, is_retry=retry)
    ctx.exit(0 if is_well else 1)
