"""silent_hosts: which hosts are not worth asking."""

import pytest

from pypi_insiders.util.silent_hosts import SilentHosts


def _ask(hosts: SilentHosts, host: str, error: Exception | None = None) -> None:
    try:
        with hosts.asking(host, lambda error: isinstance(error, TimeoutError)):
            if error:
                raise error
    except (TimeoutError, PermissionError):
        pass


def test_a_host_is_silent_that_so_many_in_a_row_have_not_reached() -> None:
    """Another one is not."""
    hosts = SilentHosts(2)
    _ask(hosts, "a", TimeoutError())
    assert not hosts.is_silent("a")
    _ask(hosts, "a", TimeoutError())
    assert hosts.is_silent("a")
    assert not hosts.is_silent("b")


@pytest.mark.parametrize("answer", [None, PermissionError()])
def test_each_answer_counts_also_a_refusal(answer: Exception | None) -> None:
    """Also one that comes late, of a task that had begun before."""
    hosts = SilentHosts(2)
    for error in (TimeoutError(), answer, TimeoutError()):
        _ask(hosts, "a", error)
    assert not hosts.is_silent("a")
    _ask(hosts, "a", TimeoutError())
    _ask(hosts, "a", answer)
    assert not hosts.is_silent("a")
