"""Programs in place of systemd's, where there is no user manager."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pypi_insiders.builder import sandbox

_CONTROL = """#!/bin/sh
echo UnitPath=/home/me/.config/systemd/user.control
echo Version=252
echo Environment=
"""


def write_program(path: Path, text: str) -> None:
    """Write a program."""
    path.write_text(text)
    path.chmod(0o755)


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory of programs on the PATH, among them one in place of systemctl."""
    directory = tmp_path / "programs"
    directory.mkdir()
    write_program(directory / "systemctl", _CONTROL)
    monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")
    sandbox._knows_idle_weight.cache_clear()
    yield directory
    sandbox._knows_idle_weight.cache_clear()
