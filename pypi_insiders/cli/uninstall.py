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
    import shutil

    from pypi_insiders import control
    from pypi_insiders.files import locked
    from pypi_insiders.paths import default_paths

    removed = [str(path) for path in control.uninstall()]
    if purge:
        paths = default_paths()
        with locked(paths.lock):
            for directory in (paths.config, paths.data, paths.cache, paths.state):
                if directory.exists():
                    shutil.rmtree(directory)
                    removed.append(str(directory))
    for path in removed:
        click.echo(f"removed {path}")
    if not removed:
        click.echo("nothing was installed")
