"""Print lines that begin with how grave they are, and what helps below them."""

from collections.abc import Iterable

import click

from pypi_insiders.cli.common import colour
from pypi_insiders.util.plain_text import printable

_COLOURS = {
    "problem": "red", "warning": "yellow", "note": "cyan", "ok": "green",
    "FAILING": "red", "STOPPED": "yellow", "WELL": "green",
}  # fmt: skip
_WIDTH = 7


def echo_verdict(label: str, text: str, verdict: str, *, is_heading: bool = False) -> None:
    """Print a label in the colour of a verdict, and a text beside it."""
    shown = click.style(label.ljust(_WIDTH), fg=_COLOURS[verdict], bold=is_heading or None)
    click.echo(f"{shown}  {printable(text)}", color=colour())


def echo_verdicts(lines: Iterable[tuple[str, str, str | None]]) -> None:
    """Print lines as they come, each a verdict, a text and a hint, or none.

    A hint that is that of the line before is not printed again.
    """
    before = None
    for verdict, text, hint in lines:
        echo_verdict(verdict, text, verdict)
        if hint and hint != before:
            word = click.style("hint:", fg="cyan")
            click.echo(f"{' ' * (_WIDTH + 2)}{word} {printable(hint)}", color=colour())
        before = hint
