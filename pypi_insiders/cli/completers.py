"""Find what completes a word at the prompt of a shell, for `shell_complete=` of arguments."""

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    from packaging.utils import NormalizedName
    from packaging.version import Version

Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem[str]]]


def _completer(find: Callable[[click.Context], Iterable[str]]) -> Completer:
    """Offer of the names that are found those that begin with what was typed, in any case.

    Those that were given already are left out.
    """

    def complete(
        ctx: click.Context, parameter: click.Parameter, incomplete: str
    ) -> list[CompletionItem[str]]:
        from pypi_insiders.util.errors import InsidersError

        given = ctx.params.get(parameter.name or "") if parameter.nargs == -1 else None
        taken = {name.casefold() for name in given or ()}
        try:
            return [
                CompletionItem(name)
                for name in find(ctx)
                if name.casefold().startswith(incomplete.casefold())
                and name.casefold() not in taken
            ]
        except InsidersError:
            return []  # a prompt is no place for messages

    return complete


@_completer
def repositories(_ctx: click.Context) -> Iterable[str]:
    """Name the watched repositories, also where something else in `repos.toml` is wrong.

    Reading it in earnest would take a third longer, of a time that is felt.
    """
    from pypi_insiders.config.paths import default_paths
    from pypi_insiders.config.schema import parse_toml
    from pypi_insiders.util.files import read_text

    path = default_paths().repositories
    return parse_toml(path, read_text(path) or "")


@_completer
def projects(_ctx: click.Context) -> Iterable[str]:
    """Name the projects that the index holds."""
    return sorted({project for project, _ in _held()})


@_completer
def versions(ctx: click.Context) -> Iterable[str]:
    """Name the versions that the index holds of the project before, the newest first."""
    from packaging.utils import canonicalize_name

    project = canonicalize_name(ctx.params.get("project") or "")
    held = {version for of_project, version in _held() if of_project == project}
    return map(str, sorted(held, reverse=True))


@_completer
def yanked_projects(_ctx: click.Context) -> Iterable[str]:
    """Name the projects of which a release is yanked."""
    return _yanked()


@_completer
def yanked_versions(ctx: click.Context) -> Iterable[str]:
    """Name the versions of the project before that are yanked."""
    from packaging.utils import canonicalize_name

    return _yanked().get(canonicalize_name(ctx.params.get("project") or ""), {})


def _held() -> "Iterator[tuple[NormalizedName, Version]]":
    from pypi_insiders.config.paths import default_paths
    from pypi_insiders.index import distribution
    from pypi_insiders.util.files import list_names

    for _, project, version in distribution.releases(list_names(default_paths().distributions)):
        yield project, version


def _yanked() -> dict[str, dict[str, str]]:
    from pypi_insiders.config.paths import default_paths
    from pypi_insiders.index import yanks

    # Without its copy: a shell that completes changes no files and says nothing.
    return yanks.load(default_paths().distributions)


def files(
    _ctx: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem[str]]:
    """Let the shell name files."""
    return [CompletionItem(incomplete, type="file")]


def directories(
    _ctx: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem[str]]:
    """Let the shell name directories."""
    return [CompletionItem(incomplete, type="dir")]
