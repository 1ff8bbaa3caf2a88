"""Check what was read from JSON against the fields of a dataclass, and write what passes that."""

import json
import types
from functools import cache
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from pypi_insiders.util.plain_text import encodable

_T = TypeVar("_T")

# Times are seconds of the epoch; later ones than the year 9999 no calendar can tell.
_BEYOND = 253_402_300_800


def shaped(kind: type[_T], content: object) -> _T:
    """Make a dataclass of a table, if each value is what its field says.

    Args:
        kind: a dataclass whose fields are of types that JSON has, in lists and tables too.
        content: as `json.loads` returns it; or with values that are dataclasses already.

    Raises:
        ValueError: it is no such table; the message says why.
    """
    if not isinstance(content, dict):
        raise ValueError(f"{kind.__name__}: it is no table")
    hints = _hints(kind)  # type: ignore[arg-type]  # a class has a hash
    for key, value in content.items():
        if key not in hints:
            raise ValueError(f"{kind.__name__}: unknown key {key!r}")
        if not _fits(value, hints[key]):
            raise ValueError(f"{kind.__name__}: {key} has another type")
    try:
        return kind(**content)
    except TypeError as error:
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
        return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _BEYOND
    if kind is str:
        return isinstance(value, str) and _is_text(value)
    return isinstance(value, kind)


def _is_text(value: str) -> bool:
    """Tell whether it can be written as UTF-8: JSON can name halves of characters."""
    return not any("\ud800" <= character <= "\udfff" for character in value)


def written(content: object, indent: int | None = None) -> str:
    """Write what JSON has, so that `shaped` takes it back: with `?` for what UTF-8 does not have.

    Args:
        content: as for `json.dumps`.
        indent: by how many spaces; `None`: all in one line.
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
