"""Lines with a verdict before them."""

import os
import sys

import pytest
import terminal

from pypi_insiders.cli.verdicts import echo_verdicts


def test_a_hint_is_not_repeated_right_below(capsys: pytest.CaptureFixture[str]) -> None:
    """Several lines often have the same remedy."""
    echo_verdicts(
        [
            ("problem", "a: broken", "mend it"),
            ("warning", "b: odd", "mend it"),
            ("ok", "c: well", None),
            ("note", "d: \x1b[31mforeign", "mend it"),
        ]
    )
    assert capsys.readouterr().out.splitlines() == [
        "problem  a: broken",
        "         hint: mend it",
        "warning  b: odd",
        "ok       c: well",
        "note     d: foreign",
        "         hint: mend it",
    ]


def test_each_problem_of_one_subject_has_its_hint(capsys: pytest.CaptureFixture[str]) -> None:
    lines = [("problem", f"{name}: broken", "mend it") for name in ("a", "a", "b")]
    echo_verdicts(lines, by_subject=True)
    assert capsys.readouterr().out.splitlines() == [
        "problem  a: broken",
        "         hint: mend it",
        "problem  a: broken",
        "         hint: mend it",
        "problem  b: broken",
    ]


def test_a_terminal_gets_lines_that_break_at_blanks_and_whole_commands() -> None:
    """What is copied from it runs; a name is never divided."""
    program = """
from pypi_insiders.cli.verdicts import echo_verdicts
hint = "look at it, then `pypi-insiders show me/a-long-name-of-a-project --json`, or wait"
echo_verdicts([("problem", "me/a-long-name-of-a-project: it is broken in many ways", hint)])
"""
    argv = [sys.executable, "-c", program]
    assert terminal.run(argv, os.environ, columns=60, NO_COLOR="1") == [
        "problem  me/a-long-name-of-a-project: it is broken in many",
        "         ways",
        "         hint: look at it, then",
        "               `pypi-insiders show me/a-long-name-of-a-project --json`,",
        "               or wait",
    ]
