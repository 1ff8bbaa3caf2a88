"""Read, write and set the keys of TOML tables, which the fields of frozen dataclasses declare."""

import functools
import json
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from pypi_insiders.util.errors import InsidersError, UsageError


class ListOrFalse:
    """A list, or `false` for nothing at all, which an empty list does not say clearly enough."""


_KINDS = {
    str: "a string",
    int: "a number",
    bool: "true or false",
    list: "a list",
    ListOrFalse: "a list or false",
}


@dataclass(frozen=True)
class Unit:
    """What a number counts that TOML has as a text, such as `10min`."""

    suffix: str
    """Ends the name of the field; the key lacks it."""
    sizes: tuple[tuple[int, str], ...]
    """The largest first; one divides every number that can be set."""

    def written(self, number: int) -> str | int:
        """Write a number in the largest unit that divides it; 0 has none."""
        if not number:
            return 0
        return next(f"{number // size}{name}" for size, name in self.sizes if number % size == 0)


SECONDS = Unit("_s", ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")))
BYTES = Unit(
    "_bytes",
    ((1024**4, "TiB"), (1024**3, "GiB"), (1024**2, "MiB"), (1024, "KiB"), (1000, "KB")),
)


@dataclass(frozen=True)
class _Key:
    """What a field declares."""

    parse: Callable[[Any], Any]
    kind: type | None
    unit: Unit | None
    hint: str | None
    field: str = ""


def key(
    parse: Callable[[Any], Any] = lambda value: value,
    default: Any = None,
    *,
    kind: type | None = None,
    unit: Unit | None = None,
    hint: str | None = None,
) -> Any:
    """Declare a field of a dataclass as a key of a table; its name has `-` for `_`.

    Args:
        parse: validates a value of TOML and returns what the field holds; raises ValueError with
            what continues the key's name (`must be ...`), or UsageError with a whole message.
        default: what the field holds where the table lacks the key.
        kind: the type of TOML; `None`: several, or `parse` reports a wrong one.
        unit: of a number that TOML has as a text.
        hint: what to do about a wrong value, where `parse` raises ValueError.
    """
    return field(default=default, metadata={"key": _Key(parse, kind, unit, hint)})


# Read once for each class: `repos list` asks for the keys of every repository.
@functools.cache
def _keys(table: type) -> dict[str, _Key]:
    found: dict[str, _Key] = {}
    for item in fields(table):
        if declared := item.metadata.get("key"):
            suffix = declared.unit.suffix if declared.unit else ""
            name = item.name.removesuffix(suffix).replace("_", "-")
            found[name] = replace(declared, field=item.name)
    return found


def former_names(table: type) -> dict[str, str]:
    """Map the names that keys had in an earlier version, and that are still read, to today's."""
    names: dict[str, str] = getattr(table, "FORMER_KEYS", {})
    return names


def parse(table: type, name: str, value: object, prefix: str = "") -> dict[str, Any]:
    """Validate one key of a table.

    Args:
        table: the dataclass.
        name: of the key.
        value: as TOML has it.
        prefix: precedes the key's name in messages, such as `server.`.

    Returns:
        The name of the field and its value, as `dataclasses.replace` takes them.

    Raises:
        ValueError: the key is unknown, or its value is wrong.
        UsageError: its value is wrong, and there is a hint.
    """
    keys = _keys(table)
    name = former_names(table).get(name, name)
    if name not in keys:
        raise ValueError(f"unknown key {prefix}{name}{did_you_mean(name, keys)}")
    found = keys[name]
    if found.kind and not _is_of(found.kind, value):
        raise ValueError(f"{prefix}{name} must be {_KINDS[found.kind]}")
    try:
        return {found.field: found.parse(value)}
    except ValueError as error:
        message = f"{prefix}{name} {error}"
        raise UsageError(message, found.hint) if found.hint else ValueError(message) from error


def _is_of(kind: type, value: object) -> bool:
    if kind is ListOrFalse:
        return value is False or type(value) is list
    # `isinstance` would take true for a number.
    return type(value) is kind


def parse_text(table: type, name: str, text: str) -> dict[str, Any]:
    """Validate what a user typed for a key, as `parse` does; an empty text unsets the key.

    Raises:
        ValueError: as `parse`.
        UsageError: as `parse`.
    """
    name = former_names(table).get(name, name)
    found = _keys(table).get(name)
    if found and not text:
        return {found.field: None}
    # What cannot be read stays text, which is then of the wrong kind.
    readers: dict[type, Callable[[str], Any]] = {
        int: _read_number,
        bool: _read_flag,
        list: _read_list,
        ListOrFalse: lambda text: False if text == "false" else _read_list(text),
    }
    reader = readers.get(found.kind) if found and found.kind else None
    return parse(table, name, reader(text) if reader else text)


def _read_number(text: str) -> int | str:
    # int() would read `1_000` and digits of other scripts too, and raises for some thousand digits.
    return int(text) if re.fullmatch(r"-?[0-9]{1,9}", text) else text


def _read_flag(text: str) -> bool | str:
    return {"true": True, "false": False}.get(text, text)


def _read_list(text: str) -> Any:
    if not text.startswith("["):
        return [part.strip() for part in text.split(",")]
    try:
        # As it would be written in the file, quotes and escapes included.
        return tomllib.loads(f"list = {text}")["list"]
    except tomllib.TOMLDecodeError:
        return text


def read(
    table: type, content: Mapping[str, Any], prefix: str = ""
) -> tuple[dict[str, Any], list[str]]:
    """Read a table.

    Args:
        table: the dataclass that declares the keys.
        content: the table, as TOML has it.
        prefix: as of `parse`.

    Returns:
        The names of fields and their values, and everything that is wrong, in the table's order.
    """
    values: dict[str, Any] = {}
    problems: list[str] = []
    for former, name in former_names(table).items():
        if former in content and name in content:
            problems.append(f"{prefix}{former} is the former name of {prefix}{name}: keep only one")
    for name, value in content.items():
        try:
            values |= parse(table, name, value, prefix)
        except InsidersError as error:
            problems.append(error.message)
        except ValueError as error:
            problems.append(str(error))
    return values, problems


def write(item: Any) -> dict[str, Any]:
    """Write a dataclass as a table: each key and its value of TOML; `None`: it is not set."""
    return {
        name: _written(found.unit, getattr(item, found.field))
        for name, found in _keys(item.__class__).items()
    }


def _written(unit: Unit | None, value: Any) -> Any:
    if unit and value is not None:
        return unit.written(value)
    return list(value) if isinstance(value, tuple) else value


def parse_toml(path: Path, text: str) -> dict[str, Any]:
    """Parse TOML.

    Raises:
        InsidersError: it is no TOML; the message says where.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message = str(error).replace("\n", " ")
        raise InsidersError(f"{path} is not valid TOML: {message}", f"edit {path}") from error


def as_toml(value: bool | int | str | list[str]) -> str:
    """Write a value on one line as TOML does, which is as JSON does."""
    # Strings, numbers, flags and lists of them are the same in both; of escapes TOML has all that
    # JSON writes.
    return json.dumps(value, ensure_ascii=False)


def wrong(path: Path, problems: Iterable[str]) -> InsidersError:
    """Return the error that reports everything that is wrong in a file."""
    return InsidersError(f"{path}: {'; '.join(problems)}", f"edit {path}")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a suffix that names the nearest of the known words, or all of them."""
    known = list(known)
    import difflib

    close = difflib.get_close_matches(word.replace("_", "-"), known, n=1)
    return f" (did you mean {close[0]}?)" if close else f" (known: {', '.join(known)})"
