"""What reaches the user manager, and when."""

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
