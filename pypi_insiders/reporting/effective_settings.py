"""Return the effective settings, and where each of them comes from."""

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pypi_insiders.config.paths import Paths
from pypi_insiders.config.settings import as_document, parse_settings
from pypi_insiders.systemd import systemctl, unit_templates
from pypi_insiders.systemd.unit_names import SERVER, WATCHER
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import read_text

# The directives that override a setting where a drop-in of the user has them.
# Source: systemd.socket(5), systemd.timer(5).
_WINS = (
    (SERVER.trigger, r"ListenStream", (("server", "host"), ("server", "port"))),
    # OnCalendar=, OnUnitActiveSec= and others each start updates at other times than the setting.
    (WATCHER.trigger, r"On[A-Z]\w*", (("watcher", "interval"),)),
)


@dataclass(frozen=True)
class Effective:
    """One setting."""

    table: str
    key: str
    value: Any
    """As in `config.toml`; `None`: not set, and without a default."""
    line: int | None
    """The line in `config.toml`, from 1; `None`: the default applies."""
    drop_ins: tuple[str, ...]
    """The drop-ins of the user that override the value, also with the same one."""


def settings(paths: Paths) -> list[Effective]:
    """Return all settings, in the order of `config.toml`.

    Raises:
        InsidersError: `config.toml` cannot be read, or is invalid.
    """
    text = read_text(paths.settings) or ""
    document = as_document(parse_settings(paths.settings, text))
    lines, drop_ins = lines_of(text), _drop_ins()
    return [
        Effective(table, key, value, lines.get((table, key)), tuple(drop_ins.get((table, key), ())))
        for table, content in document.items()
        for key, value in content.items()
    ]


def lines_of(text: str) -> dict[tuple[str, str], int]:
    """Return the line on which each key of each table begins, from 1.

    Args:
        text: valid TOML.
    """
    found: dict[tuple[str, str], int] = {}
    lines = text.split("\n")
    begin = 1
    # tomllib has no positions, and a parser that has them would be one more dependency for this.
    # A key is on the line after which the text so far has it: strings and lists of several lines,
    # dotted keys and inline tables need no care of their own.
    for number in range(1, len(lines) + 1):
        # A text that ends within a string or a list is not valid yet; the next line may end it.
        try:
            document = tomllib.loads("\n".join(lines[:number]) + "\n")
        except tomllib.TOMLDecodeError:
            continue
        for place in _places(document):
            found.setdefault(place, begin)
        begin = number + 1
    return found


def _places(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for table, content in document.items():
        if isinstance(content, dict):
            for key in content:
                yield table, key


def _drop_ins() -> dict[tuple[str, str], list[str]]:
    """Return the drop-ins of the user that override a setting; none without a user manager."""
    found: dict[tuple[str, str], list[str]] = {}
    for unit, directive, places in _WINS:
        try:
            listed = systemctl.show(unit, "DropInPaths")["DropInPaths"].split()
        except InsidersError:
            return {}
        for path in listed:
            text = read_text(Path(path)) or ""
            # Drop-ins of this program are made of the settings, and override nothing.
            if not unit_templates.is_ours(text) and re.search(
                rf"^\s*{directive}\s*=", text, re.MULTILINE
            ):
                for place in places:
                    found.setdefault(place, []).append(path)
    return found
