"""`pypi-insiders uninstall`."""

import click

from pypi_insiders.cli.common import Command


@click.command(cls=Command)
@click.option(
    "--purge", is_flag=True, help="Remove distributions, configuration, state and caches as well."
)
def uninstall(purge: bool) -> None:
    """Stop, disable and remove the units.

    Distributions and configuration stay unless --purge is given. A person's drop-ins stay.
    """
    from pypi_insiders import control
    from pypi_insiders.files import locked, remove_tree
    from pypi_insiders.paths import default_paths

    removed = [str(path) for path in control.uninstall()]
    if purge:
        paths = default_paths()
        directories = (paths.config, paths.data, paths.cache, paths.state)
        with locked(paths.lock):
            removed += [str(directory) for directory in directories if remove_tree(directory)]
    for path in removed:
        click.echo(f"removed {path}")
    if not removed:
        click.echo("nothing was installed")
