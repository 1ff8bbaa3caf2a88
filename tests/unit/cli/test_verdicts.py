"""Lines with a verdict before them."""

import pytest

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
