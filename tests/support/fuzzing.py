# ruff: noqa: RUF001 - characters that look like others are what is sent
"""Damage what is valid, by hypothesis, as often as is wanted."""

import json
import os
import random
from collections.abc import Callable
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

_EXAMPLES = os.environ.get("FUZZ_EXAMPLES")


def fuzzed(percent: int, *, usual: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return the settings of a test.

    Args:
        percent: its share in `FUZZ_EXAMPLES`, which are all of `make fuzz`.
        usual: how many examples it tries otherwise.
    """
    # What hypothesis advises for CI: the same examples each time, and no clock that decides.
    return settings(
        max_examples=int(_EXAMPLES) * percent // 100 if _EXAMPLES else usual,
        derandomize=_EXAMPLES is None,
        deadline=None,
        print_blob=True,
    )


FRAGMENTS = st.sampled_from(
    [b"", b"\0", b"\n", b"\r", b"\r\n", b"\r\n\r\n", b" ", b"\t", b"%", b"%00", b"%2e", b"%2f",
     b"%5c", b"..",
     b"../", b"/", b"//", b"\\", b"?", b"#", b";", b":", b"@", b",", b"=", b"*", b"-", b'"', b"'",
     b"<", b"&",
     b"\x7f", b"\x80", b"\xff", b"\xc0\xae", b"\xed\xa0\x80", "é".encode(), "ſ".encode(), b"0",
     b"9" * 20,
     b"9" * 5000, b"a" * 300, b"/" * 1000, b"," * 5000, b" " * 5000, b'"' * 5000]
) | st.binary(max_size=8)  # fmt: skip


@st.composite
def damaged(draw: Callable[..., Any], sound: st.SearchStrategy[bytes]) -> bytes:
    """Cut, replace, repeat and insert here and there; half of the time not at all."""
    found: bytes = draw(sound)
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 1, 2, 4]))):
        begin, end = sorted(draw(st.tuples(*2 * [st.integers(0, len(found))])))
        kind = draw(st.sampled_from(["insert", "replace", "cut", "repeat", "quote", "case"]))
        middle = found[begin:end][:2000]
        if kind == "insert":
            end, middle = begin, draw(FRAGMENTS)
        elif kind == "replace":
            middle = draw(FRAGMENTS)
        elif kind == "cut":
            middle = b""
        elif kind == "repeat":
            middle *= draw(st.sampled_from([2, 3, 20]))
        elif kind == "quote":
            middle = b"".join(b"%%%02x" % byte for byte in middle)
        else:
            middle = middle.swapcase()
        found = found[:begin] + middle + found[end:]
    return found[:60_000]


_LEAVES: list[Any] = [
    None, True, False, 0, 1, -1, 2**31, 2**63, 10**30, 1e308, float("inf"), float("nan"), "", "x",
    "0", "..", "/etc/passwd", "\0", "\ud800", "\u202e", "é", "x" * 3000, "\n\x1b[2J", [], {},
    [None], [[]], {"": None}, "2026-11-01T10:00:00Z", "99999-99-99", "1.0", "1!1.0", "no version",
]  # fmt: skip


def _bent(value: Any, chance: random.Random) -> Any:
    """Replace one value in a document, its key, or leave one out."""
    if not isinstance(value, dict | list) or not value or chance.random() < 0.2:
        return chance.choice(_LEAVES)
    if isinstance(value, list):
        at = chance.randrange(len(value))
        new = [] if chance.random() < 0.2 else [_bent(value[at], chance)]
        return [*value[:at], *new, *value[at + 1 :]]
    key = chance.choice(list(value))
    rest = {name: it for name, it in value.items() if name != key}
    kind = chance.random()
    if kind < 0.15:
        return rest
    if kind < 0.3:
        return {**rest, str(chance.choice(_LEAVES))[:300]: value[key]}
    return {**value, key: _bent(value[key], chance)}


def bent(text: str, seeds: list[int]) -> str:
    """Change values of a JSON document, one for each seed."""
    document = json.loads(text)
    for seed in seeds:
        document = _bent(document, random.Random(seed))
    return json.dumps(document)


SEEDS = st.lists(st.integers(0, 2**32), min_size=1, max_size=3)


@st.composite
def damaged_json(draw: Callable[..., Any], text: str) -> bytes:
    """Change values of a document, or bytes of its text."""
    if draw(st.booleans()):
        found: bytes = draw(damaged(st.just(text.encode())))
        return found
    return bent(text, draw(SEEDS)).encode()
