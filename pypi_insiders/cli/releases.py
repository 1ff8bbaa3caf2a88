"""`pypi-insiders yank`, `unyank`, `unpublish` and `prune`."""

import click
from packaging.utils import canonicalize_name

from pypi_insiders.cli import completers, release_completers
from pypi_insiders.cli.common import CommonCommand, none_watched
from pypi_insiders.config.paths import default_paths
from pypi_insiders.config.settings import load_settings
from pypi_insiders.repositories import registry, releases
from pypi_insiders.util.errors import InsidersError, UsageError


@click.command(cls=CommonCommand)
@click.argument("project", shell_complete=release_completers.projects)
@click.argument("number", metavar="VERSION", shell_complete=release_completers.versions)
@click.option("--reason", default="", metavar="TEXT", help="Shown to whoever asks for it anyway.")
def yank(project: str, number: str, reason: str) -> None:
    """Hide a release from whoever does not pin it.

    Only who asks for exactly this version still gets it, with a warning. Lock files that name it go
    on working. `unyank` takes it back.
    """
    paths = default_paths()
    release = releases.find(paths.distributions, project, number)
    is_new = releases.yank(paths, release, " ".join(reason.split()))
    done = "yanked" if is_new else "was yanked before:"
    click.echo(f"{done} {release.project} {release.version}: {', '.join(release.files)}")


@click.command(cls=CommonCommand)
@click.argument("project", shell_complete=release_completers.yanked_projects)
@click.argument("number", metavar="VERSION", shell_complete=release_completers.yanked_versions)
def unyank(project: str, number: str) -> None:
    """Take the yank of a release back."""
    paths = default_paths()
    if (freed := releases.unyank(paths, project, number)) is not None:
        click.echo(f"no longer yanked: {freed}")
    else:
        release = releases.find(paths.distributions, project, number)
        click.echo(f"was not yanked: {release.project} {release.version}")


@click.command(cls=CommonCommand)
@click.argument("project", shell_complete=release_completers.projects)
@click.argument(
    "numbers", metavar="[VERSION]...", nargs=-1, shell_complete=release_completers.versions
)
@click.option("--all", "all_versions", is_flag=True, help="Remove all versions of PROJECT.")
def unpublish(project: str, numbers: tuple[str, ...], all_versions: bool) -> None:
    """Remove releases from the index.

    Lock files that name them break; `yank` is gentler. No update builds them again, unless
    `update NS/PROJ --tag TAG --force` asks for it. Releases whose files are lost are given up.
    """
    from pypi_insiders.cli.let_go import report_let_go
    from pypi_insiders.repositories.unpublish import unpublish as remove_releases

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
        if all_versions and report_let_go(paths, [normalized]):
            return
        raise
    removed = set(remove_releases(paths, wanted))
    for release in wanted:
        for name in release.files:
            done = "removed" if name in removed else "gave up"
            click.echo(f"{done} {name}{' from the index' if name in removed else ''}")
    report_let_go(paths, [normalized])


@click.command(cls=CommonCommand)
@click.argument("names", metavar="[NS/PROJ]...", nargs=-1, shell_complete=completers.repositories)
@click.option(
    "--keep",
    type=click.IntRange(1),
    metavar="N",
    help="Versions to keep; by default what the settings say.",
)
@click.option("--dry-run", is_flag=True, help="Only tell what would be removed.")
def prune(names: tuple[str, ...], keep: int | None, dry_run: bool) -> None:
    """Remove all but the newest versions from the index.

    Of all watched repositories, or those that are named. `update` does so by itself where `keep` is
    set, for a repository (`repos add --keep N`) or for all (config.toml).
    """
    from pypi_insiders.update import removal

    paths = default_paths()
    default = load_settings(paths.settings).watcher.keep
    chosen = registry.select(registry.load(paths.repositories), names)
    kept = {item.name: keep or (default if item.keep is None else item.keep) for item in chosen}
    removed = False
    for name, number in kept.items():
        for file in removal.prune(paths, name, number, dry_run=dry_run):
            click.echo(f"{'would remove' if dry_run else 'removed'} {file} from the index")
            removed = True
    if removed:
        return
    if any(kept.values()):
        click.echo("nothing to remove: the index holds no version beyond those that are kept")
    elif kept:
        click.echo("nothing to remove: all versions are kept (`--keep N` keeps only N)")
    else:
        none_watched()
