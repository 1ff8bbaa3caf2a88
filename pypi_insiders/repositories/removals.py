"""Read and write which repositories were removed on purpose."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from pypi_insiders.util.files import write_atomic
from pypi_insiders.util.json_fields import shaped, written
from pypi_insiders.util.own_files import recall_or

# Without it, a repository that a user removed looks like one that `repos.toml` has lost.
_REMOVED = "removed.json"


class _Removed(NamedTuple):
    removed: list[str]


def load(directory: Path) -> set[str]:
    """Read the repositories that were removed with `repos remove`, in lower case."""
    return recall_or(
        set(),
        directory / _REMOVED,
        lambda text: set(shaped(_Removed, json.loads(text)).removed),
    )


def save(directory: Path, names: Iterable[str]) -> None:
    """Write the repositories that were removed with `repos remove`.

    Raises:
        InsidersError: the file cannot be written; the old one stays.
    """
    write_atomic(directory / _REMOVED, written(_Removed(sorted(names))._asdict()))
