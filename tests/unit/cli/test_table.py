"""Tables on terminals of several widths, and in a pipe."""

import os
import subprocess
import sys

import pytest
import terminal

COLUMNS = ("repository", "project", "version", "tag", "built", "public", "checked")
LONG = "sponsors/a-repository-with-a-long-name"
ROWS = (
    (("me/probe", "probe", "1.0", "v1.0", "3 d ago", "-", "2 min ago"), ()),
    ((LONG, "a-project", "9.5.49+insiders.4.53.14", "-", "-", "-", "never"), ("not served: odd",)),
)
PROGRAM = f"""
from pypi_insiders.cli.table import echo_table
echo_table({COLUMNS!r}, {ROWS!r}, ("checked", "built", "public", "tag"))
"""
ARGV = [sys.executable, "-c", PROGRAM]
WHOLE = [
    "repository                              project    version                  tag   built    "
    "public  checked",
    "me/probe                                probe      1.0                      v1.0  3 d ago  "
    "-       2 min ago",
    f"{LONG}  a-project  9.5.49+insiders.4.53.14  -     -        -       never",
    "  not served: odd",
]


def shown(columns: int) -> list[str]:
    """Return what a terminal of a width shows."""
    return terminal.run(ARGV, os.environ, columns=columns)


def test_a_pipe_gets_all_of_it() -> None:
    """However long: scripts count columns."""
    done = subprocess.run(
        ARGV, env={**os.environ, "COLUMNS": "20"}, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == WHOLE


@pytest.mark.parametrize(
    ("columns", "left"),
    [
        (200, COLUMNS),
        (108, COLUMNS),
        # Nobody has a public version, so that column goes first.
        (107, ("repository", "project", "version", "tag", "built", "checked")),
        (99, ("repository", "project", "version", "tag", "built")),
        (88, ("repository", "project", "version", "tag")),
        (79, ("repository", "project", "version")),
        (74, ("repository", "project", "version")),
    ],
)
def test_columns_give_way_in_order(columns: int, left: tuple[str, ...]) -> None:
    """No value is cut, and no line is wider than the terminal."""
    lines = shown(columns)
    assert tuple(lines[0].split()) == left
    assert max(map(len, lines)) <= columns
    assert [line.split()[0] for line in lines[1:3]] == ["me/probe", LONG]
    assert "9.5.49+insiders.4.53.14" in lines[2]


@pytest.mark.parametrize("columns", [73, 40, 1])
def test_what_does_not_fit_at_all_becomes_blocks(columns: int) -> None:
    """With each value that there is."""
    assert shown(columns) == [
        "me/probe",
        "  project  probe",
        "  version  1.0",
        "  tag      v1.0",
        "  built    3 d ago",
        "  checked  2 min ago",
        "",
        LONG,
        "  project  a-project",
        "  version  9.5.49+insiders.4.53.14",
        "  checked  never",
        "  not served: odd",
    ]
