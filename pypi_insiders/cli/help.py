"""`pypi-insiders help`."""

import difflib
from collections.abc import Sequence
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from pypi_insiders.cli.common import CommonCommand, Group
from pypi_insiders.util.errors import UsageError
from pypi_insiders.util.formatting import two_columns


def _complete(
    ctx: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem[str]]:
    """Offer the pages and commands, and after a group its commands."""
    words = ctx.params.get("words") or ()
    group = _find_command(ctx, words)
    names = group.command.list_commands(group) if isinstance(group.command, Group) else []
    if not words:
        names = [*pages(), *names]
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


_HELP = """\
Show a page of the manual, or the help of a command.

Without an argument, list the pages.

\b
pypi-insiders help clients
pypi-insiders help repos add
"""


@click.command("help", cls=CommonCommand, help=_HELP)
@click.argument("words", metavar="[TOPIC | COMMAND...]", nargs=-1, shell_complete=_complete)
@click.pass_context
def help_(ctx: click.Context, words: tuple[str, ...]) -> None:
    """Show a page of the manual, or the help of a command."""
    found = pages()
    if not words:
        click.echo("Pages of the manual:\n")
        rows = [(f"  {topic}", summary(path)) for topic, path in found.items()]
        click.echo("\n".join(two_columns(rows)))
        click.echo("\n`pypi-insiders help TOPIC` shows one of them.")
    elif len(words) == 1 and words[0] in found:
        # On a terminal only; elsewhere it is printed.
        click.echo_via_pager(found[words[0]].read_text(encoding="utf-8").rstrip("\n"))
    else:
        with _find_command(ctx, words) as named:
            click.echo(named.command.get_help(named))


def pages() -> dict[str, Path]:
    """Return the pages of the manual: topic to its file, in Markdown."""
    directory = Path(__file__).resolve().parents[1] / "manual"
    return {path.stem: path for path in sorted(directory.glob("*.md"))}


def summary(path: Path) -> str:
    """Read what a page is about: its first sentence, which follows the title."""
    text = path.read_text(encoding="utf-8")
    return " ".join(text.split("\n\n")[1].split()).removesuffix(".")


def _find_command(ctx: click.Context, words: Sequence[str]) -> click.Context:
    """Find a command by the words that a user would type.

    Raises:
        UsageError: there is no such command, nor a page of that name; the hint has the nearest.
    """
    found = ctx.find_root()
    for number, word in enumerate(words):
        group = found.command
        names = group.list_commands(found) if isinstance(group, Group) else []
        command = group.get_command(found, word) if isinstance(group, Group) else None
        if command is None or word not in names:
            raise _unknown(words[: number + 1], names if number else [*pages(), *names])
        found = click.Context(command, info_name=word, parent=found, **command.context_settings)
    return found


def _unknown(words: Sequence[str], names: Sequence[str]) -> UsageError:
    *before, word = words
    near = difflib.get_close_matches(word, names, n=1)
    hint = " ".join(("pypi-insiders help", *before, *near))
    kind = "command" if before else "page or command"
    return UsageError(
        f"no {kind} is named {' '.join(words)!r}",
        f"did you mean `{hint}`?" if near else f"see `{hint}`",
    )
