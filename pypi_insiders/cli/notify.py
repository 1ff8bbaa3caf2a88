"""`pypi-insiders notify`."""

import click

from pypi_insiders.cli.common import Command


@click.command(cls=Command)
@click.option("--test", is_flag=True, help="Send a message that only shows that you get it.")
def notify(test: bool) -> None:
    """Tell the person what fails, and what does no longer.

    The units run this when something fails, and when it may be over. Of each trouble you are told
    once, on your desktop or by the `notify-command` of config.toml, and once when it is over.
    """
    from pypi_insiders import troubles
    from pypi_insiders.paths import default_paths

    paths = default_paths()
    if test:
        click.echo(f"sent by {troubles.send_test(paths)}")
    elif done := troubles.tell(paths):
        click.echo(done)
