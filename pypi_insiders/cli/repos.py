"""`pypi-insiders repos`."""

import click

from pypi_insiders.cli.common import Group, none_watched
from pypi_insiders.cli.table import echo_table

repos = Group("repos", help="Say which repositories are watched.")


@repos.command("add")
@click.argument("specifications", metavar="NS/PROJ[:DIST]...", nargs=-1, required=True)
@click.option("--url", help="Where Git finds it, if that is not github.com over ssh.")
@click.option(
    "--tags",
    metavar="PATTERN",
    help="Only such tags are releases: 'v*', or 'server-{version}' where not all is the version.",
)
@click.option("--pre/--no-pre", default=None, help="Build pre-releases, or never do.")
@click.option("--subdirectory", metavar="DIR", help="Where in the repository the project lies.")
@click.option(
    "--backfill",
    type=click.IntRange(1),
    metavar="N",
    help="Build its N newest releases, not only the newest one.",
)
@click.option(
    "--keep",
    type=click.IntRange(0),
    metavar="N",
    help="Keep only its N newest versions in the index; 0 keeps all.",
)
@click.option(
    "--allowed-signers",
    metavar="FILE",
    help="Build only tags signed by a key in this file (ssh allowed signers, or a GPG keyring).",
)
@click.option("--token-file", metavar="FILE", help="What git needs for https, in a file of yours.")
def add(specifications: tuple[str, ...], **options: str | int | bool | None) -> None:
    """Watch repositories.

    DIST is the name by which others depend on it; left out, it is what the first build says. For a
    repository that is watched already, what is given changes, but not its URL. repos.toml has more
    keys.
    """
    from pypi_insiders import ownership, repositories
    from pypi_insiders.errors import InsidersError, UsageError
    from pypi_insiders.files import locked
    from pypi_insiders.paths import default_paths
    from pypi_insiders.repository import parse_specification

    if options["url"] is not None and len(specifications) != 1:
        raise UsageError("--url goes with one repository", "add them one by one")
    given = {key.replace("_", "-"): value for key, value in options.items() if value is not None}
    new = [parse_specification(text) for text in specifications]
    for key, value in given.items():
        try:
            new = [item.with_key(key, value) for item in new]
        except InsidersError:
            raise
        except ValueError as error:
            raise UsageError(str(error)) from error
    paths = default_paths()
    with locked(paths.repositories_lock):
        known = repositories.load(paths.repositories)
        result = repositories.add(known, new)
        ownership.check(paths, result.values())
        if result != known:
            repositories.save(paths.repositories, result.values())
    for item in new:
        if old := repositories.find(known, item.name):
            now = result[old.name].keys
            changes = [f"; {key} = {now[key]}" for key in given if old.keys.get(key) != now[key]]
            click.echo(f"{item.name} is watched already{''.join(changes)}")
        else:
            click.echo(
                f"watching {item.name}" + (f" as {item.distribution}" if item.distribution else "")
            )


@repos.command("list")
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
def list_(as_json: bool) -> None:
    """List the watched repositories."""
    import json

    from pypi_insiders import repositories, state
    from pypi_insiders.paths import default_paths

    paths = default_paths()
    rows: list[dict[str, str | int | None]] = []
    for item in repositories.load(paths.repositories).values():
        known = state.load(paths.state, item.name)
        newest = known.newest if known.is_of(item.remote, item.distribution) else None
        rows.append(
            {
                "name": item.name,
                "url": item.remote,
                "distribution": item.distribution or known.distribution,
                "version": newest.version if newest else None,
                "tag": newest.tag if newest else None,
                "keep": item.keep,
            }
        )
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    elif not rows:
        none_watched()
    else:
        columns = ("name", "distribution", "version", "url")
        echo_table(columns, [([str(row[key] or "-") for key in columns], ()) for row in rows])


@repos.command("remove")
@click.argument("names", metavar="NS/PROJ...", nargs=-1, required=True)
@click.option("--purge", is_flag=True, help="Remove its distributions from the index as well.")
def remove(names: tuple[str, ...], purge: bool) -> None:
    """Watch repositories no longer.

    What they published stays in the index unless --purge is given.
    """
    from pypi_insiders import repositories, withdrawal
    from pypi_insiders.files import locked
    from pypi_insiders.paths import default_paths

    paths = default_paths()
    with locked(paths.repositories_lock):
        known = repositories.load(paths.repositories)
        # What was removed before can still be purged.
        remembered = withdrawal.remembered(paths, names) if purge else []
        gone = repositories.select({**{item.name: item for item in remembered}, **known}, names)
        left = [item for item in known.values() if item not in gone]
        if len(left) != len(known):
            repositories.save(paths.repositories, left)
    for item in gone:
        click.echo(f"removed {item.name}")
        if purge:
            for name in withdrawal.withdraw(paths, item.name):
                click.echo(f"  removed {name} from the index")
        elif stays := withdrawal.published(paths, item.name):
            click.echo(f"  stays in the index: {', '.join(stays)}")
            click.echo(f"  to remove that too: pypi-insiders repos remove --purge {item.name}")
