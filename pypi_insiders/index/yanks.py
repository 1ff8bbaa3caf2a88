"""Keep the list of yanked releases, beside the distributions."""

from collections.abc import Mapping
from pathlib import Path

from pypi_insiders.index.release_lists import YANKED, Releases

Yanks = Releases
"""Normalized project to version to the reason; an empty reason is none."""


def load(directory: Path, copies: Path | None = None) -> Yanks:
    """Read which releases of a distributions directory are yanked.

    Args:
        directory: the distributions directory.
        copies: the directory of the state, which has a copy of the list.

    Raises:
        InsidersError: the list cannot be read.

    Source: PEP 592.
    """
    return YANKED.load(directory, copies)


def save(
    directory: Path, yanks: Mapping[str, Mapping[str, str]], copies: Path | None = None
) -> None:
    """Write which releases are yanked, and a copy into the state.

    Raises:
        InsidersError: the list cannot be written.
    """
    YANKED.save(directory, yanks, copies)
