"""paths: where files lie, as the XDG specification has it."""

import os
import pwd
from pathlib import Path

import pytest

from pypi_insiders.config.paths import Paths, default_paths

ACCOUNT = pwd.getpwuid(os.getuid()).pw_dir


def below(home: str, *directories: str) -> Paths:
    """Name the four directories."""
    return Paths(*(Path(home, directory, "pypi-insiders") for directory in directories))


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"HOME": "/h"}, below("/h", ".config", ".local/share", ".local/state", ".cache")),
        (
            {"HOME": "/h", "XDG_CONFIG_HOME": "/c", "XDG_STATE_HOME": "s", "XDG_CACHE_HOME": ""},
            below("/h", "/c", ".local/share", ".local/state", ".cache"),
        ),
        ({"HOME": "h"}, below(ACCOUNT, ".config", ".local/share", ".local/state", ".cache")),
        ({}, below(ACCOUNT, ".config", ".local/share", ".local/state", ".cache")),
    ],
    ids=["home", "relative ones are not set", "relative home", "no home"],
)
def test_the_directories_are_those_of_the_environment(
    variables: dict[str, str], expected: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HOME", *(f"XDG_{what}_HOME" for what in ("CONFIG", "DATA", "STATE", "CACHE"))):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert default_paths() == expected
