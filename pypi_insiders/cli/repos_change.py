"""`pypi-insiders repos set` and `remove`."""

from collections.abc import Iterable

import click

from pypi_insiders.cli import completers
from pypi_insiders.cli.common import CommonCommand, note
from pypi_insiders.cli.let_go import report_let_go
from pypi_insiders.cli.unnamed import report_unnamed
from pypi_insiders.config.paths import Paths, default_paths
from pypi_insiders.config.toml_fields import as_toml
from pypi_insiders.repositories import changes, releases, state
from pypi_insiders.repositories.repository import Repository
from pypi_insiders.update import removal
from pypi_insiders.util.errors import UsageError
from pypi_insiders.util.without_credentials import without_credentials

_SET_HELP = """\
Change keys of a watched repository.

VALUE is what TOML has, without quotes: true or false, a number, a text, or a list with commas.
KEY= without a value unsets the key: its default applies. All are changed or none.

\b
project, url                   what it is
tags, pre, max-new, backfill   which tags are releases
subdirectory, python           what is built
network, strict                how it is built
keep                           how many versions the index keeps
allowed-signers                who must have signed
public-until-built             installers get the public project until the first build
submodules                     where submodules may be, beside its own namespace
token-file, token-credential   what git needs for https

Changing url or project starts from scratch; what was published stays.
"""


@click.command("set", cls=CommonCommand, help=_SET_HELP)
@click.argument("name", metavar="NS/PROJ", shell_complete=completers.repositories)
@click.argument("assignments", metavar="KEY=VALUE...", nargs=-1, required=True)
def set_(name: str, assignments: tuple[str, ...]) -> None:
    """Change keys of a watched repository."""
    paths = default_paths()
    old, new = changes.change(paths, name, _texts(assignments))
    if old.project and new.project != old.project:
        report_let_go(paths, [old.project])
    if new.project is None and new.url != old.url:
        report_unnamed(new.name, None)
    if new == old:
        click.echo(f"{old.name}: nothing changed")
    else:
        _report_changes(paths, old, new)


def _texts(assignments: Iterable[str]) -> dict[str, str]:
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


def _report_changes(paths: Paths, old: Repository, new: Repository) -> None:
    before, now = old.keys, new.keys
    for key in dict.fromkeys((*before, *now)):
        if key not in now:
            click.echo(f"{old.name}: {key} is not set any more (it was {as_toml(before[key])})")
        elif before.get(key) != now[key]:
            was = f" (it was {as_toml(before[key])})" if key in before else ""
            click.echo(f"{old.name}: {key} = {as_toml(now[key])}{was}")
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
@click.option("--purge", is_flag=True, help="Remove its distributions from the index as well.")
def remove(names: tuple[str, ...], purge: bool) -> None:
    """Stop watching repositories.

    What they published stays in the index unless --purge is given, and its name with it. A name of
    which nothing is published leads to the fallback index from then on.
    """
    paths = default_paths()
    gone = removal.stop_watching(paths, names)
    for item in gone:
        click.echo(f"removed {item.name}")
        if purge:
            for name in removal.purge(paths, item.name):
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
