"""overview: all projects, while files are read."""

from pathlib import Path

import pytest
from wheels import sdist

from pypi_insiders.index.catalog import Catalog
from pypi_insiders.index.metadata_cache import MetadataCache
from pypi_insiders.index.overview import IndexOverview, overview


def test_an_overview_does_not_wait_for_many_unread_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It counts them; a page waits for its own files, and nothing is missing from the list."""
    directory = tmp_path / "dists"
    catalog = Catalog(directory, MetadataCache(tmp_path / "cache.sqlite", directory))
    monkeypatch.setattr("pypi_insiders.index.overview._FEW", 2)
    for name in ("one", "two", "three", "four"):
        sdist(directory, name, "1.0")
    assert overview(catalog) == IndexOverview((), ("four", "one", "three", "two"), 4)
    assert catalog.project("two")
    read, unread, files = overview(catalog)
    assert ([project.name for project in read], unread, files) == (
        ["two"], ("four", "one", "three"), 3
    )  # fmt: skip
    assert catalog.summary() == "4 projects, 4 files (3 still to be read)"
    assert catalog.projects() == ("four", "one", "three", "two")
    assert catalog.project("one")
    # The last few are examined at once.
    assert [project.name for project in overview(catalog).projects] == [*catalog.projects()]
    assert catalog.summary() == "4 projects, 4 files"
