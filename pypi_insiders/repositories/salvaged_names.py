"""Read the project names in an invalid `repos.toml`."""

import contextlib
import re
from pathlib import Path

from packaging.utils import InvalidName, canonicalize_name

from pypi_insiders.util.files import read_bytes

# Names are read even from a list that is not valid TOML: holding one too many is the safe mistake.
_TABLE = r"""^\s*\[\s*["']?([^"'\]]+)"""
_PROJECT = r"""\b(?:project|distribution)["']?\s*[=:]\s*["']*([A-Za-z0-9._-]+)"""


def read(path: Path) -> tuple[dict[str, str | None], set[str]]:
    """Return the projects in an invalid `repos.toml`, to their repositories, and its tables."""
    found: dict[str, str | None] = {}
    tables, repository = set[str](), None
    with contextlib.suppress(OSError):
        for line in read_bytes(path).decode(errors="replace").splitlines():
            if table := re.match(_TABLE, line):
                repository = table[1]
                tables.add(table[1].removesuffix(".git"))
            # Matched line by line; a name in a comment is held too.
            for match in re.finditer(_PROJECT, line):
                with contextlib.suppress(InvalidName):
                    found[canonicalize_name(match[1], validate=True)] = repository
    return found, tables
