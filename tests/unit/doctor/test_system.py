"""system: what doctor finds of systemd itself."""

import pytest

from pypi_insiders.doctor.system import of_version


@pytest.mark.parametrize(
    ("version", "verdict", "message"),
    [
        ("252.39-1~deb12u2", "ok", "systemd 252.39-1~deb12u2 answers"),
        ("250", "ok", "systemd 250 answers"),
        ("249.11-0ubuntu3", "warning", "systemd 249.11-0ubuntu3 answers, and is older than 250"),
    ],
)
def test_a_systemd_that_is_too_old_is_a_warning(version: str, verdict: str, message: str) -> None:
    """What it prints cannot be read by us."""
    found = of_version(version)
    assert (found.verdict, found.message) == (verdict, message)
