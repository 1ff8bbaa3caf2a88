"""`pypi-insiders repos import`."""

from pathlib import Path

import click

from pypi_insiders.cli import completers
from pypi_insiders.cli.common import CommonCommand, note
from pypi_insiders.cli.repos_add import no_check_option, report_added, watch
from pypi_insiders.config.paths import default_paths
from pypi_insiders.repositories import imported, legacy_import, lookup, registry
from pypi_insiders.update import introduction
from pypi_insiders.update.introduction import Introduction


@click.command("import", cls=CommonCommand)
@click.argument(
    "file",
    metavar="[FILE]",
    required=False,
    shell_complete=completers.files,
    type=click.Path(path_type=Path),
)
@no_check_option
def import_(file: Path | None, no_check: bool) -> None:
    """Watch the repositories of another program, or of requirements.

    FILE is the repos.json of the original pypi-insiders, the insiders.toml of its successor
    (insiders), a pyproject.toml, or a requirements file, `-` for standard input (default: what the
    two programs stored). Of requirements, those with a Git URL are watched, and what to write
    instead is printed.

    FILE stays as it is. If one of its repositories is wrong, none is added; those already watched
    are no error.
    """
    paths = default_paths()
    if file == Path("-"):
        file = Path("/dev/stdin")
    taken = imported.load(paths, file)
    if not taken.repositories:
        note(f"{file or paths.config / legacy_import.FILE} names no repositories")
    found = Introduction() if no_check else introduction.check(paths, taken.repositories)
    fresh = watch(paths, found, taken.repositories, ())
    watched = registry.load(paths.repositories) if taken.requirements else {}
    for requirement in taken.requirements:
        item = lookup.find(watched, requirement.repository.name)
        note(requirement.advice(item.project if item else None))
    for line in taken.remaining:
        note(line)
    report_added(paths, fresh, found)
