"""Find what completes a word at the prompt of a shell, for `shell_complete=` of arguments."""

from collections.abc import Callable, Iterable

import click
from click.shell_completion import CompletionItem

from pypi_insiders.config.paths import default_paths
from pypi_insiders.config.toml_fields import parse_toml
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import read_text

Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem[str]]]


def completer(find: Callable[[click.Context], Iterable[str]]) -> Completer:
    """Offer of the names that are found those that begin with what was typed, in any case.

    Those that were given already are left out.
    """

    def complete(
        ctx: click.Context, parameter: click.Parameter, incomplete: str
    ) -> list[CompletionItem[str]]:
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


@completer
def repositories(_ctx: click.Context) -> Iterable[str]:
    """Name the watched repositories, also where something else in `repos.toml` is wrong.

    Reading it in earnest would take a third longer, of a time that is felt.
    """
    path = default_paths().repositories
    return parse_toml(path, read_text(path) or "")


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
