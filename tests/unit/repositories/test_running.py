"""Waiting for updates."""

from pathlib import Path

from pypi_insiders.config.paths import Paths
from pypi_insiders.repositories import running
from pypi_insiders.util.files import locked


def test_whoever_waits_for_an_update_says_so(tmp_path: Path) -> None:
    """Once, in one line, and only if there is an update to wait for."""
    paths = Paths(*(tmp_path / name for name in ("config", "data", "state", "cache")))
    said: list[str] = []
    with running.updates_stopped(paths, said.append):
        assert said == []
    held = locked(paths.locks.updates)
    held.__enter__()

    def end_update(line: str) -> None:
        said.append(line)
        held.__exit__(None, None, None)

    with running.updates_stopped(paths, end_update):
        assert said == ["an update is running; waiting for its end"]
