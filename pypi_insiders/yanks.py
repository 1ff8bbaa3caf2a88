"""Keep the list of yanked releases, beside the distributions."""

import json
from collections.abc import Mapping
from pathlib import Path

from pypi_insiders.errors import InsidersError
from pypi_insiders.files import read_text, remove, write_atomic

# The index does not show what starts with a dot, and notices each change of the directory.
_NAME = ".yanked.json"

Yanks = dict[str, dict[str, str]]
"""Normalized project to version to the reason; an empty reason is none."""


def load(directory: Path) -> Yanks:
    """Read which releases of a distributions directory are yanked.

    Raises:
        InsidersError: the list cannot be read or understood.

    Source: PEP 592.
    """
    path = directory / _NAME
    text = read_text(path)
    if text is None:
        return {}
    try:
        content = json.loads(text)
        if not isinstance(content, dict):
            raise TypeError("it is no table")
        for releases in content.values():
            if not isinstance(releases, dict):
                raise TypeError("what it has of a project is no table")
            if not all(isinstance(reason, str) for reason in releases.values()):
                raise TypeError("a reason is no text")
    except (ValueError, TypeError, RecursionError) as error:
        raise InsidersError(
            f"cannot understand {path}: {error}", "mend it, or remove it"
        ) from error
    return content


def save(directory: Path, yanks: Mapping[str, Mapping[str, str]]) -> None:
    """Write which releases are yanked.

    Raises:
        InsidersError: the list cannot be written; it is as it was.
    """
    content = {project: releases for project, releases in sorted(yanks.items()) if releases}
    if content:
        write_atomic(directory / _NAME, json.dumps(content, indent=1) + "\n")
    else:
        remove(directory / _NAME)
