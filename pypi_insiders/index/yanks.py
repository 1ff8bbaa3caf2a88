"""Read and write the list of yanked releases."""

from collections.abc import Mapping
from pathlib import Path

from pypi_insiders.index.release_lists import YANKED, Releases

Yanks = Releases
"""Normalized project to version to the reason, which may be empty."""


def load(directory: Path, copies: Path | None = None) -> Yanks:
    """Read the yanked releases of a distributions directory.

    Args:
        directory: the distributions directory.
        copies: the directory of the state, with a copy of the list.

    Raises:
        InsidersError: the list cannot be read.

    Source: PEP 592.
    """
    return YANKED.load(directory, copies)


def save(
    directory: Path, yanks: Mapping[str, Mapping[str, str]], copies: Path | None = None
) -> None:
    """Write the yanked releases, and their copy in the state.

    Raises:
        InsidersError: the list cannot be written.
    """
    YANKED.save(directory, yanks, copies)
