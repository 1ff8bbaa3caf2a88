"""`pypi-insiders notify`."""

import click

from pypi_insiders.cli.common import Command, note


@click.command(cls=Command)
@click.argument(
    "instance",
    metavar="[server|watcher]",
    required=False,
    type=click.Choice(["server", "server-ok", "watcher", "watcher-ok"]),
)
@click.option("--test", is_flag=True, help="Send a message that says nothing, and tell by what.")
def notify(instance: str | None, test: bool) -> None:
    """Tell you what fails, by your desktop or your notify-command.

    Only what you were not told yet, and what is over now. The units run it when the index or an
    update fails; so it is of use to you with --test, or after an `update` without systemd.
    """
    from pypi_insiders import troubles
    from pypi_insiders.paths import default_paths
    from pypi_insiders.units import PARTS

    paths = default_paths()
    if test:
        way = troubles.test(paths)
        if way is None:
            note('nothing was sent: notify-command is "off"')
        else:
            click.echo(f"sent by {way}")
        return
    wanted = instance.removesuffix("-ok") if instance else "watcher"
    troubles.tell(paths, [part for part in PARTS if part.name == wanted])
