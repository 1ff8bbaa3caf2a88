"""`pypi-insiders notify`."""

import click

from pypi_insiders.cli.common import CommonCommand
from pypi_insiders.config.paths import default_paths
from pypi_insiders.reporting import notifier


@click.command(cls=CommonCommand)
@click.option("--test", is_flag=True, help="Send a test message.")
def notify(test: bool) -> None:
    """Send failure and recovery notifications.

    The units run this when something fails, and after each update. You get one message about each
    problem, on your desktop or by the `notify-command` of config.toml, and one when it has ended.
    """
    paths = default_paths()
    if test:
        click.echo(f"sent by {notifier.send_test(paths)}")
    # Nothing to print in most calls: the units run it after each update, and their log is read.
    elif done := notifier.notify(paths):
        click.echo(done)
