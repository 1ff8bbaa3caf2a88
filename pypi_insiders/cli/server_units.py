"""`pypi-insiders server start` and what else manages its units."""

import click

from pypi_insiders.cli import service, service_state
from pypi_insiders.cli.common import CommonCommand
from pypi_insiders.systemd import control


@click.command(cls=CommonCommand)
def start() -> None:
    """Start the package index now.

    Installs its units, or refreshes them where they are out of date.
    """
    service.start("server", control.start, at_login=False)


@click.command(cls=CommonCommand)
def stop() -> None:
    """Stop the package index.

    If it is enabled, it starts again at the next login.
    """
    service.report("server", control.stop(service.part_of("server")), "stopped")


@click.command(cls=CommonCommand)
def restart() -> None:
    """Restart the package index.

    Its settings are read again.
    """
    service.start("server", control.restart)


@click.command(cls=CommonCommand)
@service_state.as_json
@click.pass_context
def status(ctx: click.Context, as_json: bool) -> None:
    """Show the state of the package index.

    With -v, also what `systemctl status` prints of its units. Exit status: 0 running, 3 stopped, 4
    not installed.
    """
    service_state.show(ctx, "server", as_json=as_json)


@click.command(cls=CommonCommand)
@service.log_options
def logs(**options: str | bool | None) -> None:
    """Show the log of the package index.

    It is kept in the journal.
    """
    service.show_log("server", options)


@click.command(cls=CommonCommand)
def enable() -> None:
    """Start the package index now, and at every login."""
    service.start("server", control.start, at_login=True)


@click.command(cls=CommonCommand)
def disable() -> None:
    """Stop the package index and no longer start it at login."""
    service.report("server", control.disable(service.part_of("server")), "disabled")
