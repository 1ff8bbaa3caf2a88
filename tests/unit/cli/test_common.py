"""-q: a command prints nothing but warnings and errors, and what it was asked to print."""

import gc
from pathlib import Path

import pytest
import terminal
from fixtures import COMMAND, Person
from wheels import wheel

from pypi_insiders.cli import cli


def test_what_is_done_is_done_without_a_word(person: Person, tmp_path: Path) -> None:
    """Cron would mail each word. Each of these prints a line without -q."""
    wheel(person.paths.distributions, "my-dist", "1.0")
    original = tmp_path / "repos.json"
    original.write_text('{"me/c": "c"}')
    for typed in (
        "update",
        "repos list",
        "repos add --no-check me/a:a me/b:b",
        "repos add --no-check --keep 2 me/a",
        f"repos import --no-check {original}",
        "repos set me/a keep=5",
        "repos set me/a keep=",
        "repos remove me/b",
        f"export {tmp_path / 'exported'}",
        "prune --keep 1",
        "yank my-dist 1.0",
        "yank my-dist 1.0",
        "unyank my-dist 1.0",
        "unyank my-dist 1.0",
        "unpublish my-dist 1.0 --yes",
        "server password me --remove",
        "uninstall --purge --yes",
    ):
        done = person.run("-q", *typed.split())
        assert (typed, done.stdout, done.stderr) == (typed, "", "")


@pytest.mark.parametrize(
    "typed",
    ["env", "env --json", "config show", "completion bash", "repos list --json", "update --json"],
)
def test_what_is_asked_for_is_printed(person: Person, typed: str) -> None:
    words = typed.split()
    assert (
        person.run(*words, "-q", SHELL="sh").stdout == person.run(*words, SHELL="sh").stdout != ""
    )


def test_warnings_and_errors_stay(person: Person) -> None:
    told = person.run("repos", "add", "-q", "--no-check", "me/a")
    assert told.stdout == ""
    assert told.stderr.startswith("warning: me/a: project name unknown")
    assert told.stderr.count("\n") == 1


def test_doctor_shows_only_what_is_wrong(person: Person) -> None:
    """What it finds is the same, and so is its status."""
    told = person.run("doctor", "-q", status=1, PATH="/nonexistent").stdout
    lines = [line for line in told.splitlines() if not line.startswith(" ")]
    assert lines
    assert [line for line in lines if not line.startswith(("problem ", "warning "))] == []
    whole = person.run("doctor", status=1, PATH="/nonexistent").stdout
    assert any(line.startswith("ok ") for line in whole.splitlines())


def test_messages_have_colours_where_they_are_wanted(person: Person) -> None:
    """NO_COLOR and a dumb terminal are respected on standard error, too."""
    argv = ("sh", "-c", 'exec "$@" 2>&1', "sh", COMMAND, "show", "me/none")
    coloured = [
        any("\x1b[" in line for line in lines)
        for variables in ({}, {"NO_COLOR": "1"}, {"TERM": "dumb"})
        if (lines := terminal.run(argv, person.environment, columns=80, status=1, **variables))
    ]
    assert coloured == [True, False, False]


def test_what_runs_for_long_collects_its_garbage() -> None:
    """The program starts without, and each group that imports a command ends that."""
    gc.disable()
    try:
        assert cli.load("update")
        assert gc.isenabled()
    finally:
        gc.unfreeze()
        gc.enable()
