"""`pypi-insiders watcher`."""

from pypi_insiders.cli.common import LazyGroup

COMMANDS = {
    "start": (
        "pypi_insiders.cli.watcher_units:start",
        "Start the watcher now, with an update.",
    ),
    "stop": ("pypi_insiders.cli.watcher_units:stop", "Stop the watcher."),
    "restart": (
        "pypi_insiders.cli.watcher_units:restart",
        "Restart the watcher, with an update.",
    ),
    "status": (
        "pypi_insiders.cli.watcher_units:status",
        "Show the state of the watcher, or of the units of one repository.",
    ),
    "logs": (
        "pypi_insiders.cli.watcher_units:logs",
        "Show the log of the watcher, or of one repository.",
    ),
    "enable": (
        "pypi_insiders.cli.watcher_units:enable",
        "Start the watcher now, with an update, and at every login.",
    ),
    "disable": (
        "pypi_insiders.cli.watcher_units:disable",
        "Stop the watcher and no longer start it at login.",
    ),
}

watcher = LazyGroup(
    "watcher",
    commands_at=COMMANDS,
    help="Manage the watcher and its systemd units.",
)
