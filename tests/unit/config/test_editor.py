"""`config edit`: what is saved is right, and what was written is never lost."""

import contextlib
import os
import pty
import re
import subprocess
from pathlib import Path

import pytest
from fixtures import COMMAND, Person

from pypi_insiders.config.settings import load_settings, template

OLD = "# mine\n[server]\nport = 4711\n"
SHELL = "sh -c '{}' sh"


@pytest.fixture
def settings(person: Person) -> Path:
    """A `config.toml` that is right."""
    path = person.paths.settings
    path.parent.mkdir(parents=True)
    path.write_text(OLD)
    return path


def edit(person: Person, editor: str, *, status: int = 0, **environment: str) -> tuple[str, str]:
    """Run `config edit` without a terminal; return what it prints."""
    done = person.run("config", "edit", status=status, VISUAL="", EDITOR=editor, **environment)
    return done.stdout, done.stderr


def on_terminal(person: Person, answers: str = "", **environment: str) -> tuple[int, str]:
    """Run `config edit` on a terminal, with answers to its questions; return status and output."""
    terminal, inside = pty.openpty()
    process = subprocess.Popen(
        [COMMAND, "config", "edit"],
        env={**person.environment, "VISUAL": "", "EDITOR": "", **environment},
        stdin=inside, stdout=inside, stderr=inside, start_new_session=True,
    )  # fmt: skip
    os.close(inside)
    os.write(terminal, answers.encode())
    shown = b""
    with contextlib.suppress(OSError):  # EIO: the other end is closed. Source: pty(7)
        while part := os.read(terminal, 4096):
            shown += part
    os.close(terminal)
    text = re.sub(r"\x1b\[[0-9]*m", "", shown.decode()).replace("\r\n", "\n")
    return process.wait(60), text


def kept(person: Person) -> list[Path]:
    """Name the copies that were left."""
    return sorted(person.paths.config.glob(".config.*"))


def test_what_is_right_is_saved(person: Person, settings: Path) -> None:
    """Its mode stays, and the link through which it is reached; no copy is left."""
    elsewhere = person.home / "dotfiles.toml"
    settings.rename(elsewhere)
    elsewhere.chmod(0o600)
    settings.symlink_to(elsewhere)
    shown = edit(person, "sed -i s/4711/4712/")
    assert shown == (
        f"saved {settings}\n",
        "note: [server] takes effect at the next `pypi-insiders server restart`\n",
    )
    assert settings.is_symlink()
    assert elsewhere.read_text() == OLD.replace("4711", "4712")
    assert elsewhere.stat().st_mode & 0o777 == 0o600
    assert kept(person) == []


def test_where_there_is_no_file_the_defaults_are_there_to_begin_with(person: Person) -> None:
    """In comments, and no file is made until one of them changes."""
    assert edit(person, "true") == ("nothing changed\n", "")
    assert list(person.paths.config.iterdir()) == []
    assert edit(person, "sed -i 's/^# jobs = 0 /jobs = 2/'") == (
        f"saved {person.paths.settings}\n", "note: [build] takes effect at the next update\n",
    )  # fmt: skip
    text = person.paths.settings.read_text()
    assert text == re.sub("^# jobs = 0 ", "jobs = 2", template(), flags=re.MULTILINE)
    assert load_settings(person.paths.settings).build.jobs == 2


@pytest.mark.parametrize(
    ("line", "when"),
    [
        ("# a comment", []),
        ('[watcher]\ninterval = "1h"', ["interval takes effect at the next `pypi-insiders "
         "watcher restart`"]),
        ("[watcher]\nkeep = 3", ["[watcher] takes effect at the next update"]),
        (
            'auth = true\n[watcher]\ninterval = "1h"\nkeep = 3\n[publish]\nuser = "me"',
            [
                "[server] takes effect at the next `pypi-insiders server restart`",
                "interval takes effect at the next `pypi-insiders watcher restart`",
                "[watcher] takes effect at the next update",
                "[publish] takes effect at the next update",
            ],
        ),
    ],
)  # fmt: skip
def test_when_it_takes_effect_is_said(
    person: Person, settings: Path, line: str, when: list[str]
) -> None:
    """Of what has changed only."""
    (person.home / "added").write_text(f"{line}\n")
    shown = edit(person, SHELL.format('cat "$HOME/added" >>"$1"'))
    assert shown == (f"saved {settings}\n", "".join(f"note: {item}\n" for item in when))
    assert settings.read_text() == f"{OLD}{line}\n"


def test_what_is_wrong_is_kept_but_not_saved(person: Person, settings: Path) -> None:
    """Without a terminal nobody can be asked."""
    stdout, stderr = edit(person, "sed -i s/4711/0/", status=1)
    (copy,) = kept(person)
    assert (stdout, stderr) == (
        "",
        f"note: your text is kept in {copy}\n"
        f"error: {settings}: server.port must be a port from 1 to 65535, not 0\n"
        "hint: nothing was changed\n",
    )
    assert copy.read_text() == OLD.replace("4711", "0")
    assert copy.stat().st_mode & 0o777 == 0o600
    assert settings.read_text() == OLD


def test_on_a_terminal_it_can_be_edited_again(person: Person, settings: Path) -> None:
    """What was written is still there; Enter is enough."""
    shown = on_terminal(person, "\n", EDITOR="sed -i -e s/bad/4712/ -e s/4711/bad/")
    assert shown == (
        0,
        # The terminal shows the answer, which was typed ahead, at once.
        f"\nerror: {settings} is not valid TOML: Invalid value (at line 3, column 8)\n"
        f"Edit it again? [Y/n]: saved {settings}\n"
        "note: [server] takes effect at the next `pypi-insiders server restart`\n",
    )
    assert settings.read_text() == OLD.replace("4711", "4712")
    assert kept(person) == []


def test_on_a_terminal_it_can_be_thrown_away(person: Person, settings: Path) -> None:
    """Then all is as it was."""
    shown = on_terminal(person, "n\n", EDITOR="sed -i s/4711/0/")
    assert shown == (
        1,
        f"n\nerror: {settings}: server.port must be a port from 1 to 65535, not 0\n"
        "Edit it again? [Y/n]: error: nothing was changed\n",
    )
    assert settings.read_text() == OLD
    assert kept(person) == []


def test_whoever_breaks_off_at_the_question_loses_nothing(person: Person, settings: Path) -> None:
    """Ctrl-D is no answer."""
    status, shown = on_terminal(person, "\x04", EDITOR="sed -i s/4711/0/")
    (copy,) = kept(person)
    assert status == 130
    assert f"note: your text is kept in {copy}\n" in shown
    assert settings.read_text() == OLD


def test_ctrl_c_is_for_the_editor(person: Person, settings: Path) -> None:
    """One that makes something of it goes on, and so do we."""
    script = 'trap "" INT; kill -INT 0; echo "[build]" >>"$1"'
    assert on_terminal(person, EDITOR=SHELL.format(script)) == (0, f"saved {settings}\n")
    assert settings.read_text() == f"{OLD}[build]\n"


def test_whoever_is_ended_while_editing_loses_nothing(person: Person, settings: Path) -> None:
    """As when the terminal goes away."""
    script = 'echo "[build]" >>"$1"; kill -TERM $PPID'
    stdout, stderr = edit(person, SHELL.format(script), status=143)
    (copy,) = kept(person)
    assert (stdout, stderr) == (
        "", f"note: your text is kept in {copy}\n\nerror: interrupted\n",
    )  # fmt: skip
    assert copy.read_text() == f"{OLD}[build]\n"
    assert settings.read_text() == OLD


@pytest.mark.parametrize(
    ("editor", "message", "hint"),
    [
        ("false", "false exited with 1", "nothing was changed"),
        ("no-such-editor -w", "no-such-editor was not found", "install no-such-editor"),
        (SHELL.format('rm "$1"'), "sh left no file", "nothing was changed"),
        ("", "not a terminal", "set EDITOR to a program that needs none"),
    ],
)
def test_without_an_edit_nothing_changes(
    person: Person, settings: Path, editor: str, message: str, hint: str
) -> None:
    """And nothing is left."""
    assert edit(person, editor, status=1) == ("", f"error: {message}\nhint: {hint}\n")
    assert settings.read_text() == OLD
    assert kept(person) == []


def test_an_editor_that_cannot_be_understood_is_named(person: Person, settings: Path) -> None:
    """Its words are taken apart as a shell does."""
    assert edit(person, "vi '", status=1) == (
        "",
        "error: cannot parse $EDITOR: No closing quotation\n"
        "hint: check its quotes, as in a shell\n",
    )


def test_visual_comes_before_editor(person: Person, settings: Path) -> None:
    """As for git; arguments with spaces are one word."""
    person.run("config", "edit", VISUAL="sed -i 's/# mine/# my own/'", EDITOR="false")
    assert settings.read_text() == OLD.replace("mine", "my own")


def test_on_a_terminal_an_editor_is_found(person: Person, settings: Path) -> None:
    """`editor` is Debian's word for the one that is chosen there."""
    programs = person.home / "bin"
    programs.mkdir()
    assert on_terminal(person, PATH=str(programs)) == (
        1, "error: no editor was found\nhint: set EDITOR, or install nano\n",
    )  # fmt: skip
    (programs / "editor").write_text('#!/bin/sh\necho "[build]" >>"$1"\n')
    (programs / "editor").chmod(0o755)
    assert on_terminal(person, PATH=str(programs)) == (0, f"saved {settings}\n")


def test_what_somebody_else_saved_meanwhile_stays(person: Person, settings: Path) -> None:
    """Neither text is lost."""
    script = f'echo "# mine too" >>"$1"; echo "# theirs" >>"{settings}"'
    stdout, stderr = edit(person, SHELL.format(script), status=1)
    (copy,) = kept(person)
    assert (stdout, stderr) == (
        "",
        f"note: your text is kept in {copy}\n"
        f"error: {settings} was changed by another program\n"
        "hint: nothing was saved; edit again\n",
    )
    assert settings.read_text() == f"{OLD}# theirs\n"
    assert copy.read_text() == f"{OLD}# mine too\n"


def test_what_is_wrong_already_can_be_put_right(person: Person, settings: Path) -> None:
    """That is what it is for."""
    settings.write_text("[server\nport = 4711\n")
    stdout, stderr = edit(person, "sed -i 's/^.server/[server]/'")
    assert stdout == f"saved {settings}\n"
    assert stderr == (
        "note: [server] takes effect at the next `pypi-insiders server restart`\n"
        "note: interval takes effect at the next `pypi-insiders watcher restart`\n"
    )
    assert settings.read_text() == "[server]\nport = 4711\n"
