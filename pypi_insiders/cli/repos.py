"""`pypi-insiders repos`."""

from pypi_insiders.cli.common import LazyGroup

COMMANDS = {
    "add": ("pypi_insiders.cli.repos_add:add", "Watch repositories."),
    "import": (
        "pypi_insiders.cli.repos_import:import_",
        "Watch the repositories of another program, or of requirements.",
    ),
    "set": ("pypi_insiders.cli.repos_change:set_", "Change keys of a watched repository."),
    "list": (
        "pypi_insiders.cli.repos_list:list_",
        "List the watched repositories and the versions that are served.",
    ),
    "remove": ("pypi_insiders.cli.repos_change:remove", "Stop watching repositories."),
}

repos = LazyGroup(
    "repos",
    commands_at=COMMANDS,
    help="Manage watched repositories.\n\n"
    "They are listed in repos.toml, which keeps your comments and layout.",
)
