"""Check the free space where files are written."""

import os
from collections.abc import Iterator
from pathlib import Path

from pypi_insiders.config.paths import Paths
from pypi_insiders.doctor.finding import Finding, ok, problem, together, warning
from pypi_insiders.util.formatting import size

_PROBLEM_BYTES = 100 * 1024**2
_WARNING_BYTES = 1024**3
_PROBLEM_FILES = 1000  # a source tree has as many


def look(paths: Paths) -> Iterator[Finding]:
    """Check each file system that has the distributions, the state or the cache."""
    # By device: they mostly share one, and three lines of the same number would look like three.
    shared: dict[int, tuple[Path, list[str]]] = {}
    for what, wanted in (
        ("distributions", paths.distributions),
        ("state", paths.state),
        ("cache", paths.cache),
    ):
        place = next(path for path in (wanted, *wanted.parents) if os.path.exists(path))  # noqa: PTH110 - Path raises where we may not look
        # Only the directories that exist have permissions; the others are made below them.
        if not os.access(place, os.W_OK | os.X_OK):
            yield problem(
                "disk",
                f"cannot write the {what} in {place}",
                f"check its permissions: `ls -ld {place}`",
            )
            continue
        shared.setdefault(place.stat().st_dev, (place, []))[1].append(what)
    for place, kinds in shared.values():
        yield _room(place, together(kinds))


def _room(place: Path, what: str) -> Finding:
    """Return the finding about one file system. Source: statvfs(3)."""
    has = os.statvfs(place)
    # What an ordinary user may still write: root has a reserve beyond it.
    free_bytes = has.f_bavail * has.f_frsize
    left = f"{size(free_bytes)} free for {what}"
    hint = f"free up space: `df -h {place}`; the cache can be deleted"
    if free_bytes < _PROBLEM_BYTES:
        return problem("disk", left, hint)
    # Some file systems, such as btrfs, count no inodes, and report that they have none.
    if has.f_files and has.f_favail < _PROBLEM_FILES:
        message = f"only {has.f_favail} inodes free for {what}"
        return problem("disk", message, f"remove files: `df -i {place}`")
    if free_bytes < _WARNING_BYTES:
        return warning("disk", left, hint)
    return ok("disk", left)
