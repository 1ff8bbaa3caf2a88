"""`pypi-insiders update`."""

import sys
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import click

from pypi_insiders.cli import completers
from pypi_insiders.cli.common import Command, none_watched, note

if TYPE_CHECKING:
    from pypi_insiders.choosing import Request
    from pypi_insiders.config import Settings
    from pypi_insiders.making import Report
    from pypi_insiders.paths import Paths
    from pypi_insiders.update import Outcome


@click.command(cls=Command)
@click.argument("names", metavar="[NS/PROJ]...", nargs=-1, shell_complete=completers.repositories)
@click.option("--tag", metavar="TAG", help="Build this tag of the one repository, however old.")
@click.option("--all-tags", is_flag=True, help="Build all releases, however old.")
@click.option(
    "--force",
    is_flag=True,
    help="Build again what was built before, and tell what differs from what is published.",
)
@click.option("--index-url", metavar="URL", help="Upload to this index as well; see README.")
@click.option("--index-user", metavar="USER", help="Who uploads there.")
@click.pass_context
def update(ctx: click.Context, /, names: tuple[str, ...], **options: Any) -> None:
    """Build and publish new releases.

    Checks the repositories for new tags, builds those and publishes what was built: all watched
    repositories, or those that are named. Tags that failed before are tried again at once if their
    repository is named, and else after a while. Exit status 1 if any of them failed.
    """
    from pypi_insiders import config, repositories
    from pypi_insiders.choosing import Request
    from pypi_insiders.paths import default_paths

    request = Request(names, **options)
    paths = default_paths()
    settings = config.load(paths.settings)
    # Wrong names are told at once, and not after another update has ended.
    if not repositories.select(repositories.load(paths.repositories), names):
        none_watched()
        return
    outcomes = run(paths, settings, request)
    click.echo(summary(outcomes))
    ctx.exit(1 if any(outcome.errors for outcome in outcomes) else 0)


def run(paths: "Paths", settings: "Settings", request: "Request") -> "list[Outcome]":
    """Run an update, with its progress on standard error.

    Raises:
        InsidersError: as `update.update`.
    """
    from pypi_insiders.update import update as update_all

    try:
        with _display() as report:
            return update_all(paths, settings, request, report)
    except KeyboardInterrupt:
        note("what was published until now stays")
        raise


def summary(outcomes: "list[Outcome]") -> str:
    """Tell in one line what an update has done."""
    published = sum(len(outcome.published) for outcome in outcomes)
    failed = [outcome.repository for outcome in outcomes if outcome.errors]
    missed = [outcome.repository for outcome in outcomes if outcome.unreachable]
    return (
        f"{len(outcomes)} checked, {published} files published"
        + (f", out of reach: {', '.join(missed)}" if missed else "")
        + (f", failed: {', '.join(failed)}" if failed else "")
    )


def _display() -> "AbstractContextManager[Report]":
    """Show progress live on a terminal; elsewhere the log says it all."""
    if not sys.stderr.isatty():
        return nullcontext(lambda _repository, _step: None)
    from pypi_insiders.cli.progress import live

    return live()
