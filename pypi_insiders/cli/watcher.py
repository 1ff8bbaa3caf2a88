"""`pypi-insiders watcher`."""

from pypi_insiders.cli.common import LazyGroup

COMMANDS = {
    "start": (
        "pypi_insiders.cli.watcher_units:start",
        "Start the watcher of the repositories now, with an update.",
    ),
    "stop": ("pypi_insiders.cli.watcher_units:stop", "Stop the watcher of the repositories."),
    "restart": (
        "pypi_insiders.cli.watcher_units:restart",
        "Restart the watcher of the repositories, with an update.",
    ),
    "status": (
        "pypi_insiders.cli.watcher_units:status",
        "Show the state of the watcher of the repositories.",
    ),
    "logs": (
        "pypi_insiders.cli.watcher_units:logs",
        "Show the log of the watcher, or only what is about one repository.",
    ),
    "enable": (
        "pypi_insiders.cli.watcher_units:enable",
        "Start the watcher of the repositories now, with an update, and at every login.",
    ),
    "disable": (
        "pypi_insiders.cli.watcher_units:disable",
        "Stop the watcher of the repositories and no longer start it at login.",
    ),
}

watcher = LazyGroup(
    "watcher",
    commands_at=COMMANDS,
    help="Run the watcher of the repositories, as systemd units of the user.",
)
