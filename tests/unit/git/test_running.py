"""running: what git may print, and when it is killed."""

import contextlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from projects import git

from pypi_insiders.git import command, running
from pypi_insiders.git.command import GitSettings
from pypi_insiders.util import process_group
from pypi_insiders.util.disk_reserve import DiskFullError, Guard
from pypi_insiders.util.errors import InsidersError

_MIB = 1024 * 1024


def test_git_prints_no_more_than_can_be_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is ended while it prints, with what it has started."""
    monkeypatch.setattr(running, "_OUTPUT_LIMIT_BYTES", _MIB)
    word = "printed without end"
    settings = GitSettings(options=(f"alias.flood=!exec yes '{word}'",))
    with pytest.raises(InsidersError) as caught:
        command.attempt("flood", settings=settings, timeout_s=100)
    assert caught.value.message == "git printed more than 1 MiB"
    line, ended = f"yes\0{word}\0".encode(), threading.Event()
    # What is killed is gone a moment later.
    assert any(line not in _running() or ended.wait(0.05) for _ in range(600))


def test_errors_are_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host writes them: as empty lines they would take many times the memory."""
    monkeypatch.setattr(running, "_ERRORS_LIMIT_BYTES", _MIB)
    settings = GitSettings(options=("alias.flood=!exec yes '' >&2",))
    with pytest.raises(InsidersError, match=r"^git printed more than 1 MiB of errors$"):
        command.attempt("flood", settings=settings, timeout_s=100)


def test_no_git_runs_after_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread may start it just then; the update would wait for its host."""
    monkeypatch.setattr(running, "_has_ended", threading.Event())
    running.end()
    settings = GitSettings(options=("alias.wait=!exec tail -f /dev/null",))
    with pytest.raises(InsidersError, match=r"^git wait was killed by signal 9$"):
        command.attempt("wait", settings=settings, timeout_s=100)


@pytest.mark.parametrize(
    ("then", "printed", "status"),
    [("signal.pause()", b"", None), ("os._exit(3)", b"printed", 3)],
    ids=["waits", "ends"],
)
def test_the_end_of_the_output_is_not_that_of_the_process(
    monkeypatch: pytest.MonkeyPatch, then: str, printed: bytes, status: int | None
) -> None:
    """It is killed in time, and not before it, or has a status of its own."""
    monkeypatch.setattr(running, "STALL_TIMEOUT_S", 0.2)
    code = f"import os, signal; os.write(1, b'printed'); os.close(1); os.close(2); {then}"
    argv = [sys.executable, "-c", code]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    until_s = time.monotonic() + (0.5 if status is None else 100)
    found, errors, ended = running.finish(process, until_s, connects=False)
    assert (bytes(found), bytes(errors), ended) == (printed, b"", status)
    assert process.returncode == (-signal.SIGKILL if status is None else status)
    assert (time.monotonic() < until_s) is (status is not None)


def _running() -> list[bytes]:
    """Read the command lines of all processes."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found.append(path.read_bytes())
    return found


@pytest.mark.parametrize(("size_bytes", "is_refused"), [(_MIB, False), (_MIB + 1, True)])
def test_what_git_prints_at_once_is_counted_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size_bytes: int, is_refused: bool
) -> None:
    """It may have ended before anybody looks."""
    monkeypatch.setattr(running, "_OUTPUT_LIMIT_BYTES", _MIB)
    subprocess.run(["git", "init", "--quiet", "--bare", tmp_path / "git"], check=True)
    (tmp_path / "large").write_bytes(b"x" * size_bytes)
    blob = git(tmp_path / "git", "hash-object", "-w", str(tmp_path / "large"))
    if is_refused:
        with pytest.raises(InsidersError):
            command.in_mirror(tmp_path / "git", "cat-file", "blob", blob)
    else:
        printed = command.in_mirror(tmp_path / "git", "cat-file", "blob", blob)
        assert len(printed) == size_bytes


@pytest.fixture
def silent() -> Iterator["subprocess.Popen[bytes]"]:
    """A process that does nothing until it gets something to repeat."""
    pipe = subprocess.PIPE
    with subprocess.Popen(["cat"], stdin=pipe, stdout=pipe, stderr=pipe) as process:
        yield process


def test_a_host_that_makes_no_progress_is_not_waited_for(
    silent: "subprocess.Popen[bytes]", monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though there is time left."""
    monkeypatch.setattr(running, "STALL_TIMEOUT_S", 0.2)
    until_s = time.monotonic() + 100
    assert running.finish(silent, until_s, connects=True) == (bytearray(), bytearray(), None)
    assert silent.returncode == -signal.SIGKILL
    assert time.monotonic() < until_s


def test_a_host_that_makes_progress_is_waited_for(
    silent: "subprocess.Popen[bytes]", monkeypatch: pytest.MonkeyPatch
) -> None:
    """However little comes, and however long it takes."""
    monkeypatch.setattr(running, "STALL_TIMEOUT_S", 0.2)
    look, seen, begun_s = process_group.activity, set[int | None](), time.monotonic()
    assert silent.stdin is not None
    give = silent.stdin

    def progress(process: int, *, apart: Sequence[str], waiting: Sequence[str]) -> int | None:
        if time.monotonic() - begun_s > 0.5:
            give.close()
            silent.wait()
            return None
        give.write(b"x")
        give.flush()
        while (found := look(process, apart=apart, waiting=waiting)) in seen:
            pass
        seen.add(found)
        return found

    monkeypatch.setattr(running, "activity", progress)
    printed, _, status = running.finish(silent, begun_s + 100, connects=True)
    assert (bytes(printed), status) == (b"x" * len(seen), 0)


def test_git_ends_before_the_disk_is_full(tmp_path: Path) -> None:
    """Also on this machine; and that is what is reported, not a time that is over."""
    settings = GitSettings(options=("alias.wait=!exec tail -f /dev/null",))
    with (
        Guard(2**60).guarding(tmp_path),
        pytest.raises(DiskFullError, match=r"^git wait: stopped because the disk is almost full$"),
    ):
        command.attempt("wait", settings=settings, timeout_s=100)
