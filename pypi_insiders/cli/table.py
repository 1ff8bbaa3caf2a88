"""Print tables that fit the terminal."""

import os
import sys
from collections.abc import Iterator, Sequence

import click

from pypi_insiders.util.formatting import two_columns
from pypi_insiders.util.plain_text import printable

_GAP = "  "
_NOTHING = "-"

Row = tuple[Sequence[str], Sequence[str]]
"""The values of a row, and whole lines that stand below it."""


def echo_table(columns: Sequence[str], rows: Sequence[Row], gives_way: Sequence[str]) -> None:
    """Print rows in columns, each as wide as its widest value; no value is ever cut.

    On a terminal that is too narrow columns are left out, first those without any value. Where the
    others still do not fit, each row becomes a block of lines with all of its values.

    Args:
        columns: the headings; the value of the first one names the row.
        rows: what stands below them; `-` for no value.
        gives_way: the columns that may be left out, the first one first.
    """
    rows = [(tuple(map(printable, row)), tuple(map(printable, lines))) for row, lines in rows]
    shown = list(range(len(columns)))
    # A pipe and a file have no width, and scripts count columns: there all of them stay.
    if sys.stdout.isatty():
        shown = _fitting(columns, rows, gives_way)
    lines = _lines(columns, rows, shown) if shown else _blocks(columns, rows)
    for line in lines:
        click.echo(line)


def terminal_width() -> int:
    """Return how wide the terminal is, as `shutil` does, which is slow to import."""
    # First, as users set it to override the width; and of a serial line the kernel has none.
    given = os.environ.get("COLUMNS", "")
    return (int(given) if given.isdecimal() else 0) or os.get_terminal_size(1).columns or 80


def _fitting(columns: Sequence[str], rows: Sequence[Row], gives_way: Sequence[str]) -> list[int]:
    """Return the columns that fit side by side; none where those that have to stay do not."""
    shown = list(range(len(columns)))
    empty = [
        name for name in gives_way if all(row[columns.index(name)] == _NOTHING for row, _ in rows)
    ]
    # An empty column is worth less than any other.
    leaving = [columns.index(name) for name in dict.fromkeys([*empty, *gives_way])]
    most = terminal_width()
    while _width(columns, rows, shown) > most:
        if not leaving:
            return []
        shown.remove(leaving.pop(0))
    return shown


def _width(columns: Sequence[str], rows: Sequence[Row], shown: Sequence[int]) -> int:
    return sum(_widths(columns, rows, shown)) + len(_GAP) * (len(shown) - 1)


def _widths(columns: Sequence[str], rows: Sequence[Row], shown: Sequence[int]) -> list[int]:
    return [max(len(cells[at]) for cells in (columns, *(row for row, _ in rows))) for at in shown]


def _lines(columns: Sequence[str], rows: Sequence[Row], shown: Sequence[int]) -> Iterator[str]:
    widths = _widths(columns, rows, shown)
    for cells, below in ((columns, ()), *rows):
        fitted = (cells[at].ljust(width) for at, width in zip(shown, widths, strict=True))
        # The last column would pad each line with blanks, which a copied line brings along.
        yield _GAP.join(fitted).rstrip()
        yield from (f"{_GAP}{line}" for line in below)


def _blocks(columns: Sequence[str], rows: Sequence[Row]) -> Iterator[str]:
    """Write each row as a block, as `systemctl status` and `git worktree list --porcelain` do."""
    for number, (cells, below) in enumerate(rows):
        # As between units in systemctl(1): the eye finds where the next one begins.
        if number:
            yield ""
        yield cells[0]
        values = zip(columns[1:], cells[1:], strict=True)
        named = [(name, value) for name, value in values if value != _NOTHING]
        yield from (f"{_GAP}{line}" for line in (*two_columns(named), *below))
