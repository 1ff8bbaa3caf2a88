"""command: which git is started."""

import os
from pathlib import Path

import pytest

from pypi_insiders.git import command
from pypi_insiders.util.errors import InsidersError


def program(path: Path, text: str) -> Path:
    """Make a program that prints a text."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\necho {text}\n")
    path.chmod(0o755)
    return path


def test_the_first_git_in_the_path_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the path as it is then."""
    places = [program(tmp_path / name / "git", name).parent for name in ("one", "two")]
    for first, second in (places, reversed(places)):
        monkeypatch.setenv("PATH", f"{tmp_path / 'none'}:{first}:{second}:{os.environ['PATH']}")
        assert command.git("version") == f"{first.name}\n"


def test_a_git_of_the_working_directory_is_not_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Git works in another one, in which a relative path leads elsewhere."""
    program(tmp_path / "mine/git", "mine")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"mine:{os.environ['PATH']}")
    assert command.git("version").startswith("git version ")


def test_a_missing_git_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what to do."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InsidersError) as caught:
        command.git("version")
    assert (caught.value.message, caught.value.hint) == ("git was not found", "install git")


def test_git_and_its_helpers_load_no_locale(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither that of the user, which would translate messages, nor one that takes time."""
    for name in ("LANG", "LANGUAGE", "LC_ALL"):
        monkeypatch.setenv(name, "de_DE.UTF-8")
    shown = command.git("-c", "alias.shown=!echo $LC_ALL $LANGUAGE", "shown")
    assert set(shown.split()) == {"C"}
