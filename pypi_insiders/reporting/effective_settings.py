"""Tell the effective settings and where each of them comes from."""

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

# What in which unit wins over which settings, if a drop-in of the person says it.
# Source: systemd.socket(5), systemd.timer(5).
_WINS = (
    (SERVER.trigger, r"ListenStream", (("server", "host"), ("server", "port"))),
    (WATCHER.trigger, r"On[A-Z]\w*", (("watcher", "interval"),)),
)


@dataclass(frozen=True)
class Effective:
    """One setting."""

    table: str
    key: str
    value: Any
    """As `config.toml` says it; `None`: it is not set, and has no default."""
    line: int | None
    """Where `config.toml` says it, from 1; `None`: it is the default."""
    drop_ins: tuple[str, ...]
    """The drop-ins of the person that say something else, or the same, and win."""


def settings(paths: Paths) -> list[Effective]:
    """Tell all settings, in the order of `config.toml`.

    Raises:
        InsidersError: `config.toml` cannot be read, or is wrong.
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
    """Tell on which line each key of each table begins, from 1.

    A key is on the line at which the text, up to there, no longer is what it was before; so
    strings and lists of several lines, dotted keys and inline tables need no care of their own.

    Args:
        text: valid TOML.
    """
    found: dict[tuple[str, str], int] = {}
    lines = text.split("\n")
    begin = 1
    for number in range(1, len(lines) + 1):
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
    """Find the drop-ins of the person that win over a setting; none without a user manager."""
    found: dict[tuple[str, str], list[str]] = {}
    for unit, directive, places in _WINS:
        try:
            listed = systemctl.show(unit, "DropInPaths")["DropInPaths"].split()
        except InsidersError:
            return {}
        for path in listed:
            text = read_text(Path(path)) or ""
            if not unit_templates.is_ours(text) and re.search(
                rf"^\s*{directive}\s*=", text, re.MULTILINE
            ):
                for place in places:
                    found.setdefault(place, []).append(path)
    return found
