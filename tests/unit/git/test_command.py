"""command: what git may print."""

import subprocess
from pathlib import Path

import pytest
from projects import git

from pypi_insiders.git import command
from pypi_insiders.git.command import GitSettings
from pypi_insiders.util.errors import InsidersError

_MIB = 1024 * 1024


def test_git_prints_no_more_than_can_be_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is ended while it prints, with what it has started."""
    monkeypatch.setattr(command, "_OUTPUT_LIMIT_BYTES", _MIB)
    word = "printed without end"
    settings = GitSettings(options=(f"alias.flood=!exec yes '{word}'",))
    with pytest.raises(InsidersError) as caught:
        command.attempt("flood", settings=settings, timeout_s=100)
    assert caught.value.message == "git printed more than 1 MiB"
    running = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if _is(path)]
    assert [line for line in running if line == f"yes\0{word}\0".encode()] == []


def _is(path: Path) -> bool:
    try:
        return bool(path.read_bytes())
    except OSError:
        return False


@pytest.mark.parametrize(("size_bytes", "is_refused"), [(_MIB, False), (_MIB + 1, True)])
def test_what_git_prints_at_once_is_counted_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size_bytes: int, is_refused: bool
) -> None:
    """It may have ended before anybody looks."""
    monkeypatch.setattr(command, "_OUTPUT_LIMIT_BYTES", _MIB)
    subprocess.run(["git", "init", "--quiet", "--bare", tmp_path / "git"], check=True)
    (tmp_path / "large").write_bytes(b"x" * size_bytes)
    blob = git(tmp_path / "git", "hash-object", "-w", str(tmp_path / "large"))
    if is_refused:
        with pytest.raises(InsidersError):
            command.in_mirror(tmp_path / "git", "cat-file", "blob", blob)
    else:
        printed = command.in_mirror(tmp_path / "git", "cat-file", "blob", blob)
        assert len(printed) == size_bytes
