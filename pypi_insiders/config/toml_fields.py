"""Map TOML tables to named tuples whose fields declare the keys."""

import functools
import json
import re
import shlex
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pypi_insiders.util import toml
from pypi_insiders.util.errors import InsidersError, UsageError


class ListOrFalse:
    """A list, or `false` for nothing at all, which an empty list does not say clearly enough."""


class CommandLine:
    """A list of words, which the command line takes as a shell does."""


_KINDS = {
    str: "a string",
    int: "a number",
    bool: "true or false",
    list: "a list",
    ListOrFalse: "a list or false",
    CommandLine: "a list",
}


class Unit(NamedTuple):
    """The units of a number that is a text in TOML, such as `10min`."""

    suffix: str
    """Suffix of the field's name, which the key lacks."""
    sizes: tuple[tuple[int, str], ...]
    """Largest first; at least one divides every valid number."""

    def written(self, number: int) -> str | int:
        """Return the text of a number in its largest unit, or 0."""
        if not number:
            return 0
        return next(f"{number // size}{name}" for size, name in self.sizes if number % size == 0)


SECONDS = Unit("_s", ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")))
# KB after KiB: a size such as 500MB is a multiple of 1000 only.
BYTES = Unit(
    "_bytes",
    ((1024**4, "TiB"), (1024**3, "GiB"), (1024**2, "MiB"), (1024, "KiB"), (1000, "KB")),
)


class _Key(NamedTuple):
    """The declaration of a key."""

    parse: Callable[[Any], Any]
    kind: type | None
    unit: Unit | None
    hint: str | None
    former: str | None
    field: str = ""


def key(
    parse: Callable[[Any], Any] = lambda value: value,
    *,
    kind: type | None = None,
    unit: Unit | None = None,
    hint: str | None = None,
    former: str | None = None,
) -> Any:
    """Declare, in the `Annotated` of a field, that it is a key; its name has `-` for `_`.

    Args:
        parse: validates a TOML value and returns the field's value. Raises ValueError with a
            message that continues the key's name (`must be ...`), or UsageError with a complete
            one.
        kind: the TOML type; `None`: any, or `parse` reports a wrong type.
        unit: of a number that is a text in TOML.
        hint: hint for a ValueError of `parse`.
        former: its name in an earlier version, which is still read, and written by the new name
            when the table changes; doctor warns of it.
    """
    return _Key(parse, kind, unit, hint, former)


# Cached per class: `repos list` reads the keys of every repository.
@functools.cache
def _keys(table: type) -> dict[str, _Key]:
    found: dict[str, _Key] = {}
    for field, hint in table.__annotations__.items():
        for declared in getattr(hint, "__metadata__", ()):
            suffix = declared.unit.suffix if declared.unit else ""
            name = field.removesuffix(suffix).replace("_", "-")
            found[name] = declared._replace(field=field)
    return found


def former_names(table: type) -> dict[str, str]:
    """Map the names that keys had in an earlier version, and that are still read, to today's."""
    return {found.former: name for name, found in _keys(table).items() if found.former}


def parse(table: type, name: str, value: object, prefix: str = "") -> dict[str, Any]:
    """Validate one key of a table.

    Args:
        table: the named tuple.
        name: the key.
        value: its TOML value.
        prefix: prefix of the key in messages, such as `server.`.

    Returns:
        The field and its value, as arguments of `_replace`.

    Raises:
        ValueError: the key is unknown, or its value is invalid.
        UsageError: its value is invalid, with a hint.
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
    if kind is CommandLine:
        return type(value) is list
    # `isinstance` would take true for a number.
    return type(value) is kind


def parse_text(table: type, name: str, text: str) -> dict[str, Any]:
    """Validate a value from the command line, as `parse` does; an empty text unsets the key.

    Raises:
        ValueError: as `parse`.
        UsageError: as `parse`.
    """
    name = former_names(table).get(name, name)
    found = _keys(table).get(name)
    if found and not text:
        return {found.field: None}
    # An invalid text stays a text, of which `parse` then reports the wrong type.
    readers: dict[type, Callable[[str], Any]] = {
        int: _read_number,
        bool: _read_flag,
        list: _read_list,
        ListOrFalse: _read_list_or_flag,
        CommandLine: _read_command,
    }
    reader = readers.get(found.kind) if found and found.kind else None
    return parse(table, name, reader(text) if reader else text)


def _read_number(text: str) -> int | str:
    # int() also accepts `1_000` and digits of other scripts, and raises beyond 4300 digits.
    return int(text) if re.fullmatch(r"-?[0-9]{1,9}", text) else text


def _read_flag(text: str) -> bool | str:
    return {"true": True, "false": False}.get(text, text)


def _read_list_or_flag(text: str) -> Any:
    # `true` too, which is then refused: as a list it would be a place of that name.
    return _read_flag(text) if text in ("false", "true") else _read_list(text)


def _read_command(text: str) -> Any:
    if text.startswith("["):
        return _read_list(text)
    try:
        return shlex.split(text)
    except ValueError:  # a quote is not closed
        return text


def _read_list(text: str) -> Any:
    # A value with a comma in it needs the syntax of the file.
    if not text.startswith("["):
        return [part.strip() for part in text.split(",")]
    try:
        # The syntax of the file, including quotes and escapes.
        return tomllib.loads(f"list = {text}")["list"]
    except tomllib.TOMLDecodeError:
        return text


def read(
    table: type, content: Mapping[str, Any], prefix: str = ""
) -> tuple[dict[str, Any], list[str]]:
    """Validate a table.

    Args:
        table: the named tuple that declares the keys.
        content: the TOML table.
        prefix: as in `parse`.

    Returns:
        The fields and their values, and all problems in the order of the table.
    """
    values: dict[str, Any] = {}
    problems: list[str] = []
    for former, name in former_names(table).items():
        # Both at once would be read in the order of the file, so that one is lost without a word.
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
    """Return a named tuple as a TOML table; unset keys are `None`."""
    return {
        name: _written(found.unit, getattr(item, found.field))
        for name, found in _keys(item.__class__).items()
    }


def _written(unit: Unit | None, value: Any) -> Any:
    if unit and value is not None:
        return unit.written(value)
    if isinstance(value, Mapping):
        return {name: _written(None, item) for name, item in value.items()}
    return list(value) if isinstance(value, tuple) else value


def parse_toml(path: Path, text: str) -> dict[str, Any]:
    """Parse TOML.

    Raises:
        InsidersError: it is not valid TOML; the message names the line.
    """
    try:
        return toml.parse(text)
    except ValueError as error:
        message = str(error).replace("\n", " ")
        raise InsidersError(f"{path} is not valid TOML: {message}", f"edit {path}") from error


def as_toml(value: bool | int | str | list[str] | dict[str, list[str]]) -> str:
    """Return a value as TOML on one line."""
    if isinstance(value, dict):
        return (
            "{" + ", ".join(f"{as_toml(name)} = {as_toml(it)}" for name, it in value.items()) + "}"
        )
    # JSON is TOML here: strings, numbers, booleans and lists of them are written alike, and TOML
    # has all escapes of JSON. The standard library cannot write TOML.
    return json.dumps(value, ensure_ascii=False)


def wrong(path: Path, problems: Iterable[str]) -> InsidersError:
    """Return the error that reports all problems of a file."""
    return InsidersError(f"{path}: {'; '.join(problems)}", f"edit {path}")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a suffix for messages with the most similar known word, or with all."""
    known = list(known)
    # Here, as it is needed for wrong words only, and slows the start of every command.
    import difflib

    # An underscore in place of a hyphen is the most likely mistake in a key.
    close = difflib.get_close_matches(word.replace("_", "-"), known, n=1)
    return f" (did you mean {close[0]}?)" if close else f" (known: {', '.join(known)})"
