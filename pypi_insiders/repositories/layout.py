"""Change the text of `repos.toml`, and preserve its comments, order and layout."""

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tomli_w
import tomlkit
from tomlkit.items import Array, InlineTable

from pypi_insiders.config.toml_fields import as_toml

# tomlkit changes single values only, never the whole document: it counts the comments above a table
# to the table before, so a new key would be written below them, and a removed table would take them
# along (tomlkit 0.15).


@dataclass(frozen=True)
class _Statement:
    text: str
    name: str | None = None
    """The table."""
    key: str | None = None
    """`None`: the whole table, a header or an inline table."""

    @property
    def is_header(self) -> bool:
        return self.name is not None and self.text.lstrip().startswith("[")

    @property
    def is_blank(self) -> bool:
        return not self.text.strip()

    @property
    def is_comment(self) -> bool:
        return self.text.lstrip().startswith("#")


def revise(text: str, changes: Mapping[str, Mapping[str, Any] | None]) -> str:
    """Return a document with changed tables; all other text stays byte for byte.

    Args:
        text: valid TOML whose top-level values are tables without tables in them.
        changes: table to its changed keys, each with the new value or `None` to remove the key; or
            `None` to remove the table. New tables are added at the end.

    Returns:
        The new text. A removed table goes from its header to its last key; the comments above and
        below stay, separated by a blank line.
    """
    newline = "\r\n" if "\r\n" in text else "\n"
    statements = list(_statements(text))
    for name, keys in changes.items():
        if keys is None:
            _remove(statements, name, newline)
        elif any(item.name == name for item in statements):
            for key, value in keys.items():
                _set(statements, name, key, value, newline)
        else:
            _append(statements, tomli_w.dumps({name: keys}), newline)
    return "".join(item.text for item in statements)


def _statements(text: str) -> Iterator[_Statement]:
    table: str | None = None
    begun = ""
    # Not splitlines(), which also splits at characters that TOML allows in strings and comments.
    for line in re.findall(r"[^\n]*\n|[^\n]+", text):
        begun += line
        try:
            # Only a parser knows whether a statement is complete. Few have more than one line, so
            # this is linear in practice.
            document = tomllib.loads(begun)
        except tomllib.TOMLDecodeError:  # the value continues in the next line
            continue
        text, begun = begun, ""
        if not document:
            yield _Statement(text)
        elif text.lstrip().startswith("["):
            (table,) = document
            yield _Statement(text, table)
        elif table is not None:
            yield _Statement(text, table, *document)
        else:
            (name,) = document
            # tomllib returns the same for `a = {b = 1}` and `a.b = 1`.
            is_inline = isinstance(tomlkit.parse(text)[name], InlineTable)
            yield _Statement(text, name) if is_inline else _Statement(text, name, *document[name])


def _places(statements: Sequence[_Statement], name: str) -> list[int]:
    return [place for place, item in enumerate(statements) if item.name == name]


def _remove(statements: list[_Statement], name: str, newline: str) -> None:
    places = _places(statements, name)
    if statements[places[0]].is_header:
        # Up to its last key: a comment below may be on the next table.
        places = list(range(places[0], places[-1] + 1))
    # From the end, so that the other indexes stay valid.
    for place in reversed(places):
        del statements[place]
    _close_gap(statements, places[0], newline)


def _close_gap(statements: list[_Statement], place: int, newline: str) -> None:
    """Leave one blank line in place of a removed table, or none at an end of the document."""
    is_begin, is_end = place == 0, place == len(statements)
    is_blank_before = not is_begin and statements[place - 1].is_blank
    is_blank_after = not is_end and statements[place].is_blank
    if is_blank_after and (is_begin or is_blank_before):
        del statements[place]
    elif is_end and is_blank_before:
        del statements[place - 1]
    elif not (is_begin or is_end or is_blank_after) and statements[place - 1].is_comment:
        # Otherwise a comment on the removed table would look like one on the next table.
        statements.insert(place, _Statement(newline))


def _set(statements: list[_Statement], name: str, key: str, value: Any, newline: str) -> None:
    places = _places(statements, name)
    whole = statements[places[0]]
    place = next((place for place in places if statements[place].key == key), None)
    if whole.key is None and not whole.is_header:
        statements[places[0]] = _Statement(_in_place(whole.text, (name, key), value, newline), name)
    elif place is not None and value is not None:
        path = (key,) if whole.is_header else (name, key)
        text = _in_place(statements[place].text, path, value, newline)
        statements[place] = _Statement(text, name, key)
    elif place is not None and len(places) == 1:
        # The last dotted key of a table: without it, the table would be gone.
        statements[place] = _Statement(f"{as_toml(name)} = {{}}{newline}", name)
    elif place is not None:
        del statements[place]
    elif value is not None:
        last = statements[places[-1]]
        # After the last key, not at the end of the table, where a comment on the next one may be.
        indent = "" if last.is_header else last.text[: -len(last.text.lstrip())]
        prefix = "" if whole.is_header else f"{as_toml(name)}."
        written = tomli_w.dumps({key: value}).replace("\n", newline)
        statements[places[-1]] = _Statement(_ended(last.text, newline), name, last.key)
        statements.insert(places[-1] + 1, _Statement(f"{indent}{prefix}{written}", name, key))


def _in_place(text: str, path: Sequence[str], value: Any, newline: str) -> str:
    """Change, add or remove (`None`) a value in one statement."""
    # tomlkit writes new values with `\n`, so the ends of lines are restored.
    document = tomlkit.parse(text)
    *tables, key = path
    holder: Any = document
    for table in tables:
        holder = holder[table]
    if value is None:
        holder.pop(key, None)
    elif isinstance(value, list) and isinstance(holder.get(key), Array):
        _change_array(holder[key], value)
    else:
        holder[key] = value
    return re.sub(r"\r?\n", newline, tomlkit.dumps(document))


def _change_array(array: Array, values: Sequence[str]) -> None:
    """Change a list item by item, so that the remaining items keep their comments."""
    for place in reversed(range(len(array))):
        if array[place] not in values:
            del array[place]
    for place, value in enumerate(values):
        if place == len(array):
            array.append(value)
        elif array[place] != value:
            array[place] = value
    for place in reversed(range(len(values), len(array))):
        del array[place]


def _append(statements: list[_Statement], text: str, newline: str) -> None:
    if statements:
        last = statements[-1]
        statements[-1] = _Statement(_ended(last.text, newline), last.name, last.key)
        if not last.is_blank:
            statements.append(_Statement(newline))
    statements += _statements(text.replace("\n", newline))


def _ended(text: str, newline: str) -> str:
    # The last line of a file that was written by hand may have no end.
    return text if text.endswith("\n") else text + newline
