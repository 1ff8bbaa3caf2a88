"""The feeds of an export."""

import contextlib
from collections.abc import Collection
from pathlib import Path

from pypi_insiders.server.web import feed
from pypi_insiders.util.files import remove


def sweep(
    directory: Path, exported: Collection[str], kept: Collection[str], temporary: str
) -> None:
    """Remove the feeds of gone projects, and temporary files; leave what others put beside them.

    Args:
        directory: of the export.
        exported: projects that it has had until now.
        kept: projects that it has from now on.
        temporary: the pattern of temporary files.
    """
    # Former versions wrote no feeds, so users may have files of their own in these directories:
    # only those of exported projects are ours.
    for name in ("-", *(f"project/{name}" for name in exported)):
        place = directory / name
        if place.is_symlink() or not place.is_dir():
            continue
        for left in place.glob(temporary):
            remove(left)
        if place.name not in {"-", *kept} and not (place / feed.NAME).is_dir():
            remove(place / feed.NAME)
            with contextlib.suppress(OSError):  # it has other files
                place.rmdir()
