"""listing: which hosts are asked, and which answer."""

import contextlib

import pytest

from pypi_insiders.git import UnreachableError, listing
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.silent_hosts import SilentHosts

_ERRORS = (InsidersError("not found"), UnreachableError("no answer"))


def _ask(hosts: SilentHosts, url: str, error: Exception | None = None) -> str | None:
    """Return why a host is not reached."""
    try:
        with listing.asking(url, hosts):
            if error:
                raise error
    except UnreachableError as found:
        return found.message
    return None


@pytest.mark.parametrize("error", _ERRORS, ids=["answers", "is silent"])
def test_a_host_that_refuses_a_repository_has_answered(error: InsidersError) -> None:
    """Only one that does not answer is not asked for the others."""
    hosts = SilentHosts(1)
    with contextlib.suppress(InsidersError):
        _ask(hosts, "https://a.example/me/one", error)
    is_asked = _ask(hosts, "https://a.example/me/other") is None
    assert is_asked is not isinstance(error, UnreachableError)
    for url in ("https://b.example/me/one", "https://a.example:8443/me/one", "/srv/a.example"):
        assert _ask(hosts, url) is None


def test_a_host_that_does_not_answer_over_ssh_is_asked_over_https() -> None:
    """A network may block ssh; hundreds of repositories were passed over for it."""
    hosts, away = SilentHosts(2), UnreachableError("it timed out")
    for url in ("git@Host.example:me/a.git", "ssh://host.example/me/b.git"):
        assert _ask(hosts, url, away) == "it timed out"
    assert _ask(hosts, "git@host.example:me/c.git") == (
        "ssh://host.example was not asked, as it has not answered for 2 other repositories"
    )
    for url in (
        "https://host.example/me/a.git", "ssh://host.example:2222/me/a.git",
        "git@other.example:me/a.git", "file:///srv/a.git", "/srv/a.git",
    ):  # fmt: skip
        assert _ask(hosts, url) is None


@pytest.mark.parametrize("url", ["file:///srv/a.git", "/srv/host.example"])
def test_a_path_has_no_host(url: str) -> None:
    hosts = SilentHosts(1)
    for _ in range(2):
        assert _ask(hosts, url, UnreachableError("gone")) == "gone"
