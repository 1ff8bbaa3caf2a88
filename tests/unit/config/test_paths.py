"""Where files lie."""

import os
import pwd
from pathlib import Path
from typing import NoReturn

import pytest

from pypi_insiders.config.paths import Paths, default_paths, runtime_directory
from pypi_insiders.util.errors import InsidersError

VARIABLES = ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME")


@pytest.mark.parametrize("value", ["", "relative/path", None])
def test_the_home_has_the_directories(value: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that is empty or relative counts as unset."""
    monkeypatch.setenv("HOME", "/home/me")
    for name in VARIABLES:
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    assert default_paths() == Paths(
        Path("/home/me/.config/pypi-insiders"),
        Path("/home/me/.local/share/pypi-insiders"),
        Path("/home/me/.local/state/pypi-insiders"),
        Path("/home/me/.cache/pypi-insiders"),
    )


def test_each_variable_moves_one_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the XDG Base Directory Specification says."""
    for name in VARIABLES:
        monkeypatch.setenv(name, f"/elsewhere/{name}")
    assert default_paths() == Paths(*(Path(f"/elsewhere/{it}/pypi-insiders") for it in VARIABLES))


@pytest.mark.parametrize("value", ["", "relative"])
def test_a_home_that_is_no_absolute_path_is_an_error(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files were written to `/`, or below the working directory."""
    monkeypatch.setenv("HOME", value)
    with pytest.raises(InsidersError, match=f"HOME is '{value}', which is not an absolute path"):
        default_paths()
    monkeypatch.delenv("HOME")
    assert default_paths().state.is_absolute()


def test_without_any_home_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a user who is only a number, in a container."""

    def unknown(user: int) -> NoReturn:
        raise KeyError(user)

    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    with pytest.raises(InsidersError, match=r"HOME is not set, and user \d+ has no home directory"):
        default_paths()


def test_the_home_of_another_user_that_sudo_has_kept_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files of root in it stopped that user's next command."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SUDO_UID", str(os.getuid()))
    assert default_paths().state.is_relative_to(tmp_path)  # from root to this user
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(InsidersError) as caught:
        default_paths()
    assert (caught.value.message, caught.value.hint) == (
        f"sudo has kept HOME={tmp_path}: new files there would not belong to its owner",
        "run the command without sudo, or with `sudo -H`",
    )
    monkeypatch.setenv("SUDO_UID", str(os.getuid() + 2))  # with `sudo -H`
    assert default_paths()


@pytest.mark.parametrize("value", ["", "relative/path", None])
def test_the_runtime_directory_is_never_below_the_working_directory(
    value: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has sockets of connections."""
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    if value is not None:
        monkeypatch.setenv("XDG_RUNTIME_DIR", value)
    assert runtime_directory() == Path(f"/run/user/{os.getuid()}")
