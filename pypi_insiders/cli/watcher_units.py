"""`pypi-insiders watcher start` and what else manages its units."""

import click

from pypi_insiders.cli import completers, service, service_state, watcher_of_one
from pypi_insiders.cli.common import CommonCommand, json_option
from pypi_insiders.systemd import control
from pypi_insiders.systemd.unit_names import WATCHER

_repository = click.argument(
    "repository", metavar="[NS/PROJ]", required=False, shell_complete=completers.repositories
)


@click.command(cls=CommonCommand)
@_repository
@service.no_block
def start(repository: str | None, no_block: bool) -> None:
    """Start the watcher now, with an update.

    Waits for the end of the update, and exits with 1 if it failed. Installs the units, or updates
    them if they are out of date. The watcher runs until you log out; with lingering it keeps
    running. For one repository, starts an update of it in a unit of its own, and its timer if it
    has an `interval`.
    """
    if repository is not None:
        watcher_of_one.start(repository, no_block=no_block)
        return
    service.start(WATCHER, control.start, no_block=no_block, at_login=False)


@click.command(cls=CommonCommand)
@_repository
def stop(repository: str | None) -> None:
    """Stop the watcher.

    If it is enabled, it starts again at the next login. For one repository, stops its own timer and
    update; it is then updated with the others.
    """
    if repository is not None:
        watcher_of_one.stop(repository)
        return
    service.end(WATCHER, control.stop, "stopped")


@click.command(cls=CommonCommand)
@_repository
@service.no_block
def restart(repository: str | None, no_block: bool) -> None:
    """Restart the watcher, with an update.

    Waits for the end of the update, and exits with 1 if it failed. Its settings are read again. For
    one repository, restarts its own timer and update.
    """
    if repository is not None:
        watcher_of_one.restart(repository, no_block=no_block)
        return
    service.start(WATCHER, control.restart, no_block=no_block)


@click.command(cls=CommonCommand)
@_repository
@json_option
@click.pass_context
def status(ctx: click.Context, repository: str | None, as_json: bool) -> None:
    """Show the state of the watcher, or of the units of one repository.

    With -v, also what `systemctl status` prints of its units. Exits with 0 if it is running, 3 if
    it is stopped, 4 if it is not installed.
    """
    item = None if repository is None else watcher_of_one.selected(repository)
    service_state.show(ctx, WATCHER, as_json=as_json, repository=item)


@click.command(cls=CommonCommand)
@_repository
@service.log_options
def logs(repository: str | None, **options: str | bool | None) -> None:
    """Show the log of the watcher, or of one repository.

    The log is kept in the journal, also of repositories that are no longer watched.
    """
    service.show_log(WATCHER, options, repository)


@click.command(cls=CommonCommand)
@service.no_block
def enable(no_block: bool) -> None:
    """Start the watcher now, with an update, and at every login.

    Waits for the end of the update, and exits with 1 if it failed.
    """
    service.start(WATCHER, control.start, no_block=no_block, at_login=True)


@click.command(cls=CommonCommand)
def disable() -> None:
    """Stop the watcher and no longer start it at login."""
    service.end(WATCHER, control.disable, "disabled")
