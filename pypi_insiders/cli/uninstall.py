"""`pypi-insiders uninstall`."""

from collections.abc import Iterable
from pathlib import Path

import click

from pypi_insiders.cli.common import CommonCommand, note
from pypi_insiders.config.paths import default_paths
from pypi_insiders.repositories import running
from pypi_insiders.systemd import control, environment_d
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import is_there
from pypi_insiders.util.trees import remove_tree


@click.command(cls=CommonCommand)
@click.option(
    "--purge", is_flag=True, help="Remove distributions, configuration, state and caches as well."
)
def uninstall(purge: bool) -> None:
    """Stop, disable and remove the units, and what `env --install` wrote.

    Distributions and configuration stay unless --purge is given. A person's drop-ins stay, and so
    do the units that a package of the system brings.
    """
    paths = default_paths()
    removed: list[Path] = []
    packaged: list[Path] = []
    try:
        # First, for it works without a manager: whatever fails below, shells no longer get the
        # address of an index that is gone.
        removed += filter(None, [environment_d.uninstall(paths)])
    except InsidersError as error:
        note(error.message)
    try:
        removed += control.uninstall()
        packaged = control.packaged_units()
    except InsidersError as error:
        if not purge:
            _tell(removed)
            raise
        note(error.message)  # without units there is still what `update` has made
    if purge:
        found = [
            path for path in (paths.config, paths.data, paths.cache, paths.state) if is_there(path)
        ]
        if found:
            with running.updates_stopped(paths, note):
                removed += [path for path in found if remove_tree(path)]
            remove_tree(paths.state)  # the lock itself
    _tell(removed)
    if packaged:
        note(f"the units in {packaged[0].parent} stay, stopped: they are of a package")
    elif not removed:
        click.echo("nothing was installed")


def _tell(removed: Iterable[Path]) -> None:
    for path in removed:
        click.echo(f"removed {path}")
