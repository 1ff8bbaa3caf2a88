"""`pypi-insiders server`."""

from pypi_insiders.cli.common import LazyGroup

COMMANDS = {
    "start": ("pypi_insiders.cli.server_units:start", "Start the index now."),
    "stop": ("pypi_insiders.cli.server_units:stop", "Stop the index."),
    "restart": ("pypi_insiders.cli.server_units:restart", "Restart the index."),
    "status": ("pypi_insiders.cli.server_units:status", "Show the state of the index."),
    "logs": ("pypi_insiders.cli.server_units:logs", "Show the log of the index."),
    "enable": (
        "pypi_insiders.cli.server_units:enable",
        "Start the index now and at every login.",
    ),
    "disable": (
        "pypi_insiders.cli.server_units:disable",
        "Stop the index and no longer start it at login.",
    ),
    "password": (
        "pypi_insiders.cli.server_passwords:password",
        "Set the password of a user who may read the index.",
    ),
    "token": (
        "pypi_insiders.cli.server_passwords:token",
        "Create a token for uploads and print it.",
    ),
    "hook": (
        "pypi_insiders.cli.server_hooks:hook",
        "Print what to paste into the form for hooks of a forge.",
    ),
    "run": (
        "pypi_insiders.cli.server_run:run",
        "Run the index in the foreground, without systemd.",
    ),
}

server = LazyGroup(
    "server",
    commands_at=COMMANDS,
    help="Manage the index and its systemd units.",
)
