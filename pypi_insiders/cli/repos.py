"""`pypi-insiders repos`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pypi_insiders.cli import completers
from pypi_insiders.cli.common import Group, none_watched, note
from pypi_insiders.cli.table import echo_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pypi_insiders.config.paths import Paths
    from pypi_insiders.repositories.model import Repository
    from pypi_insiders.update.introduction import Introduction
    from pypi_insiders.update.naming import Naming

repos = Group(
    "repos",
    help="Manage watched repositories.\n\n"
    "They are listed in repos.toml, where your comments and layout stay.",
)

_no_check = click.option(
    "--no-check", is_flag=True, help="Do not check access, and do not read project names."
)


@repos.command("add")
@click.argument("specifications", metavar="NS/PROJ[:PROJECT]...", nargs=-1, required=True)
@click.option("--url", help="Where Git finds it, if that is not github.com over ssh.")
@click.option(
    "--tags",
    metavar="PATTERN",
    help="Only such tags are releases: 'v*', or 'server-{version}' where not all is the version.",
)
@click.option("--pre/--no-pre", default=None, help="Build pre-releases, or never do.")
@click.option("--subdirectory", metavar="DIR", help="Where in the repository the project is.")
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
    shell_complete=completers.files,
    help="Build only tags signed by a key in this file (ssh allowed signers, or a GPG keyring).",
)
@click.option(
    "--token-file",
    metavar="FILE",
    shell_complete=completers.files,
    help="What git needs for https, in a file of yours.",
)
@_no_check
def add(
    specifications: tuple[str, ...], no_check: bool, **options: str | int | bool | None
) -> None:
    """Watch repositories.

    PROJECT is the name that installers ask for (default: read from the repository). From now on,
    the index never redirects that name to the fallback index. Each new repository is checked, for
    at most 10 seconds, and its project name is read from the tag that is built first, for at most
    10 more; problems are reported, but the repository is still added. For a repository that is
    already watched, the given options change, except --url: use `repos set` for that and for
    further keys.
    """
    from pypi_insiders.config.paths import default_paths
    from pypi_insiders.repositories.model import parse_specification
    from pypi_insiders.update import introduction
    from pypi_insiders.update.introduction import Introduction
    from pypi_insiders.util.errors import UsageError

    if options["url"] is not None and len(specifications) != 1:
        raise UsageError("--url goes with one repository", "add them one by one")
    given = {key.replace("_", "-"): value for key, value in options.items() if value is not None}
    new = [parse_specification(text) for text in specifications]
    for key, value in given.items():
        try:
            new = [item.with_key(key, value) for item in new]
        except ValueError as error:
            raise UsageError(str(error)) from error
    paths = default_paths()
    found = Introduction() if no_check else introduction.check(paths, new)
    _report(_watch(paths, found.named(new), tuple(given)), found)


def _watch(
    paths: "Paths", new: "Sequence[Repository]", given: "Sequence[str]"
) -> list["Repository"]:
    """Add repositories, and print what changed.

    Args:
        paths: where everything is.
        new: what is to be watched.
        given: the keys that change where the repository is watched already.

    Returns:
        Those that were not watched before.
    """
    from pypi_insiders.repositories import changes, registry

    before, after = changes.add(paths, new)
    for item in new:
        if old := registry.find(before, item.name):
            now = after[old.name].keys
            keys = ("distribution", *given) if "distribution" in now else given
            said = [f"; {key} = {now[key]}" for key in keys if old.keys.get(key) != now[key]]
            click.echo(f"{item.name} is watched already{''.join(said)}")
        else:
            click.echo(
                f"watching {item.name}" + (f" as {item.distribution}" if item.distribution else "")
            )
    return [item for name, item in after.items() if name not in before]


def _report(fresh: "Iterable[Repository]", found: "Introduction") -> None:
    """Report the problems of repositories that were added, and the tags that are built first."""
    import logging

    from pypi_insiders.util.words import counted

    log = logging.getLogger(__name__)
    readable = []
    for item in fresh:
        reply = found.replies.get(item.name)
        if reply and (problem := reply.error or reply.lack):
            log.warning("%s: %s", item.name, problem)
            if reply.hint:
                log.info("hint: %s", reply.hint)
        elif reply:
            tags = counted(reply.tags, "tag")
            log.info("%s: %s found, latest release: %s", item.name, tags, reply.newest)
            readable.append(item.name)
        if item.distribution is None:
            _report_unnamed(item.name, found.namings.get(item.name))
    if readable:
        one = f" {readable[0]}" if len(readable) == 1 else ""
        log.info("next: `pypi-insiders update%s`", one)


def _report_unnamed(name: str, naming: "Naming | None") -> None:
    import logging

    log = logging.getLogger(__name__)
    if naming and naming.claimed:
        log.warning(
            "%s: its project name is %s, of which the index has files of another origin; nothing "
            "is published before you confirm it",
            name, naming.claimed,
        )  # fmt: skip
    else:
        log.warning(
            "%s: project name unknown%s; until the first build, installers can get a public "
            "package of that name",
            name, f" ({naming.reason})" if naming else "",
        )  # fmt: skip
    project = naming.claimed if naming and naming.claimed else "PROJECT"
    log.info("hint: `pypi-insiders repos set %s distribution=%s`", name, project)


@repos.command("import")
@click.argument(
    "file",
    metavar="[FILE]",
    required=False,
    shell_complete=completers.files,
    type=click.Path(path_type=Path),
)
@_no_check
def import_(file: Path | None, no_check: bool) -> None:
    """Watch what the original pypi-insiders watches.

    FILE is its repos.json (default: where the original stores it). All of it is taken or
    nothing; what is watched already is no error. The file itself stays as it is.
    """
    from pypi_insiders.config.paths import default_paths
    from pypi_insiders.repositories import legacy_import
    from pypi_insiders.update import introduction
    from pypi_insiders.update.introduction import Introduction

    paths = default_paths()
    named = file is not None
    listed = legacy_import.load(file or paths.original_repositories, is_argument=named)
    if not listed:
        note(f"{file or paths.original_repositories} names no repositories")
    found = Introduction() if no_check else introduction.check(paths, listed)
    fresh = _watch(paths, found.named(listed), ())
    for line in legacy_import.remains(paths, listed):
        note(line)
    _report(fresh, found)


_SET_HELP = """\
Change keys of a watched repository.

VALUE is what TOML has, without quotes: true or false, a number, a text, or a list with commas.
KEY= without a value unsets the key: its default applies. All are changed or none.

\b
distribution, url              what it is
tags, pre, max-new, backfill   which tags are releases
subdirectory, python           what is built
network, strict                how it is built
keep                           how many versions the index keeps
allowed-signers                who must have signed
public-until-built             installers get the public project until the first build
submodules                     where submodules may be, beside its own namespace
token-file, token-credential   what git needs for https

Changing url or distribution starts from scratch; what was published stays.
"""


@repos.command("set", help=_SET_HELP)
@click.argument("name", metavar="NS/PROJ", shell_complete=completers.repositories)
@click.argument("assignments", metavar="KEY=VALUE...", nargs=-1, required=True)
def set_(name: str, assignments: tuple[str, ...]) -> None:
    """Change keys of a watched repository."""
    from pypi_insiders.cli.releases import report_let_go
    from pypi_insiders.config.paths import default_paths
    from pypi_insiders.repositories import changes

    paths = default_paths()
    old, new = changes.change(paths, name, _texts(assignments))
    if old.distribution and new.distribution != old.distribution:
        report_let_go(paths, [old.distribution])
    if new.distribution is None and new.url != old.url:
        _report_unnamed(new.name, None)
    if new == old:
        click.echo(f"{old.name}: nothing changed")
    else:
        _report_changes(paths, old, new)


def _texts(assignments: "Iterable[str]") -> dict[str, str]:
    from pypi_insiders.util.errors import UsageError
    from pypi_insiders.util.urls import without_credentials

    texts: dict[str, str] = {}
    for word in assignments:
        key, equals, text = word.partition("=")
        if not equals:
            shown = repr(without_credentials(word))
            raise UsageError(f"{shown} is not KEY=VALUE", "for example keep=5")
        if key in texts:
            raise UsageError(f"{key} is given twice", "say once what it is to be")
        texts[key] = text
    return texts


def _report_changes(paths: "Paths", old: "Repository", new: "Repository") -> None:
    from pypi_insiders.config.schema import as_toml
    from pypi_insiders.repositories import state

    before, now = old.keys, new.keys
    for key in dict.fromkeys((*before, *now)):
        if key not in now:
            click.echo(f"{old.name}: {key} is not set any more (it was {as_toml(before[key])})")
        elif before.get(key) != now[key]:
            was = f" (it was {as_toml(before[key])})" if key in before else ""
            click.echo(f"{old.name}: {key} = {as_toml(now[key])}{was}")
    if (old.remote, old.distribution) != (new.remote, new.distribution):
        known = state.load(paths.state, old.name)
        if known.builds and not known.is_of(new.remote, new.distribution):
            note(f"the next update of {old.name} starts from scratch; published files stay")
        elif known.failures:
            note(f"`pypi-insiders update {old.name}` tries failed tags again at once")


@repos.command("list")
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
def list_(as_json: bool) -> None:
    """List the watched repositories, each with the version that is served."""
    import json
    from datetime import datetime

    from pypi_insiders.config.paths import default_paths
    from pypi_insiders.reporting import snapshot
    from pypi_insiders.reporting.judge_repositories import why_unserved
    from pypi_insiders.util.errors import InsidersError

    seen = snapshot.take(default_paths(), datetime.now().astimezone())
    if isinstance(seen.watched, InsidersError):
        raise seen.watched
    rows: list[dict[str, str | int | None]] = [
        {
            "name": item.name,
            "url": seen.watched[item.name].remote,
            "distribution": item.distribution,
            "version": item.newest.version if item.newest else None,
            "tag": item.newest.tag if item.newest else None,
            "keep": seen.watched[item.name].keep,
            "reason": why_unserved(seen, item),
        }
        for item in seen.standings
    ]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    elif not rows:
        none_watched()
    else:
        columns = ("name", "distribution", "version", "url")
        cells = [[str(row[key] or "-") for key in columns] for row in rows]
        reasons = [[f"not served: {row['reason']}"] if row["reason"] else [] for row in rows]
        echo_table(columns, list(zip(cells, reasons, strict=True)))


@repos.command("remove")
@click.argument(
    "names",
    metavar="NS/PROJ...",
    nargs=-1,
    required=True,
    shell_complete=completers.repositories,
)
@click.option("--purge", is_flag=True, help="Remove its distributions from the index as well.")
def remove(names: tuple[str, ...], purge: bool) -> None:
    """Stop watching repositories.

    What they published stays in the index unless --purge is given, and its name with it. A name of
    which nothing is published leads to the fallback index from then on.
    """
    from pypi_insiders.cli.releases import report_let_go
    from pypi_insiders.config.paths import default_paths
    from pypi_insiders.repositories import releases
    from pypi_insiders.update import removal

    paths = default_paths()
    gone = removal.stop_watching(paths, names)
    for item in gone:
        click.echo(f"removed {item.name}")
        if purge:
            for name in removal.withdraw(paths, item.name):
                click.echo(f"  removed {name} from the index")
            for project in item.projects:
                if left_over := releases.files_of(paths.distributions, project):
                    click.echo(
                        f"  stays in the index, not built from {item.name}: {', '.join(left_over)}"
                    )
                    click.echo(f"  to remove that too: pypi-insiders unpublish {project} --all")
        elif item.files:
            click.echo(f"  stays in the index: {', '.join(item.files)}")
            click.echo(f"  to remove that too: pypi-insiders repos remove --purge {item.name}")
    report_let_go(paths, [project for item in gone for project in item.projects])
