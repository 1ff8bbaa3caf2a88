"""errors: one line and a hint."""

import pytest

from pypi_insiders.util.errors import InsidersError, as_value


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("x\nproblem  me: run this\n  hint: `sh`", "x problem  me: run this hint: `sh`"),
        ("a\r\nb\rc\n", "a b c"),
        ("half \ud800 a character, \udcff a byte", "half ? a character, ? a byte"),
        ("a\x0bb\x0cc\x85d\u2028e\x1b[31m", "a?b?c?d?e"),
    ],
)
def test_an_error_is_one_line_that_can_be_written(message: str, told: str) -> None:
    """Whatever name of a file or answer of a hook has become part of it; its hint as well."""
    error = InsidersError(message, message)
    assert (error.message, error.hint, str(error)) == (told, told, told)
    assert told.encode().decode().splitlines() == [told]


def test_a_value_has_no_frames() -> None:
    """Their variables would stay in memory as long as it does."""
    try:
        try:
            raise OSError
        except OSError as error:
            raise InsidersError("broken", "mend it") from error
    except InsidersError as error:
        kept = as_value(error)
    assert (kept.__traceback__, kept.__cause__, kept.__context__) == (None, None, None)
    assert (kept.message, kept.hint) == ("broken", "mend it")
