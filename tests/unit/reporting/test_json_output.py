"""The one shape of everything that `--json` prints."""

import json
import re
from collections.abc import Iterator
from typing import Any

import click
import pytest
from fixtures import Person
from json_manual import documented

from pypi_insiders.cli import cli
from pypi_insiders.reporting import json_output
from pypi_insiders.reporting.verdict import kind_of, problem


def with_json(command: click.Command = cli, *words: str) -> Iterator[str]:
    """Name the commands that have `--json`."""
    if any("--json" in option.opts for option in command.params):
        yield " ".join(words)
    if isinstance(command, click.Group):
        with click.Context(command) as ctx:
            for name in command.list_commands(ctx):
                inner = command.get_command(ctx, name)
                assert inner is not None
                yield from with_json(inner, *words, name)


def test_the_manual_describes_every_command_with_json() -> None:
    """And no other."""
    assert documented().keys() == set(with_json())


def keys(content: Any) -> Iterator[tuple[str, Any]]:
    """Name each member, with its value."""
    if isinstance(content, dict):
        for key, value in content.items():
            yield key, value
            if key not in ("settings", "seconds"):  # by the names of settings and of steps
                yield from keys(value)
    elif isinstance(content, list):
        for item in content:
            yield from keys(item)


@pytest.mark.parametrize(
    "typed", [("status",), ("repos", "list"), ("show", "me/probe"), ("update",), ("config", "show")]
)
def test_names_of_members_have_one_form(person: Person, typed: tuple[str, ...]) -> None:
    """Times end in `_at`, truths are adjectives; what was named otherwise is deprecated."""
    person.run("repos", "add", "me/probe:probe", "--url", "file:///nowhere/probe.git")
    status = {"status": 1, "update": 1}.get(typed[0], 0)
    content = json.loads(person.run(*typed, "--json", status=status).stdout)
    assert next(iter(content.items())) == ("version", 1)
    former = {"begins_anew", "unreachable_since"}
    for key, value in keys(content):
        assert re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)*", key)
        if isinstance(value, bool):
            assert key in former or not re.match("is_|has_|was_", key)
        if isinstance(value, str) and re.match(r"\d{4}-\d\d-\d\dT", value):
            assert key in former or key.endswith("_at")
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", value)


def test_a_problem_names_its_tag_and_what_helps() -> None:
    """Also one that says first that the project has no release."""
    text = "tag v1.0: Backend subprocess exited: odd"
    found = problem("me/probe", f"probe has no release yet: {text}", "do it", kind_of(text))
    assert json_output.item(found) == {
        "subject": "me/probe",
        "text": f"probe has no release yet: {text}",
        "hint": "do it",
        "tag": "v1.0",
    }


@pytest.mark.parametrize(
    ("text", "tag"),
    [
        ("tag v1.0: it fails", "v1.0"),
        ("tag a/b-1.0 was built from 0123 and names 4567 now", "a/b-1.0"),
        ("no tag is a release", None),
        ("tags v1: odd", None),
        ("branch main at 0123abcde: it fails", "branch main at 0123abcde"),
        ("branch main not found", None),
        ("", None),
    ],
)
def test_a_tag_is_read_from_a_message(text: str, tag: str | None) -> None:
    """As updates write it."""
    assert json_output.tag_of(text) == tag
