"""json_fields: nothing of another type gets into the state."""

import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pytest

from pypi_insiders.util.json_fields import shaped, written


class Item(NamedTuple):
    """A value of each kind."""

    name: str
    number: int = 0
    is_so: bool | None = None
    note: str | None = None
    names: Sequence[str] = []
    table: Mapping[str, str] = {}
    items: Sequence[Mapping[str, int]] = []


def test_what_is_written_is_read() -> None:
    """With text of any language."""
    whole = Item("ä", 1, True, "", ["", "ö"], {"ü": "ß", "": ""}, [{}, {"a": 1}])
    for item in (Item("a"), whole):
        assert shaped(Item, json.loads(written(item._asdict()))) == item


@pytest.mark.parametrize(
    "text",
    [
        "[]", "{}", '{"name": null}', '{"name": 1}', '{"name": "a", "other": 1}',
        '{"name": "\\ud800"}', '{"name": "ä\\udfff"}', '{"name": "a", "number": true}',
        '{"name": "a", "number": -1}', '{"name": "a", "number": 253402300800}',
        '{"name": "a", "number": 1.0}', '{"name": "a", "number": null}',
        '{"name": "a", "is_so": 1}', '{"name": "a", "is_so": "true"}', '{"name": "a", "note": 1}',
        '{"name": "a", "note": []}', '{"name": "a", "names": "b"}', '{"name": "a", "names": {}}',
        '{"name": "a", "names": null}', '{"name": "a", "names": ["b", 1]}',
        '{"name": "a", "names": ["b", null]}', '{"name": "a", "names": ["ä", "\\ud800"]}',
        '{"name": "a", "table": []}', '{"name": "a", "table": {"b": 1}}',
        '{"name": "a", "table": {"b": ["c"]}}', '{"name": "a", "table": {"\\ud800": "c"}}',
        '{"name": "a", "table": {"b": "\\ud800"}}', '{"name": "a", "items": [[]]}',
        '{"name": "a", "items": [{"b": true}]}', '{"name": "a", "items": {}}',
    ],
)  # fmt: skip
def test_nothing_else_is(text: str) -> None:
    """Neither of another type, nor text that cannot be written, nor an unknown key."""
    with pytest.raises(ValueError, match=r"^Item: "):
        shaped(Item, json.loads(text))
