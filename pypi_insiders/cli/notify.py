"""`pypi-insiders notify`."""

import click

from pypi_insiders.cli.common import CommonCommand, report
from pypi_insiders.config.paths import default_paths
from pypi_insiders.reporting import notifier


@click.command(cls=CommonCommand)
@click.option("--test", is_flag=True, help="Send a test message.")
def notify(test: bool) -> None:
    """Send failure and recovery notifications.

    The units run this when something fails, and after each update. You get one message for each
    problem and one when it is over, on your desktop or by the `notify-command` of config.toml.
    """
    paths = default_paths()
    if test:
        report(f"sent by {notifier.send_test(paths)}")
    # Nothing to print in most calls: the units run it after each update, and their log is read.
    elif done := notifier.notify(paths):
        report(done)
