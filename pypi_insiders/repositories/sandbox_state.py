"""Remember whether builds are sandboxed."""

import json
import os
from pathlib import Path
from typing import NamedTuple

from pypi_insiders.util.files import write_atomic
from pypi_insiders.util.json_fields import shaped, written
from pypi_insiders.util.own_files import recall

_SANDBOX = "sandbox.json"


class Sandboxing(NamedTuple):
    """Whether builds are sandboxed."""

    had_at: int | None = None
    """When a sandbox was last available, in seconds of the epoch; `None`: never."""
    trouble: str | None = None
    """Why no sandbox was available in the last update; `None`: one was."""


def load(directory: Path) -> Sandboxing:
    """Read whether builds are sandboxed; a damaged file counts as sandboxed.

    Raises:
        InsidersError: the file cannot be read.
    """
    path = directory / _SANDBOX
    # Before `recall`, which renames a damaged file.
    is_there = os.path.lexists(path)
    found = recall(path, lambda text: shaped(Sandboxing, json.loads(text)))
    # Fail closed: with a damaged file, a sandbox counts as available before, and is then required.
    return found or Sandboxing(had_at=0 if is_there else None)


def save(directory: Path, sandboxing: Sandboxing) -> None:
    """Write whether builds are sandboxed.

    Raises:
        InsidersError: the file cannot be written; the old one stays.
    """
    write_atomic(directory / _SANDBOX, written(sandboxing._asdict()))
