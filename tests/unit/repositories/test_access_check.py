"""access_check: which repositories can be read."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from fixtures import free_port
from projects import create
from sshhost import SshHost

from pypi_insiders.git import shared_connections
from pypi_insiders.repositories import access_check
from pypi_insiders.repositories.access_check import Reply
from pypi_insiders.repositories.repository import Repository

pytestmark = pytest.mark.usefixtures("gitconfig")
MANY = shared_connections.FEWEST


def test_many_repositories_of_a_host_are_read_over_two_connections(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by updates: to a forge, hundreds are an attack. Where time is short, each has its own."""
    project = create(tmp_path, "probe")
    project.release("1.0")
    host = SshHost(tmp_path / "ssh")
    monkeypatch.setenv("PATH", host.path)
    url = f"ssh://forge.test{project.remote}"
    watched = [Repository(f"me/probe-{number}", "probe", url) for number in range(MANY)]
    expected = {item.name: Reply(1, newest="v1.0") for item in watched}
    # Short, as the path of a socket must be.
    with TemporaryDirectory() as runtime:
        monkeypatch.setenv("XDG_RUNTIME_DIR", runtime)
        assert access_check.ask(watched, None) == expected
        assert len(host.connections) == 2
        assert list(Path(runtime, "pypi-insiders").iterdir()) == []
        host.forget()
        assert access_check.ask(watched, None, timeout_s=50) == expected
        assert len(host.connections) == MANY


def test_a_host_that_does_not_answer_is_not_asked_for_each_of_its_repositories() -> None:
    """Each would wait for its timeout."""
    url = f"https://127.0.0.1:{free_port()}/me/probe.git"
    watched = [Repository(f"me/probe-{number}", "probe", url) for number in range(40)]
    replies = access_check.ask(watched, None).values()
    assert all(reply.is_away for reply in replies)
    in_vain = sum("was not asked" in (reply.error or "") for reply in replies)
    assert 40 - 2 * 16 < in_vain <= 40 - 16
