"""web.guard: how the index is called."""

import pytest

from pypi_insiders.server.web.guard import RequestGuard


@pytest.mark.parametrize(
    ("addresses", "expected"),
    [
        (["127.0.0.1", "::1"], "127.0.0.1"),
        (["::1", "127.0.0.1"], "127.0.0.1"),
        (["::1"], "[::1]"),
        (["127.0.0.7"], "127.0.0.7"),
        (["0.0.0.0"], "127.0.0.1"),
        (["::"], "[::1]"),
        (["192.0.2.1"], None),
        (["192.0.2.1", "127.0.0.1"], "127.0.0.1"),
        ([], None),
    ],
)
def test_this_machine_has_one_name_in_urls(addresses: list[str], expected: str | None) -> None:
    """The one that `env` prints, for a lock file names the index by it."""
    assert RequestGuard((), addresses).loopback == expected
