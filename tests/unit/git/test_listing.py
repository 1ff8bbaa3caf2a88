"""listing: which hosts answer."""

import contextlib

import pytest

from pypi_insiders.git import UnreachableError, listing
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.silent_hosts import SilentHosts

_ERRORS = (InsidersError("not found"), UnreachableError("no answer"))


@pytest.mark.parametrize("error", _ERRORS, ids=["answers", "is silent"])
def test_a_host_that_refuses_a_repository_has_answered(error: InsidersError) -> None:
    """Only one that does not answer is not asked for the others."""
    hosts = SilentHosts(1)
    with contextlib.suppress(InsidersError), listing.asking("https://a.example/me/one", hosts):
        raise error
    is_silent = isinstance(error, UnreachableError)
    expected = pytest.raises(UnreachableError) if is_silent else contextlib.nullcontext()
    with expected, listing.asking("https://a.example/me/other", hosts):
        assert not is_silent
    for url in ("https://b.example/me/one", "https://a.example:8443/me/one", "/srv/a.example"):
        with listing.asking(url, hosts):
            pass
