"""Bring the timers of repositories up to date after a change of `repos.toml`."""

from pypi_insiders.cli.common import note
from pypi_insiders.config.paths import Paths
from pypi_insiders.config.settings import load_settings
from pypi_insiders.repositories import intervals
from pypi_insiders.systemd import own_timers, systemctl
from pypi_insiders.systemd.control import Setup
from pypi_insiders.util.errors import InsidersError


def refresh(paths: Paths) -> None:
    """Update the timers of an installed watcher to the intervals, and report if that fails."""
    try:
        manager = systemctl.manager()
        settings = load_settings(paths.settings)
        own_timers.refresh(Setup(paths, settings, manager, intervals.load(paths)))
    except InsidersError as error:
        # repos.toml is changed already; until the timers are, the watcher updates all together.
        note(f"timers not updated: {error.message}; then run `pypi-insiders watcher restart`")
