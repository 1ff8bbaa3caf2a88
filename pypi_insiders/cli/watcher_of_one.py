"""Start and stop the units of one repository, for the commands of `watcher`."""

from datetime import datetime

from pypi_insiders.cli import common, service
from pypi_insiders.cli.common import note
from pypi_insiders.config.paths import default_paths
from pypi_insiders.repositories import data_directories, lookup, registry
from pypi_insiders.repositories.repository import Repository
from pypi_insiders.systemd import journalctl, own_timers, service_status, unit_names
from pypi_insiders.systemd.unit_names import WATCHER


def selected(text: str) -> Repository:
    """Return a watched repository.

    Raises:
        InsidersError: it is not watched.
    """
    (item,) = lookup.select(registry.load(default_paths().repositories), (text,))
    return item


def start(text: str, *, no_block: bool) -> None:
    """Start an update of a repository, and its own timer; wait for the update, and report it.

    Raises:
        InsidersError: it is not watched, the units cannot be installed, or the update failed.
    """
    item, paths = selected(text), default_paths()
    setup = service.setup_of(paths, WATCHER)
    # Before the units: a confined service sees only directories that exist when it starts.
    data_directories.create(paths)
    # Before the start, as what the update logs first may come while it returns.
    place, unit = journalctl.newest(), unit_names.of_repository(item.name).service
    own_timers.start(item.name, setup)
    failure = None if no_block else service.wait(place, unit)
    look = service_status.look_at_one(item.name, datetime.now().astimezone())
    common.report(f"{item.name}: {look.summary}")
    if failure:
        raise failure


def stop(text: str) -> None:
    """Stop the timer and the update of a repository, and report it."""
    item = selected(text)
    was_active = own_timers.stop(item.name)
    common.report(f"{item.name}: {'stopped' if was_active else 'nothing was running'}")
    if item.interval_s is not None:
        note(
            f"updates of all repositories include {item.name} now; "
            f"`pypi-insiders watcher start {item.name}` starts its own timer again"
        )


def restart(text: str, *, no_block: bool) -> None:
    """Restart the timer and the update of a repository, and report it."""
    own_timers.stop(selected(text).name)
    start(text, no_block=no_block)
