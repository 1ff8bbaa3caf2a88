"""The man pages: valid, complete, and found by man."""

import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from fixtures import ROOT, need

from pypi_insiders import __version__
from pypi_insiders.cli import COMMANDS, cli
from pypi_insiders.cli import help as manual

NAMES = ("pypi-insiders", *(f"pypi-insiders-{name}" for name in COMMANDS))
TOPICS = manual.pages()
FILES = (
    *(f"man1/{name}.1" for name in NAMES),
    *(f"man7/pypi-insiders-{topic}.7" for topic in TOPICS),
)


@pytest.fixture
def pages(installed: Path) -> Path:
    """The `share/man` of an installation."""
    return installed.parent.parent / "share/man"


def shown(pages: Path, name: str) -> str:
    """Have man print a page that it finds by its name."""
    done = subprocess.run(
        [need("man"), "-P", "cat", name],
        env={"PATH": os.environ["PATH"], "MANPATH": str(pages), "MANWIDTH": "500",
             "LC_ALL": "C.UTF-8", "MAN_KEEP_FORMATTING": ""},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stderr == ""
    return re.sub(r"[ \n]+", " ", re.sub(".\b", "", done.stdout))


@pytest.mark.parametrize("name", FILES)
def test_a_page_is_valid(pages: Path, name: str) -> None:
    """mandoc and groff have nothing to say about it, and it is plain ASCII."""
    page = pages / name
    page.read_text(encoding="ascii")
    for argv in (
        (need("mandoc"), "-T", "lint", page),
        (need("man"), "--warnings", "-E", "UTF-8", "-l", page),
    ):
        done = subprocess.run(
            argv, capture_output=True, text=True, env=dict(os.environ, LC_ALL="C.UTF-8")
        )
        said = done.stdout if argv[1] == "-T" else ""
        assert (done.returncode, said, done.stderr) == (0, "", "")


@pytest.mark.parametrize("name", NAMES)
def test_man_shows_every_section(pages: Path, name: str) -> None:
    """In the order of man-pages(7)."""
    text = (pages / "man1" / f"{name}.1").read_text()
    sections = [line.removeprefix(".SH ") for line in text.splitlines() if line.startswith(".SH ")]
    command = cli.get_command(click.Context(cli), name.removeprefix("pypi-insiders-"))
    optional = ["COMMANDS"] if command is None or isinstance(command, click.Group) else []
    optional += ["MANUAL"] if command is None else []
    concerned = {"completion": [], "help": ["ENVIRONMENT"]}.get(
        name.removeprefix("pypi-insiders-"), ["ENVIRONMENT", "FILES"]
    )
    assert sections == [
        "NAME", "SYNOPSIS", "DESCRIPTION", *optional, "OPTIONS", "EXIT STATUS", *concerned,
        "EXAMPLES", "SEE ALSO",
    ]  # fmt: skip
    assert f" {name} - " in shown(pages, name)


def said() -> Iterator[tuple[str, str]]:
    """Name a page, and a text that must be on it, for all that the help of a command says."""
    for name in COMMANDS:
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        items = {name: command}
        if isinstance(command, click.Group):
            inner = click.Context(command)
            for word in command.list_commands(inner):
                member = command.get_command(inner, word)
                assert member is not None
                items[f"{name} {word}"] = member
        for words, item in items.items():
            page = f"pypi-insiders-{name}"
            ctx = click.Context(item, info_name=f"pypi-insiders {words}")
            if not isinstance(item, click.Group):
                yield page, " ".join((ctx.info_name or "", *item.collect_usage_pieces(ctx)))
            yield page, item.help or ""
            for parameter in item.params:
                record = parameter.get_help_record(ctx)
                if isinstance(parameter, click.Option) and record:
                    yield page, " ".join(record)


def test_what_help_says_the_pages_say(pages: Path) -> None:
    """Every usage, help text and option, of every command."""
    texts = {name: shown(pages, name) for name in NAMES}
    wanted = [
        (page, re.sub(r"[ \n]+", " ", text.replace("\b", "").replace("`", "")).strip())
        for page, text in said()
    ]
    assert len(wanted) > 200
    assert [(page, text) for page, text in wanted if text not in texts[page]] == []


@pytest.mark.parametrize("topic", TOPICS)
def test_a_topic_has_every_word_of_its_markdown(pages: Path, topic: str) -> None:
    """Links name the page where they lead."""
    text = TOPICS[topic].read_text().partition("\n\n")[2]
    link = re.compile(r"\[([^]]+)\]\(([a-z]+)\.md(?:#[^)]*)?\)")
    wanted = link.sub(lambda found: f"{found[1]} pypi-insiders-{found[2]} 7", text)
    wanted = re.sub(r"^(```.*|#+ |- |\d+\. )|`(?!-)", "", wanted, flags=re.MULTILINE)
    words = re.findall(r"[A-Za-z0-9]+", wanted)
    shown_words = re.findall(r"[A-Za-z0-9]+", shown(pages, f"pypi-insiders-{topic}"))
    assert [word for word in words if word not in shown_words] == []
    assert len(shown_words) > len(words) - 2 * len(link.findall(text))


def test_the_page_of_the_program_leads_to_all_others(pages: Path) -> None:
    """It names every page, and the version."""
    text = shown(pages, "pypi-insiders")
    assert [name for name in NAMES if f"{name}(1)" not in text and name != NAMES[0]] == []
    assert [topic for topic in TOPICS if f"pypi-insiders-{topic}(7)" not in text] == []
    assert f"pypi-insiders {__version__} " in text


def test_the_same_time_gives_the_same_wheel(tmp_path: Path) -> None:
    """The pages bear the time of `SOURCE_DATE_EPOCH`."""
    built = []
    for name in ("one", "two"):
        done = subprocess.run(
            [Path(sys.executable).with_name("uv"), "build", "--quiet", "--wheel",
             "--out-dir", tmp_path / name, ROOT],
            env={**os.environ, "SOURCE_DATE_EPOCH": "1700000000"}, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        (wheel,) = (tmp_path / name).glob("*.whl")
        built.append(wheel.read_bytes())
    assert built[0] == built[1]
    with zipfile.ZipFile(wheel) as archive:
        name = f"pypi_insiders-{__version__}.data/data/share/man/man1/pypi-insiders.1"
        head = archive.read(name).decode().splitlines()[0]
    assert head == (
        f'.TH "PYPI\\-INSIDERS" "1" "2023-11-14" "pypi-insiders {__version__}" "User Commands"'
    )
