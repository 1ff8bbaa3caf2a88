"""`pypi-insiders uninstall`."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from pypi_insiders.cli import confirmation, pointing
from pypi_insiders.cli.common import CommonCommand, note, report
from pypi_insiders.config.paths import Paths, default_paths
from pypi_insiders.repositories import running
from pypi_insiders.systemd import control, environment_d
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import is_there, list_names
from pypi_insiders.util.formatting import counted
from pypi_insiders.util.trees import remove_tree


@click.command(cls=CommonCommand)
@click.option("--purge", is_flag=True, help="Also remove releases, settings, state and caches.")
@confirmation.options
def uninstall(purge: bool, yes: bool, dry_run: bool) -> None:
    """Remove the units and what `env --install` wrote.

    The services are stopped and disabled first. Releases and settings stay unless --purge is given;
    on a terminal, what it removes is listed and you are asked first. Your own drop-ins stay, and
    so do the units of a system package.
    """
    paths = default_paths()
    directories = _directories(paths) if purge else []
    # Units are not asked about: `server enable` brings them back.
    if dry_run or directories:
        files = [str(path) for path in _files(paths, is_noted=dry_run)]
        removals = [*files, *(_described(paths, path) for path in directories)]
        if not confirmation.is_confirmed(removals, yes=yes, dry_run=dry_run):
            return
    does_shell_point = pointing.does_shell_point(paths)  # while the units and settings are there
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
            for path in removed:
                report(f"removed {path}")
            raise
        note(error.message)  # without units there is still what `update` has made
    if directories:
        # A running update would write into the directories again.
        with running.updates_stopped(paths, note):
            removed += [path for path in directories if remove_tree(path)]
        remove_tree(paths.state)  # the lock itself
    _report(removed, packaged)
    if not purge:
        _report_stays(paths)
    if does_shell_point:
        pointing.warn_of_shell("removed")


def _directories(paths: Paths) -> list[Path]:
    return [path for path in (paths.config, paths.data, paths.cache, paths.state) if is_there(path)]


def _files(paths: Paths, *, is_noted: bool) -> Iterator[Path]:
    """Name the files that go, as far as a user manager is there to say where they are."""
    try:
        yield from filter(None, [environment_d.installed(paths)])
        yield from control.installed_files()
    except InsidersError as error:
        if is_noted:  # or else the removal notes it
            note(error.message)


def _described(paths: Paths, directory: Path) -> str:
    if directory != paths.data:
        return str(directory)
    # Lists of releases, and what an update has not renamed yet, begin with a dot.
    files = [name for name in list_names(paths.distributions) if not name.startswith(".")]
    return f"{directory}, with {counted(len(files), 'file')} of the index"


def _report(removed: Sequence[Path], packaged: Sequence[Path]) -> None:
    for path in removed:
        report(f"removed {path}")
    if packaged:
        note(f"the units in {packaged[0].parent} stay, stopped: they belong to a package")
    elif not removed:
        report("nothing was installed")


def _report_stays(paths: Paths) -> None:
    """Print what stays and where, and how to remove it."""
    stays = _directories(paths)
    for path in stays:
        report(f"stays: {_described(paths, path)}")
    if stays:
        report("to remove that too: pypi-insiders uninstall --purge")
