"""`pypi-insiders server start` and what else manages its units."""

import click

from pypi_insiders.cli import service, service_state
from pypi_insiders.cli.common import CommonCommand, json_option
from pypi_insiders.systemd import control
from pypi_insiders.systemd.unit_names import SERVER


@click.command(cls=CommonCommand)
def start() -> None:
    """Start the index now.

    Installs its units, or updates them if they are out of date. It runs until you log out; with
    lingering it keeps running.
    """
    service.start(SERVER, control.start, at_login=False)


@click.command(cls=CommonCommand)
def stop() -> None:
    """Stop the index.

    If it is enabled, it starts again at the next login.
    """
    service.end(SERVER, control.stop, "stopped")


@click.command(cls=CommonCommand)
def restart() -> None:
    """Restart the index.

    Its settings are read again. If they are wrong, the running index keeps running.
    """
    service.start(SERVER, control.restart)


@click.command(cls=CommonCommand)
@json_option
@click.pass_context
def status(ctx: click.Context, as_json: bool) -> None:
    """Show the state of the index.

    With -v, also what `systemctl status` prints of its units. Exits with 0 if it is running, 3 if
    it is stopped, 4 if it is not installed.
    """
    service_state.show(ctx, SERVER, as_json=as_json)


@click.command(cls=CommonCommand)
@service.log_options
def logs(**options: str | bool | None) -> None:
    """Show the log of the index.

    The log is kept in the journal.
    """
    service.show_log(SERVER, options)


@click.command(cls=CommonCommand)
def enable() -> None:
    """Start the index now and at every login."""
    service.start(SERVER, control.start, at_login=True)


@click.command(cls=CommonCommand)
def disable() -> None:
    """Stop the index and no longer start it at login."""
    service.end(SERVER, control.disable, "disabled")
