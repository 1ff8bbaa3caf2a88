"""service_status: how a service is, of the properties that systemd reports."""

import socket
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pypi_insiders.config.paths import Paths
from pypi_insiders.config.settings import Settings
from pypi_insiders.systemd import service_status, systemctl, unit_names, unit_state
from pypi_insiders.systemd.service_status import Condition
from pypi_insiders.systemd.unit_names import SERVER, WATCHER

NOW = datetime.fromtimestamp(1_000_000, UTC)


@pytest.mark.parametrize(
    ("has", "failure"),
    [
        ({"ActiveState": "active"}, None),
        ({"ActiveState": "inactive"}, None),
        ({"ActiveState": "failed", "Result": "exit-code",
          "InactiveEnterTimestampMonotonic": "5000000"}, "failing (exit-code)"),
        # Its socket was started again later.
        ({"ActiveState": "failed", "Result": "exit-code",
          "InactiveEnterTimestampMonotonic": "3999999"}, None),
        ({"ActiveState": "activating", "SubState": "start"}, None),
        ({"ActiveState": "activating", "SubState": "start", "NRestarts": "12"},
         "failing (not ready, restarted 12 times)"),
        ({"ActiveState": "activating", "SubState": "auto-restart", "NRestarts": "1",
          "Result": "signal"}, "failing (signal, restarted once)"),
        # Ready for hours after some restarts.
        ({"ActiveState": "active", "NRestarts": "12", "ActiveEnterTimestamp": "@990000",
          "InactiveEnterTimestamp": "@990000", "ActiveExitTimestamp": "@989999"}, None),
        # Ready, and again and again not for long.
        ({"ActiveState": "active", "NRestarts": "12", "ActiveEnterTimestamp": "@999980",
          "InactiveEnterTimestamp": "@999979", "ActiveExitTimestamp": "@999978"},
         "failing (running for less than a minute, restarted 12 times)"),
        # Never ready before, and mended now.
        ({"ActiveState": "active", "NRestarts": "12", "ActiveEnterTimestamp": "@999980",
          "InactiveEnterTimestamp": "@999979", "ActiveExitTimestamp": "@999900"}, None),
        # It has become ready, which systemd notes when ExecStartPost= has ended.
        ({"ActiveState": "activating", "SubState": "start-post", "NRestarts": "12",
          "InactiveEnterTimestamp": "@999979", "ActiveExitTimestamp": "@999900"}, None),
    ],
)  # fmt: skip
def test_a_loop_of_restarts_is_told_from_one_that_is_over(
    has: dict[str, str], failure: str | None
) -> None:
    """By whether it was ever ready, and when; not by the state of the moment."""
    service = {**dict.fromkeys(service_status.PROPERTIES, ""), "NRestarts": "0", **has}
    trigger = {"ActiveState": "active", "ActiveEnterTimestampMonotonic": "4000000"}
    assert service_status.failure(trigger, service, NOW) == failure


@pytest.mark.parametrize("service_state", ["inactive", "failed"])
def test_an_index_whose_program_is_gone_is_stopped(
    service_state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if its last start failed before the notifier's stop."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    none = dict.fromkeys(service_status.PROPERTIES, "")
    trigger = {**none, "ActiveState": "inactive"}
    service = {**none, "ActiveState": service_state, "Result": "exit-code", "NRestarts": "3"}
    assert "could not be run" not in service_status._server(trigger, service, NOW).state
    unit_names.gone().parent.mkdir()
    unit_names.gone().touch()
    seen = service_status._server(trigger, service, NOW)
    assert (seen.state, seen.has_failed) == ("stopped: its program could not be run", True)


@pytest.mark.parametrize(
    ("state", "text"),
    [
        ("active", "still running, but not installed: a unit file is gone"),
        ("inactive", "not installed"),
        ("failed", "not installed"),
    ],
)
def test_a_service_may_run_without_its_unit_files(
    state: str, text: str, paths: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """systemd goes on with what it has loaded, and the missing files are a problem."""

    def show_each(units: tuple[str, ...], *properties: str) -> list[dict[str, str]]:
        none = dict.fromkeys(properties, "")
        return [{**none, "Id": unit, "ActiveState": state} for unit in units]

    monkeypatch.setattr(systemctl, "show_each", show_each)
    seen = service_status.observe(NOW, systemctl.Manager(tmp_path, (tmp_path,), "252"))
    assert [(it.condition, it.state) for it in (seen.server, seen.watcher)] == [
        (Condition.NOT_INSTALLED, text)
    ] * 2
    found = unit_state.find(seen, paths, Settings(), {})
    assert [it.missing[:2] for it in found] == [
        it.units for it in (SERVER, WATCHER) if state == "active"
    ]


@pytest.mark.parametrize(
    ("has", "details"),
    [
        ({"ExecMainExitTimestamp": "@999940"}, ("last update succeeded 1 min ago",)),
        ({"ExecMainExitTimestamp": "@999940", "Result": "exit-code"},
         ("last update failed 1 min ago",)),
        # A credential was missing, so that its program was not run.
        ({"InactiveEnterTimestamp": "@999940", "Result": "exit-code"},
         ("last update failed 1 min ago",)),
        # The notifier may look while systemd still runs ExecStopPost=, by which it was started.
        ({"ActiveState": "deactivating", "SubState": "stop-post", "Result": "exit-code",
          "ExecMainExitTimestamp": "@999940"}, ("last update failed 1 min ago",)),
        ({"ActiveState": "deactivating", "SubState": "stop-post",
          "ExecMainExitTimestamp": "@999940"}, ("last update succeeded 1 min ago",)),
        # Stopped by the user, or a logout: by its handler, and before it had one.
        ({"ExecMainExitTimestamp": "@999940", "ExecMainStatus": "143"},
         ("last update interrupted 1 min ago",)),
        ({"ExecMainExitTimestamp": "@999940", "ExecMainStatus": "15"},
         ("last update interrupted 1 min ago",)),
        # A success by SuccessExitStatus= of the user.
        ({"ExecMainExitTimestamp": "@999940", "ExecMainStatus": "75"},
         ("last update succeeded 1 min ago",)),
        # No failure, and no word of the run before.
        ({"ExecMainExitTimestamp": "@999940", "Result": "exec-condition"},
         ("last update skipped by its ExecCondition=",)),
        ({}, ()),
    ],
)  # fmt: skip
def test_how_the_last_update_ended(has: dict[str, str], details: tuple[str, ...]) -> None:
    """Also of one that systemd could not begin."""
    none = dict.fromkeys(service_status.PROPERTIES, "")
    part = unit_names.of_repository("me/probe")
    service = {**none, "ActiveState": "failed", "Result": "success", **has}
    seen = service_status._watcher(part, {**none, "ActiveState": "inactive"}, service, NOW)
    assert (seen.details, seen.has_failed) == (details, "failed" in " ".join(details))
    assert seen.last_result == (details[0].split()[2] if details else None)


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (("activating", "start"), True), (("deactivating", "stop-sigterm"), True),
        (("deactivating", "stop-post"), False), (("activating", "start-post"), False),
        (("inactive", "dead"), False), (("failed", "failed"), False),
    ],
)  # fmt: skip
def test_an_update_runs_until_its_process_ends(state: tuple[str, str], expected: bool) -> None:
    """And not while systemd still does what follows, as to start the notifier, which looks."""
    shown = dict(zip(("ActiveState", "SubState"), state, strict=True))
    assert service_status.is_updating(shown) == expected


def test_addresses_at_which_a_socket_does_not_listen() -> None:
    """A drop-in has added them since its start; only those of TCP can be seen."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("", 0)) as two:
        ports = [it.getsockname()[1] for it in (one, two)]
        opened = [f"127.0.0.1:{ports[0]}", f"[::ffff:127.0.0.1]:{ports[0]}", f"[::1]:{ports[1]}"]
        closed = ("127.0.0.1:1", "[::1]:1", "[fe80::1]:1%eth0")
        kinds = (
            "/run/a b.sock (Stream)", "/run/a:1 (Stream)", "@a:1 (Stream)", "vsock:2:1 (Stream)",
            "127.0.0.1:1 (Datagram)",
        )  # fmt: skip
        lines = [*(f"{it} (Stream)" for it in (*opened, *closed)), *kinds]
        trigger = {**dict.fromkeys(service_status.PROPERTIES, ""), "Listen": "\n".join(lines)}
        assert service_status.unopened({**trigger, "ActiveState": "inactive"}) == ()
        trigger |= {"ActiveState": "active"}
        assert service_status.unopened(trigger) == closed
        seen = service_status._server(trigger, dict.fromkeys(service_status.PROPERTIES, ""), NOW)
    assert (seen.closed, seen.listens[:3]) == (closed, tuple(opened))
    assert not set(closed) & set(seen.listens)
