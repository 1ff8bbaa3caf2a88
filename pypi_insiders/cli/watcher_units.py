"""`pypi-insiders watcher start` and what else manages its units."""

import click

from pypi_insiders.cli import completers, service, service_state
from pypi_insiders.cli.common import CommonCommand
from pypi_insiders.systemd import control


@click.command(cls=CommonCommand)
@service.no_block
def start(no_block: bool) -> None:
    """Start the watcher of the repositories now, with an update.

    Waits until the update is over, and exits with 1 if it failed.

    Installs its units, or refreshes them where they are out of date.
    """
    service.start("watcher", control.start, no_block=no_block, at_login=False)


@click.command(cls=CommonCommand)
def stop() -> None:
    """Stop the watcher of the repositories.

    If it is enabled, it starts again at the next login.
    """
    service.report("watcher", control.stop(service.part_of("watcher")), "stopped")


@click.command(cls=CommonCommand)
@service.no_block
def restart(no_block: bool) -> None:
    """Restart the watcher of the repositories, with an update.

    Waits until the update is over, and exits with 1 if it failed.

    Its settings are read again.
    """
    service.start("watcher", control.restart, no_block=no_block)


@click.command(cls=CommonCommand)
@service_state.as_json
@click.pass_context
def status(ctx: click.Context, as_json: bool) -> None:
    """Show the state of the watcher of the repositories.

    With -v, also what `systemctl status` prints of its units. Exit status: 0 running, 3 stopped, 4
    not installed.
    """
    service_state.show(ctx, "watcher", as_json=as_json)


@click.command(cls=CommonCommand)
@click.argument(
    "repository", metavar="[NS/PROJ]", required=False, shell_complete=completers.repositories
)
@service.log_options
def logs(repository: str | None, **options: str | bool | None) -> None:
    """Show the log of the watcher, or only what is about one repository.

    It is kept in the journal, also of what is not watched any more.
    """
    service.show_log("watcher", options, repository)


@click.command(cls=CommonCommand)
@service.no_block
def enable(no_block: bool) -> None:
    """Start the watcher of the repositories now, with an update, and at every login.

    Waits until the update is over, and exits with 1 if it failed.
    """
    service.start("watcher", control.start, no_block=no_block, at_login=True)


@click.command(cls=CommonCommand)
def disable() -> None:
    """Stop the watcher of the repositories and no longer start it at login."""
    service.report("watcher", control.disable(service.part_of("watcher")), "disabled")
