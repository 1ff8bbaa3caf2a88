"""Name the directories in which users have what is theirs."""

from collections.abc import Iterable
from pathlib import Path

HOMES = (Path("/home"), Path("/root"), Path("/run"))
"""What `ProtectHome=` and the units hide. Source: systemd.exec(5)."""
TEMPORARY = (Path("/tmp"), Path("/var/tmp"))  # noqa: S108
"""Of which each unit gets its own."""


def is_below(path: Path, directories: Iterable[Path]) -> bool:
    """Return whether a path is one of some directories, or lies in one."""
    return any(path.is_relative_to(directory) for directory in directories)
