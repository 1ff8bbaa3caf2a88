"""What the manual says of `--json`: every field, and no other."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from forge import Forge, forge
from json_manual import documented
from machine import Machine
from units import port

__all__ = ["forge", "port"]

FAILING = "raise SystemExit('it fails')"


FIELDS = documented()


def seen(content: Any, fields: set[str], at: str = "") -> Iterator[tuple[str, bool]]:
    """Name each field of an output, and whether it is a list without items.

    What the manual describes as a whole is not looked into.
    """
    is_whole = at in fields and not any(name.startswith((f"{at}.", f"{at}[")) for name in fields)
    if at and is_whole:
        yield at, False
    elif isinstance(content, dict):
        for key, value in content.items():
            name = f"{at}.{key}".lstrip(".")
            yield from seen(value, fields, re.sub(r"^settings\.[a-z]+\.[a-z-]+(?=\.|$)",
                                                  "settings.TABLE.KEY", name))  # fmt: skip
    elif isinstance(content, list):
        for item in content:
            yield from seen(item, fields, f"{at}[]")
        if not content:
            yield f"{at}[]", True
    else:
        yield at, False


@pytest.fixture
def outputs(machine: Machine, forge: Forge, port: int) -> dict[str, Any]:
    """What each command prints where something was built, something failed, and all runs."""
    project = forge.create("me/probe", "probe")
    project.release("1.0")
    project.write("1.1")
    project.hook(FAILING)
    project.push("v1.1")
    project.push("nightly")
    machine.write_text(".config/pypi-insiders/config.toml", f"[server]\nport = {port}\n")
    machine.run("pypi-insiders", "repos", "add", "me/probe")
    machine.run("pypi-insiders", "server", "start")
    machine.run("pypi-insiders", "watcher", "start", check=False)
    machine.run("pypi-insiders", "update", "me/probe", "--tag", "v1.0", check=False)
    arguments = {"show": ["me/probe"], "update": ["me/probe"]}
    return {
        command: json.loads(
            machine.run(
                "pypi-insiders", *command.split(), *arguments.get(command, ()), "--json",
                check=False,
            ).stdout
        )
        for command in FIELDS
    }  # fmt: skip


def test_every_field_is_described_and_every_described_field_is_there(
    outputs: dict[str, Any],
) -> None:
    """A field below a list that is empty cannot be seen."""
    assert len(FIELDS) == 9
    assert {content["version"] for content in outputs.values()} == {1}
    for command, content in outputs.items():
        fields = FIELDS[command]
        found = dict(seen(content, fields))
        empty = tuple(name for name, is_empty in found.items() if is_empty)
        assert {name for name, is_empty in found.items() if not is_empty} - fields == set(), command
        assert {
            name for name in fields - set(found) if not empty or not name.startswith(empty)
        } == set(), command
    assert outputs["show"]["failures"]
    assert outputs["status"]["problems"]
