"""Validate JSON against the fields of a dataclass, and write JSON that passes."""

import json
import types
from functools import cache
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from pypi_insiders.util.plain_text import encodable

_T = TypeVar("_T")

# Seconds of the epoch at the end of the year 9999, the last that `datetime` can represent.
_BEYOND = 253_402_300_800


def shaped(kind: type[_T], content: object) -> _T:
    """Create a dataclass from a JSON object after validating each field.

    Args:
        kind: a dataclass whose fields have JSON types, lists and tables of them, or dataclasses.
        content: as `json.loads` returns it; values may be dataclasses already.

    Raises:
        ValueError: a key is unknown or missing, or a value has the wrong type.
    """
    if not isinstance(content, dict):
        raise ValueError(f"{kind.__name__}: not a table")
    hints = _hints(kind)  # type: ignore[arg-type]  # a class has a hash
    for key, value in content.items():
        if key not in hints:
            raise ValueError(f"{kind.__name__}: unknown key {key!r}")
        if not _fits(value, hints[key]):
            raise ValueError(f"{kind.__name__}: {key} has the wrong type")
    try:
        return kind(**content)
    except TypeError as error:  # of the constructor: a field without a default
        raise ValueError(f"{kind.__name__}: a key is missing") from error


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _fits(value: object, kind: Any) -> bool:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return any(_fits(value, item) for item in arguments)
    if origin is list:
        return isinstance(value, list) and all(_fits(item, arguments[0]) for item in value)
    if origin is dict:
        return isinstance(value, dict) and all(
            _fits(key, arguments[0]) and _fits(item, arguments[1]) for key, item in value.items()
        )
    if kind is int:
        # `true` is an int in Python, and a time outside of the calendar would fail only later,
        # where it is shown.
        return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _BEYOND
    if kind is str:
        return isinstance(value, str) and _is_text(value)
    return isinstance(value, kind)


def _is_text(value: str) -> bool:
    # JSON's \u escapes can spell half a character (a surrogate), which UTF-8 cannot encode.
    return not any("\ud800" <= character <= "\udfff" for character in value)


def written(content: object, indent: int | None = None) -> str:
    """Return JSON text that `shaped` accepts, with `?` for lone surrogates.

    Args:
        content: as for `json.dumps`.
        indent: number of spaces; `None`: one line.
    """
    return json.dumps(_encodable(content), indent=indent) + "\n"


def _encodable(value: object) -> object:
    if isinstance(value, str):
        return encodable(value)
    if isinstance(value, dict):
        return {_encodable(key): _encodable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_encodable(item) for item in value]
    return value
