"""help: pages of the manual, and the help of commands."""

import os
import pty
import subprocess

import pytest
from fixtures import COMMAND, Person

from pypi_insiders.cli import COMMANDS
from pypi_insiders.cli import help as manual


def test_without_an_argument_all_pages_are_listed(person: Person) -> None:
    lines = person.run("help").stdout.splitlines()
    listed = {line.split()[0]: line for line in lines if line.startswith("  ")}
    assert list(listed) == list(manual.pages())
    assert [line for line in lines if len(line) > 80] == []


@pytest.mark.parametrize("topic", manual.pages())
def test_a_page_is_printed_as_it_is(person: Person, topic: str) -> None:
    done = person.run("help", topic, PAGER="false")
    assert (done.stdout, done.stderr) == (manual.pages()[topic].read_text(), "")


@pytest.mark.parametrize("words", [("update",), ("server",), ("repos", "add"), ("help",)])
def test_the_help_of_a_command_is_that_of_its_option(
    person: Person, words: tuple[str, ...]
) -> None:
    assert person.run("help", *words).stdout == person.run(*words, "--help").stdout


def test_no_topic_has_the_name_of_a_command() -> None:
    """It could not be told which of them is meant."""
    assert set(manual.pages()) & set(COMMANDS) == set()


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (("clientz",), "no page or command is named 'clientz'",
         "did you mean `pypi-insiders help clients`?"),
        (("updat",), "no page or command is named 'updat'",
         "did you mean `pypi-insiders help update`?"),
        (("repos", "ad"), "no command is named 'repos ad'",
         "did you mean `pypi-insiders help repos add`?"),
        (("xyz",), "no page or command is named 'xyz'", "see `pypi-insiders help`"),
        (("update", "x"), "no command is named 'update x'", "see `pypi-insiders help update`"),
    ],
)  # fmt: skip
def test_what_is_unknown_is_answered_with_the_nearest(
    person: Person, words: tuple[str, ...], message: str, hint: str
) -> None:
    done = person.run("help", *words, status=2)
    assert (done.stdout, done.stderr) == ("", f"error: {message}\nhint: {hint}\n")


def test_on_a_terminal_a_page_goes_through_the_pager(person: Person) -> None:
    terminal, theirs = pty.openpty()
    with subprocess.Popen(
        [COMMAND, "help", "units"],
        env={**person.environment, "PAGER": "head -n 1", "TERM": "xterm"},
        stdin=theirs, stdout=theirs, stderr=theirs,
    ) as process:  # fmt: skip
        os.close(theirs)
        shown = b""
        try:
            while block := os.read(terminal, 65536):
                shown += block
        except OSError:
            pass  # nobody has the other end any more
        finally:
            os.close(terminal)
    assert (process.returncode, shown) == (0, b"# Units\r\n")


def test_pages_and_commands_are_completed(person: Person) -> None:
    def completed(words: str) -> list[str]:
        number = str(len(words.split(" ")) - 1)
        done = person.run(
            _PYPI_INSIDERS_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD=number
        )
        return [line.partition(",")[2] for line in done.stdout.split()]

    assert completed("pypi-insiders help co") == ["configuration", "config", "completion"]
    assert completed("pypi-insiders help repos a") == ["add"]
    assert completed("pypi-insiders help update ") == []
