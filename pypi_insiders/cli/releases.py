"""`pypi-insiders yank`, `unyank`, `unpublish` and `prune`."""

import click
from packaging.utils import canonicalize_name

from pypi_insiders.cli import completers, confirmation, release_completers
from pypi_insiders.cli.common import CommonCommand, none_watched, report
from pypi_insiders.config.paths import default_paths
from pypi_insiders.config.settings import load_settings
from pypi_insiders.repositories import lookup, registry, releases
from pypi_insiders.util.errors import InsidersError, UsageError


@click.command(cls=CommonCommand)
@click.argument("project", shell_complete=release_completers.projects)
@click.argument("number", metavar="VERSION", shell_complete=release_completers.versions)
@click.option("--reason", default="", metavar="TEXT", help="Reason that installers show.")
def yank(project: str, number: str, reason: str) -> None:
    """Yank a release: installers skip it unless pinned exactly.

    An installer that is asked for exactly this version still installs it, and shows a warning. Lock
    files that name it keep working. `unyank` undoes it.
    """
    paths = default_paths()
    release = releases.find(paths.distributions, project, number)
    # In one line, as pages of the index have no room for more.
    is_new = releases.yank(paths, release, " ".join(reason.split()))
    done = "yanked" if is_new else "already yanked:"
    report(f"{done} {release.project} {release.version}: {', '.join(release.files)}")


@click.command(cls=CommonCommand)
@click.argument("project", shell_complete=release_completers.yanked_projects)
@click.argument("number", metavar="VERSION", shell_complete=release_completers.yanked_versions)
def unyank(project: str, number: str) -> None:
    """Undo the yank of a release."""
    paths = default_paths()
    # Before the files are looked for: a yank can be undone where they are gone.
    if (freed := releases.unyank(paths, project, number)) is not None:
        report(f"unyanked {freed}")
    else:
        release = releases.find(paths.distributions, project, number)
        report(f"not yanked: {release.project} {release.version}")


@click.command(cls=CommonCommand)
@click.argument("project", shell_complete=release_completers.projects)
@click.argument(
    "numbers", metavar="[VERSION]...", nargs=-1, shell_complete=release_completers.versions
)
@click.option("--all", "all_versions", is_flag=True, help="Remove all versions of PROJECT.")
@confirmation.options
def unpublish(
    project: str, numbers: tuple[str, ...], all_versions: bool, yes: bool, dry_run: bool
) -> None:
    """Remove releases from the index.

    This breaks lock files that name them; `yank` does not. On a terminal, the files are listed and
    you are asked first. No update builds these releases again, except
    `update NS/PROJ --tag TAG --force`. Releases of which files are lost are given up, and so are
    those whose tag could not be built.
    """
    from pypi_insiders.cli.let_go import report_let_go
    from pypi_insiders.repositories.unpublish import give_up_failed
    from pypi_insiders.repositories.unpublish import unpublish as remove_releases

    # No version must not mean all of them, and with both it is unclear what was meant.
    if all_versions == bool(numbers):
        raise UsageError(
            "name the versions to remove, or give --all",
            f"`pypi-insiders unpublish {project} --all` removes all versions",
        )
    paths = default_paths()
    normalized = canonicalize_name(project)
    try:
        wanted = releases.find_published(paths, project, numbers)
    except InsidersError:
        # A name of which nothing is left but that it is held.
        if all_versions and not dry_run and report_let_go(paths, [normalized]):
            return
        tags = give_up_failed(paths, project, numbers, dry_run=dry_run)
        if not tags:
            raise
        for tag in tags:
            if dry_run:
                click.echo(f"would give up {tag}")
            else:
                report(f"gave up {tag}: no update builds it")
        return
    files = [name for release in wanted for name in release.files]
    if not confirmation.is_confirmed(
        [f"{name} from the index" for name in files], yes=yes, dry_run=dry_run
    ):
        return
    removed = set(remove_releases(paths, wanted))
    for name in files:
        # A lost file cannot be removed, but no update builds it again.
        report(f"removed {name} from the index" if name in removed else f"gave up {name}")
    report_let_go(paths, [normalized])


@click.command(cls=CommonCommand)
@click.argument("names", metavar="[NS/PROJ]...", nargs=-1, shell_complete=completers.repositories)
@click.option(
    "--keep",
    type=click.IntRange(1),
    metavar="N",
    help="Number of versions to keep (default: the setting `keep`, or all releases and 5 "
    "development releases).",
)
@confirmation.dry_run
def prune(names: tuple[str, ...], keep: int | None, dry_run: bool) -> None:
    """Remove all but the newest versions from the index.

    Prunes all watched repositories, or only the given ones. Updates prune by themselves where
    `keep` is set, for one repository (`repos add --keep N`) or for all (config.toml).
    """
    from pypi_insiders.update import removal

    paths = default_paths()
    settings = load_settings(paths.settings).watcher
    chosen = lookup.select(registry.load(paths.repositories), names)
    if keep:
        chosen = [item._replace(keep=keep) for item in chosen]
    removed = False
    for item in chosen:
        for file in removal.prune(paths, item, settings, dry_run=dry_run):
            if dry_run:
                click.echo(f"would remove {file} from the index")
            else:
                report(f"removed {file} from the index")
            removed = True
    if removed:
        return
    # `keep = 0` of a repository means all versions; only without it the default counts.
    if any(settings.keep if item.keep is None else item.keep for item in chosen):
        report("nothing to remove: the index has no version beyond those that are kept")
    elif chosen:
        report("nothing to remove: all versions are kept (`--keep N` keeps only N)")
    else:
        none_watched()
