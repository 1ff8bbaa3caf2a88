"""Parse TOML, also that of others, in a time that grows with its length."""

import re
import tomllib
from typing import Any

MOST_PARTS = 64
"""The most parts that a key may have."""

_PART = r"""(?:[\w-]++|"(?:[^"\\\n]|\\.)*+"|'[^'\n]*+')"""
_LONG_KEY = re.compile(rf"(?:\.[ \t]*+{_PART}[ \t]*+){{{MOST_PARTS}}}")


def parse(text: str) -> dict[str, Any]:
    """Parse TOML.

    Raises:
        ValueError: it is not valid, a key has more than `MOST_PARTS` parts, or it is nested too
            deep.
    """
    # For a key of 20,000 parts, tomllib takes seconds: quadratic time.
    if match := _LONG_KEY.search(text):
        line = text.count("\n", 0, match.start()) + 1
        raise ValueError(f"a key has more than {MOST_PARTS} parts (at line {line})")
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
