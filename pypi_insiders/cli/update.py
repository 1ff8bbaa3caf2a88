"""`pypi-insiders update`."""

import sys
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import click

from pypi_insiders.cli.common import Command, none_watched, note, result

if TYPE_CHECKING:
    from pypi_insiders.making import Report


@click.command(cls=Command)
@click.argument("names", metavar="[NS/PROJ]...", nargs=-1)
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
    from pypi_insiders.update import update as update_all

    request = Request(names, **options)
    paths = default_paths()
    settings = config.load(paths.settings)
    # Wrong names are told at once, and not after another update has ended.
    if not repositories.select(repositories.load(paths.repositories), names):
        none_watched()
        return
    try:
        with _display() as report:
            outcomes = update_all(paths, settings, request, report)
    except KeyboardInterrupt:
        note("what was published until now stays")
        raise
    published = sum(len(outcome.published) for outcome in outcomes)
    failed = [outcome.repository for outcome in outcomes if outcome.errors]
    missed = [outcome.repository for outcome in outcomes if outcome.unreachable]
    result(
        f"{len(outcomes)} checked, {published} files published"
        + (f", out of reach: {', '.join(missed)}" if missed else "")
        + (f", failed: {', '.join(failed)}" if failed else "")
    )
    ctx.exit(1 if failed else 0)


def _display() -> "AbstractContextManager[Report]":
    """Show progress live on a terminal; elsewhere the log says it all."""
    if not sys.stderr.isatty():
        return nullcontext(lambda _repository, _step: None)
    from pypi_insiders.cli.progress import live

    return live()
