"""Print lines that begin with how grave they are, and what helps below them."""

import re
import sys
import textwrap
from collections.abc import Iterable, Iterator

import click

from pypi_insiders.cli.common import colour
from pypi_insiders.cli.table import terminal_width
from pypi_insiders.util.plain_text import printable

_COLOURS = {
    "problem": "red", "warning": "yellow", "note": "cyan", "ok": "green",
    "FAILING": "red", "STOPPED": "yellow", "WELL": "green",
}  # fmt: skip
_WIDTH = 7
_INDENT = " " * (_WIDTH + 2)
_HINT = "hint: "
# No text has it, for `printable` takes it out; and textwrap does not take it for a blank.
_BOUND = "\0"
_NARROWEST = 30


def echo_verdict(label: str, text: str, verdict: str, *, is_heading: bool = False) -> None:
    """Print a label in the colour of a verdict, and a text beside it."""
    shown = click.style(label.ljust(_WIDTH), fg=_COLOURS[verdict], bold=is_heading or None)
    first, *others = _wrapped(printable(text), _INDENT)
    for line in (f"{shown}  {first}", *(f"{_INDENT}{line}" for line in others)):
        click.echo(line, color=colour())


def echo_verdicts(
    lines: Iterable[tuple[str, str, str | None]], *, by_subject: bool = False
) -> None:
    """Print lines as they come, each a verdict, a text and a hint, or none.

    A hint that is that of the line before is not printed again.

    Args:
        lines: what to print.
        by_subject: whether texts begin with `SUBJECT: `, and each of one subject shows its hint.
    """
    before = subject = None
    for verdict, text, hint in lines:
        echo_verdict(verdict, text, verdict)
        # Ten repositories that fail for one reason would show one command ten times. Of one that
        # has two problems, the second would seem to have no remedy.
        is_again = by_subject and subject == text.partition(": ")[0]
        if hint and (hint != before or is_again):
            echo_hint(hint, _INDENT)
        before, subject = hint, text.partition(": ")[0]


def echo_hint(hint: str, indent: str) -> None:
    """Print what helps, below what it helps against."""
    word = click.style(_HINT.strip(), fg="cyan")
    first, *others = _wrapped(printable(hint), f"{indent}{_HINT}")
    click.echo(f"{indent}{word} {first}", color=colour())
    for line in others:
        click.echo(f"{indent}{' ' * len(_HINT)}{line}")


def _wrapped(text: str, indent: str) -> Iterator[str]:
    """Wrap a text at its blanks, where that is for a terminal.

    Commands in backticks stay whole, however long: a line break that is in the text itself would
    be copied with them, and the shell would run the half before it.
    """
    if not sys.stdout.isatty():
        yield text
        return
    bound = re.sub(r"`[^`]*`", lambda match: match[0].replace(" ", _BOUND), text)
    # Where the terminal is narrower still, it breaks the lines itself.
    width = max(terminal_width() - len(indent), _NARROWEST)
    lines = textwrap.wrap(bound, width, break_long_words=False, break_on_hyphens=False)
    yield from (line.replace(_BOUND, " ") for line in lines or [""])
