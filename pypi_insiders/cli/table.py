"""Print tables that fit the terminal."""

import os
import sys
from collections.abc import Sequence

import click

from pypi_insiders.util.plain_text import printable

_NARROWEST = 8
_GAP = "  "


def echo_table(columns: Sequence[str], rows: Sequence[tuple[Sequence[str], Sequence[str]]]) -> None:
    """Print rows in columns, each as wide as its widest value.

    On a terminal that is too narrow the widest values are cut, with a `…` at their end; elsewhere
    nothing is.

    Args:
        columns: what stands above them.
        rows: the values of each, and whole lines that stand below it.
    """
    rows = [(tuple(map(printable, row)), tuple(map(printable, lines))) for row, lines in rows]
    widths = [
        max(map(len, values)) for values in zip(columns, *(row for row, _ in rows), strict=True)
    ]
    # Scripts and files get whole values.
    if sys.stdout.isatty():
        _narrow(widths, _columns())
    for cells, lines in ((columns, ()), *rows):
        fitted = (_fit(cell, width) for cell, width in zip(cells, widths, strict=True))
        click.echo(_GAP.join(fitted).rstrip())
        for line in lines:
            click.echo(f"{_GAP}{line}")


def _columns() -> int:
    """Return how wide the terminal is, as `shutil` does, which is slow to import."""
    told = os.environ.get("COLUMNS", "")
    return (int(told) if told.isdecimal() else 0) or os.get_terminal_size(1).columns or 80


def _narrow(widths: list[int], most: int) -> None:
    """Take from the widest column until all fit, or none can be narrower."""
    while sum(widths) + len(_GAP) * (len(widths) - 1) > most and max(widths) > _NARROWEST:
        widths[widths.index(max(widths))] -= 1


def _fit(cell: str, width: int) -> str:
    return cell.ljust(width) if len(cell) <= width else f"{cell[: width - 1]}…"
