"""What reaches the user manager, and when."""

import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from pypi_insiders.config.paths import Paths
from pypi_insiders.config.settings import ServerSettings, Settings
from pypi_insiders.systemd import control, systemctl, unit_files
from pypi_insiders.systemd.unit_names import SERVER, WATCHER, Part
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


def _uninstalled(directory: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """Uninstall from a unit directory; return what was asked of systemctl."""
    calls: list[tuple[str, ...]] = []
    manager = systemctl.Manager(directory, (directory,), "262")
    monkeypatch.setattr(systemctl, "manager", lambda: manager)
    monkeypatch.setattr(systemctl, "try_call", lambda *words: calls.append(words))
    monkeypatch.setattr(systemctl, "show", lambda *_: {"ActiveState": "inactive"})
    control.uninstall()
    return calls


def test_units_that_are_stopped_together_need_not_all_be_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """systemd 262 stops none of several if it does not know one: `uninstall` left an index."""
    for unit in SERVER.units:
        (tmp_path / unit).write_text("# Installed by pypi-insiders 1.0\n")
    calls = _uninstalled(tmp_path, monkeypatch)
    stopped = [units for verb, *units in calls if verb == "stop"]
    assert [[unit] for unit in SERVER.units] == stopped[:2]
    assert {len(units) for units in stopped} == {1}


@pytest.mark.parametrize("how", [control.stop, control.disable])
@pytest.mark.parametrize("left", [SERVER.units, SERVER.units[:1], ()])
def test_a_service_is_stopped_though_its_unit_files_are_gone(
    how: Callable[[Part], bool],
    left: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It runs on without them: `not installed` was no word of it."""
    calls: list[tuple[str, ...]] = []
    manager = systemctl.Manager(tmp_path, (tmp_path,), "252")
    monkeypatch.setattr(systemctl, "manager", lambda: manager)
    monkeypatch.setattr(systemctl, "call", lambda *words: calls.append(words))
    monkeypatch.setattr(
        systemctl, "show_each", lambda units, *_: [_state(it, left) for it in units]
    )
    assert how(SERVER) == bool(left)
    assert calls == ([("stop", *left)] if left else [])


def _state(unit: str, running: tuple[str, ...]) -> dict[str, str]:
    return {"Id": unit, "ActiveState": "active" if unit in running else "inactive"}


def test_uninstall_stops_what_has_no_unit_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the index would listen until the next logout, and its port stay taken."""
    calls = _uninstalled(tmp_path, monkeypatch)
    assert {("stop", unit) for unit in (*SERVER.units, *WATCHER.units)} <= set(calls)


def test_a_socket_without_its_unit_file_does_not_take_the_port_from_itself(
    paths: Paths, tmp_path: Path
) -> None:
    """systemd forgets where it listens: `server start` could not install it again."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        settings = Settings(server=ServerSettings(port=server.getsockname()[1]))
        setup = control.Setup(paths, settings, systemctl.Manager(tmp_path, (tmp_path,), "252"))
        has = {"ActiveState": "active", "Listen": "", "DropInPaths": ""}
        control._demand_port(setup, has)
        with pytest.raises(InsidersError, match=r"keeps running at http://127.0.0.1:1/simple/"):
            control._demand_port(setup, {**has, "Listen": "127.0.0.1:1 (Stream)"})


def test_a_masked_timer_keeps_no_other_from_forgetting_its_elapses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """systemctl cleans none of several units from the first one on that it cannot clean."""
    calls: list[tuple[str, ...]] = []
    monkeypatch.setattr(systemctl, "try_call", lambda *words: calls.append(words))
    control.forget_elapses(["a.timer", "b.timer"])
    assert calls == [("clean", "--what=state", unit) for unit in ("a.timer", "b.timer")]


@pytest.mark.parametrize("is_open", [True, False])
def test_a_socket_with_other_addresses_than_it_was_started_with_counts_as_changed(
    is_open: bool, paths: Paths, tmp_path: Path
) -> None:
    """`systemctl edit` reloads it: `start` then said that the index runs where nothing listens."""
    setup = control.Setup(paths, Settings(), systemctl.Manager(tmp_path, (tmp_path,), "252"))
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1] if is_open else 1
        states = {
            SERVER.trigger: {
                "NeedDaemonReload": "no",
                "ActiveState": "active",
                "Listen": f"127.0.0.1:{port} (Stream)",
            },
            SERVER.service: {"NeedDaemonReload": "no"},
        }
        found = control._reloaded(SERVER, setup, unit_files.Change({}, frozenset()), states)
    assert found.units == (frozenset() if is_open else {SERVER.trigger})
