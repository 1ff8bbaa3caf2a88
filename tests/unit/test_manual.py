"""README and manual: complete, true, plain, and leading where they say."""

import ast
import re
import shlex
import sys
import tomllib
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import click
import pytest
from fixtures import ROOT

from pypi_insiders.cli import COMMANDS, cli
from pypi_insiders.cli import help as manual
from pypi_insiders.config import toml_fields
from pypi_insiders.config.settings import Settings, as_document, parse_settings
from pypi_insiders.config.toml_fields import as_toml
from pypi_insiders.repositories import registry
from pypi_insiders.repositories.repository import Repository

PAGES = manual.pages()
TEXTS = {"README.md": ROOT / "README.md", **{path.name: path for path in PAGES.values()}}


@pytest.fixture(params=TEXTS)
def path(request: pytest.FixtureRequest) -> Path:
    """The README, and each page."""
    return TEXTS[request.param]


def sections(text: str) -> dict[str, str]:
    """Return the title of each section, and what it has."""
    _, *found = re.split(r"^## ", text, flags=re.MULTILINE)
    return {part.partition("\n")[0]: part.partition("\n")[2] for part in found}


def blocks(text: str, language: str) -> list[str]:
    """Return the code of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def prose(text: str) -> str:
    """Return the text without blocks of code, on one line."""
    return " ".join(re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL).split())


# --- form ---


def test_the_readme_is_read_in_some_minutes() -> None:
    lines = TEXTS["README.md"].read_text().splitlines()
    assert 120 <= len(lines) <= 150
    cells = [cell for line in lines if line.startswith("|") for cell in line.split("|")]
    assert cells
    assert [cell for cell in cells if len(cell.split()) > 25] == []


@pytest.mark.parametrize("topic", PAGES)
def test_a_page_fits_into_a_terminal(topic: str) -> None:
    """As does its line in the list of pages."""
    text = PAGES[topic].read_text()
    urls = re.sub(r"\]\([^)]*\)", "]", text)
    assert [line for line in urls.splitlines() if len(line) > 81] == []
    assert len(manual.summary(PAGES[topic])) <= 80 - len("  configuration  ")
    assert text.partition("\n")[0].casefold() == f"# {topic}"


def anchor(title: str) -> str:
    """Return how a forge names a heading in a link."""
    return re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-")


@pytest.mark.parametrize("name", [*TEXTS, "CONTRIBUTING.md"])
def test_links_lead_to_files_and_headings(name: str) -> None:
    path = TEXTS.get(name, ROOT / ".github" / name)
    links = re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)", path.read_text())
    for target, heading in links:
        file = (path.parent / target).resolve() if target else path
        assert file.is_file(), target
        if heading:
            titles = re.findall(r"^#+ (.*)$", file.read_text(), re.MULTILINE)
            assert heading in map(anchor, titles), f"{target}#{heading}"


def test_the_readme_leads_to_every_page() -> None:
    text = TEXTS["README.md"].read_text()
    assert [
        topic for topic in PAGES if f"[{topic}](pypi_insiders/manual/{topic}.md)" not in text
    ] == []


# --- settings ---

ENTRY = re.compile(
    r"^- `(?P<key>[a-z-]+)`: .+?\bDefault: (?P<default>.+?)\. Example: `(?P<example>[^`]+)`\.$"
)


def entries(title: str) -> dict[str, tuple[str, str]]:
    """Read the keys that a section of the configuration describes: default and example."""
    text = sections(PAGES["configuration"].read_text())[title]
    items = [" ".join(item.split()) for item in re.findall(r"^- .+(?:\n  .+)*", text, re.MULTILINE)]
    found = [ENTRY.match(item) for item in items]
    assert None not in found, items[found.index(None)]
    return {item["key"]: (item["default"], item["example"]) for item in found if item}


@pytest.mark.parametrize("table", as_document(Settings()))
def test_every_setting_is_described_with_its_default_and_an_example(table: str) -> None:
    """In the order of config.toml."""
    found, content = entries(f"The {table} table"), as_document(Settings())[table]
    assert list(found) == list(content)
    for key, (default, example) in found.items():
        if content[key] is None:
            assert default
        else:
            assert default == f"`{as_toml(content[key])}`"
        path = Path("config.toml")
        changed = as_document(parse_settings(path, f"[{table}]\n{example}\n"))[table]
        assert changed[key] == tomllib.loads(example)[key]


def test_every_key_of_a_repository_is_described_with_an_example() -> None:
    found = entries("Keys of a repository")
    assert sorted(found) == sorted(toml_fields.write(Repository("me/probe")))
    for key, (_default, example) in found.items():
        value = tomllib.loads(example)[key]
        assert Repository("me/probe").with_key(key, value).keys == {key: value}


def test_settings_in_examples_are_valid(path: Path, tmp_path: Path) -> None:
    """Those of pypi-insiders; what is for clients is given to them in the journeys."""
    for text in blocks(path.read_text(), "toml"):
        tables = tomllib.loads(text)
        if any("/" in name for name in tables):
            (tmp_path / "repos.toml").write_text(text)
            assert list(registry.load(tmp_path / "repos.toml")) == list(tables)
        elif "tool" not in tables:
            parse_settings(Path("config.toml"), text)


# --- commands ---


def commands(text: str) -> Iterator[list[str]]:
    """Return the words of each command of this program, in blocks and within lines."""
    lines = [
        line.removeprefix("$ ")
        for language in ("console", "sh", "yaml")
        for block in blocks(text, language)
        for line in block.replace("\\\n", " ").splitlines()
        if language != "console" or line.startswith("$ ")
    ]
    lines += re.findall(r"`(pypi-insiders(?: [^`]+)?)`", prose(text))
    lines = [re.sub(r'"\$\(([^)]*)\)"', r"; \1", line) for line in lines]
    for line in lines:
        words = shlex.shlex(line, posix=True, punctuation_chars=True)
        words.whitespace_split = True
        command: list[str] | None = None
        for word in [*words, ";"]:
            if command is not None and re.fullmatch(r"[;&|]+", word):
                yield command
                command = None
            elif command is not None:
                command.append(word)
            elif word == "pypi-insiders":
                command = []


def parse(words: list[str]) -> None:
    """Parse a command as the program does, without running it."""
    ctx = click.Context(cli, info_name="pypi-insiders")
    while isinstance(ctx.command, click.Group) and words:
        name, *words = words
        command = ctx.command.get_command(ctx, name)
        assert command is not None, name
        if isinstance(command, click.Group):
            ctx = click.Context(command, info_name=name, parent=ctx)
        else:
            # A text may name a command without what it needs.
            ctx = command.make_context(
                name, words or ["--help"], parent=ctx, resilient_parsing=not words
            )
            return


def test_commands_are_those_of_the_program(path: Path) -> None:
    """With options and arguments that it takes."""
    found = list(commands(path.read_text()))
    assert found or path.stem in ("architecture", "json")
    for words in found:
        try:
            parse(words)
        except click.ClickException as error:
            pytest.fail(f"{words}: {error.format_message()}")


# --- man pages ---


def facts() -> ModuleType:
    """Return the module that the build of the wheel imports."""
    name = "manual_facts"
    spec = spec_from_file_location(name, ROOT / ".ci" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_man_page_of_each_command_has_an_example_of_it() -> None:
    """Which the program takes as it stands; and each has its own exit status."""
    described = facts().COMMANDS
    assert list(described) == list(COMMANDS)
    for name, item in described.items():
        examples = [row.split("   ") for row in item.example.splitlines()]
        assert [len(row) for row in examples] == [2] * len(examples)
        found = list(commands("".join(f"```sh\n{line}\n```\n" for _, line in examples)))
        assert found
        for words in found:
            parse(words)
        assert any(name in words for words in found)
    assert "127   " in described["exec"].status
    assert "3   " in described["status"].status
    assert "problem" in described["doctor"].status


# --- messages ---

_COMMAND = re.compile("git |machinectl |pypi-insiders |systemctl ")
_OF_INSTALLERS = {"Skipping page ... Content-Type", "Invalid port"}


def test_messages_are_those_of_the_program() -> None:
    """Whoever searches the page for what they see finds it."""
    trees = (ast.parse(path.read_text()) for path in (ROOT / "pypi_insiders").rglob("*.py"))
    nodes = (node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant))
    texts = [node.value for node in nodes if isinstance(node.value, str)]
    section = sections(PAGES["recovery"].read_text())["Messages"]
    quoted = {" ".join(text.split()) for text in re.findall(r"`([^`]+)`", section)}
    others = {text for text in quoted if " " not in text or _COMMAND.match(text)}
    messages = quoted - others - _OF_INSTALLERS
    parts = {part for text in messages for part in re.split(r": |\.\.\.(?:/\S+)?", text)}
    assert len(messages) > 10
    assert [part for part in parts if not any(part.strip() in text for text in texts)] == []
