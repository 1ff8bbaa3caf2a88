"""`pypi-insiders repos set` and `remove`."""

import logging
from collections.abc import Iterable, Mapping

import click

from pypi_insiders.cli import completers, confirmation, timers
from pypi_insiders.cli.common import CommonCommand, note, report
from pypi_insiders.cli.let_go import report_let_go
from pypi_insiders.cli.unnamed import report_unnamed
from pypi_insiders.config.paths import Paths, default_paths
from pypi_insiders.config.toml_fields import as_toml
from pypi_insiders.repositories import changes, intervals, releases, state
from pypi_insiders.repositories.repository import Repository, is_insecure
from pypi_insiders.util.errors import InsidersError, UsageError
from pypi_insiders.util.without_credentials import without_credentials

_SET_HELP = """\
Change keys of a watched repository.

VALUE is true or false, a number, a text without quotes, or a list with commas. KEY= without a value
resets the key to its default. If one of them is wrong, none is changed.

\b
project, url                   what it is
insecure-http                  whether url may be http, in clear text
tags, pre, max-new, backfill   which tags are releases
branch                         the branch of development releases
subdirectory, python           what is built
network, strict                how it is built
readable, path                 which of your files and programs builds use
sdist, as-of-tag               whether with an sdist, which build requirements
build-from-source              whether requirements without a wheel are built
keep                           how many versions the index keeps
interval                       the time between its updates
allowed-signers                who must have signed tags
public-until-built             the fallback index serves until a build
assets, forge                  which files come from the releases of its host
submodules, history, lfs       what is fetched beside the tag's own files
token-file, token-credential, token-command
                               the token that git needs for https

Changing project, or url to another repository, starts from scratch; what was published stays.
"""


@click.command("set", cls=CommonCommand, help=_SET_HELP)
@click.argument("name", metavar="NS/PROJ", shell_complete=completers.repositories)
@click.argument(
    "assignments",
    metavar="KEY=VALUE...",
    nargs=-1,
    required=True,
    shell_complete=completers.keys,
)
def set_(name: str, assignments: tuple[str, ...]) -> None:
    """Change keys of a watched repository."""
    paths = default_paths()
    old, new = changes.change(paths, name, _texts(assignments))
    # The former name stays held while the index has a file of it.
    if old.project and new.project != old.project:
        report_let_go(paths, [old.project])
    if new.project is None and new.url != old.url:
        report_unnamed(new.name, None)
    if new == old:
        report(f"{old.name}: nothing changed")
    else:
        _report_changes(paths, old, new)
    if new.interval_s != old.interval_s:
        timers.refresh(paths)


def _texts(assignments: Iterable[str]) -> dict[str, str]:
    texts: dict[str, str] = {}
    for word in assignments:
        key, equals, text = word.partition("=")
        if not equals:
            # A URL whose `url=` was forgotten may hold a token.
            shown = repr(without_credentials(word))
            raise UsageError(f"{shown} is not KEY=VALUE", "for example keep=5")
        if key in texts:
            raise UsageError(f"{key} is set twice", "set each key once")
        texts[key] = text
    return texts


def _report_changes(paths: Paths, old: Repository, new: Repository) -> None:
    before, now = old.keys, new.keys
    for key in dict.fromkeys((*before, *now)):
        if key not in now:
            report(f"{old.name}: {key} reset to its default (was {as_toml(before[key])})")
        elif before.get(key) != now[key]:
            was = f" (was {as_toml(before[key])})" if key in before else ""
            report(f"{old.name}: {key} = {as_toml(now[key])}{was}")
    if is_insecure(new.remote) and new.remote != old.remote:
        from pypi_insiders.cli.repos_add import IN_CLEAR_TEXT

        logging.getLogger(__name__).warning(IN_CLEAR_TEXT, new.name)
    if (old.remote, old.project) != (new.remote, new.project):
        known = state.load(paths.state, old.name)
        if known.builds and not known.is_of(new.remote, new.project):
            note(f"the next update of {old.name} starts from scratch; published files stay")
        elif known.failures:
            note(f"`pypi-insiders update {old.name}` tries failed tags again at once")


@click.command("remove", cls=CommonCommand)
@click.argument(
    "names",
    metavar="NS/PROJ...",
    nargs=-1,
    required=True,
    shell_complete=completers.repositories,
)
@click.option("--purge", is_flag=True, help="Also remove their releases from the index.")
@confirmation.options
def remove(names: tuple[str, ...], purge: bool, yes: bool, dry_run: bool) -> None:
    """Stop watching repositories.

    Their releases stay in the index unless --purge is given; on a terminal, what it removes is
    listed and you are asked first. Installers get a project without any release from the fallback
    index again.
    """
    # Here, as TAB completes its arguments without the update.
    from pypi_insiders.update import removal

    paths = default_paths()
    # Before the removal, after which `repos.toml` has them no longer.
    own = _intervals(paths)
    if purge or dry_run:
        found = removal.published(paths, names)
        watched = [
            f"{item.name} from the watched repositories"
            if item.is_watched
            else f"{item.name}, which is no longer watched"
            for item in found
        ]
        files = [f"{file} from the index" for item in found for file in item.files if purge]
        # Where no file goes, nothing is asked: to watch a repository again takes one command.
        removals = [*watched, *files] if files or dry_run else []
        if not confirmation.is_confirmed(removals, yes=yes, dry_run=dry_run):
            return
    # Before the purge: an update in between would build again what was purged.
    gone = removal.stop_watching(paths, names)
    for item in gone:
        report(f"removed {item.name}" if item.is_watched else f"{item.name} is no longer watched")
        if purge:
            for name in removal.purge(paths, item.name):
                report(f"  removed {name} from the index")
            for project in item.projects:
                if left_over := releases.files_of(paths.distributions, project):
                    report(
                        f"  stays in the index, not built from {item.name}: {', '.join(left_over)}"
                    )
                    report(f"  to remove that too: pypi-insiders unpublish {project} --all")
        elif item.files:
            report(f"  stays in the index: {', '.join(item.files)}")
            report(f"  to remove that too: pypi-insiders repos remove --purge {item.name}")
    report_let_go(paths, [project for item in gone for project in item.projects])
    if own.keys() & {item.name for item in gone}:
        timers.refresh(paths)


def _intervals(paths: Paths) -> Mapping[str, int]:
    try:
        return intervals.load(paths)
    except InsidersError:  # of repos.toml, which the removal reports
        return {}
