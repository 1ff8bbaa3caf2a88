"""What cannot be undone: listed, asked for on a terminal, and refused where nobody can be asked."""

import os
import pty
import subprocess
from pathlib import Path

import pytest
from fixtures import COMMAND, Person
from wheels import wheel

from pypi_insiders.repositories import state
from pypi_insiders.repositories.state import Build, RepositoryState

FILE = "my_dist-1.0-py3-none-any.whl"
PURGE = ("uninstall", "--purge")
UNPUBLISH = ("unpublish", "my-dist", "1.0")
REFUSED = (
    "error: removing for good needs --yes where no terminal can ask; nothing was removed\n"
    "hint: `pypi-insiders {} --yes`, or --dry-run to list what goes\n"
)


@pytest.fixture
def index(person: Person) -> Path:
    """An index with one release."""
    path = person.paths.distributions
    wheel(path, "my-dist", "1.0")
    return path


def answered(person: Person, answer: str, *typed: str) -> tuple[int, str, str]:
    """Run a command on a terminal, on which one line is typed; return what it shows there."""
    ours, theirs = pty.openpty()
    os.write(ours, f"{answer}\n".encode())
    done = subprocess.run(
        [COMMAND, *typed], env={**person.environment, "PATH": "/nonexistent", "TERM": "dumb"},
        stdin=theirs, stdout=subprocess.PIPE, stderr=theirs, text=True, timeout=100,
    )  # fmt: skip
    os.close(theirs)
    shown = os.read(ours, 65536).decode().replace("\r", "")
    os.close(ours)
    return done.returncode, done.stdout, shown


@pytest.mark.parametrize("typed", [PURGE, UNPUBLISH], ids=" ".join)
def test_without_a_terminal_it_is_refused(
    person: Person, index: Path, typed: tuple[str, ...]
) -> None:
    """As by `gh`; the hint is the command that does it."""
    failed = person.run(*typed, status=2, PATH="/nonexistent")
    assert (failed.stdout, failed.stderr) == ("", REFUSED.format(" ".join(typed)))
    assert person.distributions() == [FILE]


@pytest.mark.parametrize("typed", [PURGE, UNPUBLISH], ids=" ".join)
def test_on_a_terminal_it_is_listed_and_asked(
    person: Person, index: Path, typed: tuple[str, ...]
) -> None:
    """The default is to remove nothing."""
    status, _, shown = answered(person, "", *typed)
    assert status == 1
    listed = [line for line in shown.splitlines() if line.startswith("will remove ")]
    goes = f"{person.paths.data}, with 1 file of the index" if typed == PURGE else FILE
    assert any(goes in line for line in listed)
    assert shown.endswith("error: nothing was removed\n")
    assert person.distributions() == [FILE]
    status, output, _ = answered(person, "y", *typed)
    assert (status, person.distributions()) == (0, [])
    assert "removed " in output


def test_a_dry_run_lists_and_leaves_all(person: Person, index: Path) -> None:
    done = person.run(*UNPUBLISH, "--dry-run")
    assert done.stdout == f"would remove {FILE} from the index\n"
    done = person.run(*PURGE, "--dry-run", PATH="/nonexistent")
    assert done.stdout.splitlines()[0] == (
        f"would remove {person.paths.data}, with 1 file of the index"
    )
    assert person.run("uninstall", "--dry-run", PATH="/nonexistent").stdout == "nothing to remove\n"
    person.run("repos", "add", "--no-check", "me/a:a")
    done = person.run("repos", "remove", "--dry-run", "https://github.com/me/a")
    assert done.stdout == "would remove me/a from the watched repositories\n"
    assert "me/a" in person.run("repos", "list").stdout
    assert person.distributions() == [FILE]
    # What it published may be left to remove.
    known = RepositoryState(
        "my-dist", [Build("v1", "c0ffee", "1", 0, {FILE: ""})], "file:///nowhere"
    )
    state.save(person.paths.state, "me/a", known)
    person.run("repos", "remove", "me/a")
    done = person.run("repos", "remove", "--purge", "--dry-run", "me/a")
    assert done.stdout == (
        f"would remove me/a, which is no longer watched\nwould remove {FILE} from the index\n"
    )


def test_where_nothing_goes_nothing_is_asked(person: Person) -> None:
    """A repository that has published nothing, and a home without anything."""
    person.run("repos", "add", "--no-check", "me/a:a")
    person.run("repos", "remove", "--purge", "me/a")
    (person.paths.repositories).unlink()


POINTING = 'undo: `eval "$(pypi-insiders env --unset)"`'


def test_a_shell_that_still_points_to_the_index_is_warned(person: Person) -> None:
    """Not one that never did."""
    url = "http://127.0.0.1:31411/simple/"
    silent = person.run("uninstall", "--purge", "--yes", PATH="/nonexistent", SHELL="bash")
    assert "still points" not in silent.stderr
    done = person.run(
        "-q", "uninstall", "--purge", PATH="/nonexistent", SHELL="bash", PIP_INDEX_URL=url
    )
    assert done.stderr == (
        "warning: this shell still points pip, uv and PDM to the index, which is removed; "
        f"{POINTING}\n"
    )
