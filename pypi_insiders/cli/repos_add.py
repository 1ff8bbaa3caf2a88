"""`pypi-insiders repos add` and `import`."""

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

import click

from pypi_insiders.cli import completers
from pypi_insiders.cli.common import CommonCommand, note
from pypi_insiders.cli.unnamed import report_unnamed
from pypi_insiders.config.paths import Paths, default_paths
from pypi_insiders.repositories import changes, legacy_import, registry
from pypi_insiders.repositories.repository import Repository, parse_specification
from pypi_insiders.update import introduction
from pypi_insiders.update.introduction import Introduction
from pypi_insiders.util.errors import UsageError
from pypi_insiders.util.formatting import counted

_no_check = click.option(
    "--no-check", is_flag=True, help="Do not check access, and do not read project names."
)


@click.command("add", cls=CommonCommand)
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


def _watch(paths: Paths, new: Sequence[Repository], given: Sequence[str]) -> list[Repository]:
    """Add repositories, and print what changed.

    Args:
        paths: where everything is.
        new: what is to be watched.
        given: the keys that change where the repository is watched already.

    Returns:
        Those that were not watched before.
    """
    before, after = changes.add(paths, new)
    for item in new:
        if old := registry.find(before, item.name):
            now = after[old.name].keys
            keys = ("project", *given) if "project" in now else given
            said = [f"; {key} = {now[key]}" for key in keys if old.keys.get(key) != now[key]]
            click.echo(f"{item.name} is watched already{''.join(said)}")
        else:
            click.echo(f"watching {item.name}" + (f" as {item.project}" if item.project else ""))
    return [item for name, item in after.items() if name not in before]


def _report(fresh: Iterable[Repository], found: Introduction) -> None:
    """Report the problems of repositories that were added, and the tags that are built first."""
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
        if item.project is None:
            report_unnamed(item.name, found.namings.get(item.name))
    if readable:
        one = f" {readable[0]}" if len(readable) == 1 else ""
        log.info("next: `pypi-insiders update%s`", one)


@click.command("import", cls=CommonCommand)
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
    paths = default_paths()
    named = file is not None
    listed = legacy_import.load(file or paths.config / legacy_import.FILE, is_argument=named)
    if not listed:
        note(f"{file or paths.config / legacy_import.FILE} names no repositories")
    found = Introduction() if no_check else introduction.check(paths, listed)
    fresh = _watch(paths, found.named(listed), ())
    for line in legacy_import.remains(paths, listed):
        note(line)
    _report(fresh, found)
