"""What reaches the user manager, and when."""

import socket
from pathlib import Path

import pytest

from pypi_insiders.systemd import control, systemctl
from pypi_insiders.systemd.unit_names import SERVER, WATCHER
from pypi_insiders.util.errors import InsidersError


def test_the_manager_forgets_removed_units_although_one_file_is_not_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or else it could still start them, although their files are gone."""
    ours, other = tmp_path / WATCHER.service, tmp_path / SERVER.service
    ours.write_text("# Installed by pypi-insiders 1.0\n")
    other.write_text("[Service]\n")
    calls: list[tuple[str, bool]] = []
    manager = systemctl.Manager(tmp_path, (tmp_path,), "252")
    monkeypatch.setattr(systemctl, "manager", lambda: manager)
    monkeypatch.setattr(
        systemctl, "try_call", lambda verb, *_units: calls.append((verb, ours.exists()))
    )
    with pytest.raises(InsidersError, match="was not written by pypi-insiders"):
        control.uninstall()
    assert calls[-1] == ("daemon-reload", False)


@pytest.mark.parametrize("is_closed", [True, False])
def test_a_closed_socket_is_opened_again(is_closed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one that was masked, systemd 257 says that it is active; the server cannot start then."""
    calls: list[tuple[str, ...]] = []

    def call(*words: str) -> None:
        calls.append(words)
        if len(calls) == 1:
            raise InsidersError("it failed")

    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        if is_closed:
            server.close()
        has = {"ActiveState": "active", "Listen": f"{address} (Stream)", "ExecMainStatus": "1"}
        monkeypatch.setattr(systemctl, "call", call)
        monkeypatch.setattr(systemctl, "show", lambda *_: has)
        if is_closed:
            control._call_of_server("restart")
        else:
            with pytest.raises(InsidersError, match="it failed"):
                control._call_of_server("restart")
    opened = [("stop", *SERVER.units), ("start", SERVER.trigger, SERVER.service)]
    assert calls == [("restart", SERVER.service), *(opened if is_closed else [])]


def test_units_that_are_stopped_together_need_not_all_be_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """systemd 262 stops none of several if it does not know one: `uninstall` left an index."""
    for unit in SERVER.units:
        (tmp_path / unit).write_text("# Installed by pypi-insiders 1.0\n")
    calls: list[tuple[str, ...]] = []
    manager = systemctl.Manager(tmp_path, (tmp_path,), "262")
    monkeypatch.setattr(systemctl, "manager", lambda: manager)
    monkeypatch.setattr(systemctl, "try_call", lambda *words: calls.append(words))
    monkeypatch.setattr(systemctl, "show", lambda *_: {"ActiveState": "inactive"})
    control.uninstall()
    stopped = [units for verb, *units in calls if verb == "stop"]
    assert [[unit] for unit in SERVER.units] == stopped[:2]
    assert {len(units) for units in stopped} == {1}
