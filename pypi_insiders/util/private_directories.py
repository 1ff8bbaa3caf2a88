"""Directories of users' private files."""

from collections.abc import Iterable
from pathlib import Path

HOMES = (Path("/home"), Path("/root"), Path("/run"))
"""Hidden by `ProtectHome=` and by the units. Source: systemd.exec(5)."""
TEMPORARY = (Path("/tmp"), Path("/var/tmp"))  # noqa: S108
"""Private to each unit with `PrivateTmp=`."""


def is_below(path: Path, directories: Iterable[Path]) -> bool:
    """Return whether a path is one of some directories, or below one."""
    return any(path.is_relative_to(directory) for directory in directories)
