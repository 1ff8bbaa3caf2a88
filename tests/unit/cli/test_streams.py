"""streams: whatever standard output and standard error are, no command ends half way."""

import os
import subprocess
from pathlib import Path

import pytest
from fixtures import COMMAND, Person

NO_ROOM = "error: cannot write to standard output: No space left on device\n"
CLOSED = "error: cannot write to standard output: the stream is closed\n"
NOTHING = "no repositories are watched; `pypi-insiders repos add NS/PROJ`\n"


def shell(person: Person, line: str) -> "subprocess.CompletedProcess[str]":
    """Run a line of a shell, in which PI is the command."""
    return subprocess.run(
        ["bash", "-c", line], env={**person.environment, "PI": str(COMMAND)},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=100,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("line", "status", "output", "errors"),
    [
        ('"$PI" config show >/dev/full', 1, "", NO_ROOM),
        ('"$PI" config show >&-', 1, "", CLOSED),
        ('"$PI" --version >/dev/full', 1, "", NO_ROOM),
        # What writes nothing there misses nothing.
        ('"$PI" update >&-', 0, "", NOTHING),
        ('"$PI" update >/dev/full', 0, "", NOTHING),
        ('"$PI" update 2>&-', 0, "", ""),
        ('"$PI" update 2>/dev/full', 0, "", ""),
        ('"$PI" nonsense 2>/dev/full', 2, "", ""),
        ('"$PI" --version 2>&- <&-', 0, "pypi-insiders", ""),
        ('"$PI" config show <&- >&- 2>&-', 1, "", ""),
    ],
)
def test_a_full_or_closed_stream_shows_no_traceback(
    person: Person, line: str, status: int, output: str, errors: str
) -> None:
    """One line and status 1 where the result was lost, and else as ever."""
    done = shell(person, line)
    assert (done.returncode, done.stdout.split(" ")[0], done.stderr) == (status, output, errors)


def test_all_is_done_though_nothing_can_be_printed(person: Person) -> None:
    """The second repository is added after the line of the first was lost."""
    done = shell(person, '"$PI" repos add --no-check me/a:a me/b:b >/dev/full')
    assert (done.returncode, done.stderr) == (1, NO_ROOM)
    assert person.paths.repositories.read_text().count("project = ") == 2


def test_a_closed_stream_is_no_place_for_a_file(person: Person) -> None:
    """The next file that is opened has the lowest number, and the log would go into it."""
    person.run("repos", "add", "--no-check", "me/a:a", "--url", "file:///nowhere/a.git")
    assert shell(person, '"$PI" update 2>&-').returncode == 1
    files = [path for path in person.home.rglob("*") if path.is_file()]
    assert files
    assert [path for path in files if b"error: me/a" in path.read_bytes()] == []


def test_a_reader_that_goes_changes_no_status(person: Person) -> None:
    """As of `| head -1`; the reader is gone here before anything is written."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as output:
        done = subprocess.run(
            [COMMAND, "config", "show"], env=person.environment, stdin=subprocess.DEVNULL,
            stdout=output, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


INTERRUPT = "import os, signal; os.kill(os.getpid(), signal.SIGINT)\n"


def interrupted(person: Person, modules: Path, name: str, text: str) -> tuple[int, str]:
    """Run a command for which one more module is found; return its status and its errors."""
    modules.mkdir()
    (modules / name).write_text(text)
    done = subprocess.run(
        [COMMAND, "--version"], env={**person.environment, "PYTHONPATH": str(modules)},
        stdin=subprocess.DEVNULL, capture_output=True, text=True,
    )  # fmt: skip
    return done.returncode, done.stderr


def test_ctrl_c_while_the_program_is_imported_shows_no_traceback(
    person: Person, tmp_path: Path
) -> None:
    """click is the first of what takes time."""
    assert interrupted(person, tmp_path / "modules", "click.py", INTERRUPT) == (130, "")


def test_ctrl_c_while_the_program_ends_shows_no_traceback(person: Person, tmp_path: Path) -> None:
    """It ends by the signal."""
    text = f"import atexit\ndef end():\n    {INTERRUPT}\natexit.register(end)\n"
    assert interrupted(person, tmp_path / "modules", "sitecustomize.py", text) == (-2, "")
