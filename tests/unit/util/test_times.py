"""times: how long something took, for people."""

import pytest

from pypi_insiders.util.times import took


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0.04, "0.0 s"), (59.94, "59.9 s"), (59.96, "1 min 0 s"), (125.4, "2 min 5 s")],
)
def test_how_long_something_took(seconds: float, told: str) -> None:
    assert took(seconds) == told
