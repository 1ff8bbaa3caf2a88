"""Validate JSON against the fields of a class, and write JSON that passes."""

import json
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from pypi_insiders.util.plain_text import encodable

_T = TypeVar("_T")

# Seconds of the epoch at the end of the year 9999, the last that `datetime` can represent.
_BEYOND = 253_402_300_800


def shaped(kind: type[_T], content: object) -> _T:
    """Create a named tuple or dataclass from a JSON object after validating each field.

    Args:
        kind: its fields have JSON types, lists (or `Sequence`) and tables (or `Mapping`) of them,
            or such classes; or any of these and `None`.
        content: as `json.loads` returns it; values may be of such classes already.

    Raises:
        ValueError: a key is unknown or missing, or a value has the wrong type.
    """
    if not isinstance(content, dict):
        raise ValueError(f"{kind.__name__}: not a table")
    checks = _checks(kind)  # type: ignore[arg-type]  # a class has a hash
    for key, value in content.items():
        if key not in checks:
            raise ValueError(f"{kind.__name__}: unknown key {key!r}")
        if not checks[key](value):
            raise ValueError(f"{kind.__name__}: {key} has the wrong type")
    try:
        return kind(**content)
    except TypeError as error:  # of the constructor: a field without a default
        raise ValueError(f"{kind.__name__}: a key is missing") from error


# Made once for each class: `status` reads some ten thousand of its objects.
@cache
def _checks(kind: type) -> dict[str, Callable[[Any], bool]]:
    return {name: _check(hint) for name, hint in get_type_hints(kind).items()}


def _check(kind: Any) -> Callable[[Any], bool]:
    """Return the function that tells whether a value has a type."""
    origin, arguments = get_origin(kind), get_args(kind)
    origin = {Sequence: list, Mapping: dict}.get(origin, origin)
    if origin in (Union, types.UnionType):
        (is_fit,) = (_check(item) for item in arguments if item is not type(None))
        return lambda value: value is None or is_fit(value)
    # Most values of many are lists and tables of texts, or empty ones.
    if origin is list and arguments == (str,):
        return lambda value: isinstance(value, list) and (not value or _are_texts(value))
    if origin is dict and arguments == (str, str):
        return lambda value: (
            isinstance(value, dict) and (not value or _are_texts((*value, *value.values())))
        )
    if origin is list:
        is_item = _check(arguments[0])
        return lambda value: isinstance(value, list) and all(map(is_item, value))
    if origin is dict:
        is_key, is_value = map(_check, arguments)
        return lambda value: (
            isinstance(value, dict)
            and all(map(is_key, value))
            and all(map(is_value, value.values()))
        )
    return _check_plain(kind)


def _check_plain(kind: type) -> Callable[[Any], bool]:
    if kind is int:
        # `true` is an int in Python, and a time outside of the calendar would fail only later,
        # where it is shown.
        return lambda value: type(value) is int and 0 <= value < _BEYOND
    if kind is str:
        return lambda value: isinstance(value, str) and (value.isascii() or _is_text(value))
    return lambda value: isinstance(value, kind)


def _is_text(value: str) -> bool:
    # JSON's \u escapes can spell half a character (a surrogate), which UTF-8 cannot encode.
    return value.isascii() or not any("\ud800" <= character <= "\udfff" for character in value)


def _are_texts(values: Iterable[object]) -> bool:
    try:
        return _is_text("".join(values))  # type: ignore[arg-type]  # it raises for others
    except TypeError:
        return False


def written(content: object, indent: int | None = None) -> str:
    """Return JSON text that `shaped` accepts, with `?` for lone surrogates.

    Args:
        content: as for `json.dumps`.
        indent: number of spaces; `None`: one line.
    """
    text = json.dumps(content, indent=indent)
    # Surrogates only, alone or in pairs: most content has none, and to look at each value takes
    # longer than to write it.
    if "\\ud" in text:
        text = json.dumps(_encodable(content), indent=indent)
    return f"{text}\n"


def _encodable(value: object) -> object:
    if isinstance(value, str):
        return encodable(value)
    if isinstance(value, dict):
        return {_encodable(key): _encodable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_encodable(item) for item in value]
    return value
