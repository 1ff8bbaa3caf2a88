"""Which hosts are this machine."""

import pytest

from pypi_insiders.config.addresses import is_loopback


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost.", "index.localhost", "127.0.0.1", "127.9.9.9", "::1", "0:0:0::1"],
)
def test_this_machine(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host",
    ["", "example.org", "localhost.example.org", "mylocalhost", "0.0.0.0", "::", "192.0.2.1"],
)
def test_other_hosts(host: str) -> None:
    """Neither is the unspecified address, at which others reach what listens there."""
    assert not is_loopback(host)
