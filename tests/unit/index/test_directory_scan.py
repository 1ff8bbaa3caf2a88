"""directory_scan: the snapshot follows what is found out of files, and what becomes of them."""

import os
import time
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest
from examining import keeping_up
from wheels import sdist

from pypi_insiders.index import directory_scan, listing
from pypi_insiders.index.catalog import Catalog
from pypi_insiders.index.directory_scan import DirectoryScan
from pypi_insiders.index.metadata_cache import MetadataCache
from pypi_insiders.index.scanner import FileScanner

LONG_AGO_NS = 10**18


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    path = tmp_path / "dists"
    path.mkdir()
    return path


@pytest.fixture
def cache(tmp_path: Path, directory: Path) -> MetadataCache:
    return MetadataCache(tmp_path / "cache.sqlite", directory)


@pytest.fixture
def catalog(directory: Path, cache: MetadataCache) -> Catalog:
    return Catalog(directory, cache)


def old(path: Path) -> Path:
    """Make a file look as if it had been there for long."""
    os.utime(path, ns=(LONG_AGO_NS, LONG_AGO_NS))
    return path


def test_the_lists_leave_out_what_turns_out_to_be_broken(directory: Path, catalog: Catalog) -> None:
    """They were made before anybody looked into the file."""
    broken = directory / "my_dist-1.0.tar.gz"
    broken.write_text("no archive")
    old(broken)
    assert (catalog.projects(), catalog.summary()) == (
        ("my-dist",),
        "1 project, 1 file (1 still to be read)",
    )
    found = catalog.project("my-dist")
    assert found is not None
    assert found.files == ()
    assert (catalog.projects(), catalog.summary()) == ((), "0 projects, 0 files")


def test_a_page_does_not_show_what_was_spoilt_in_its_place(
    directory: Path, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of which the directory does not tell; looked at once in so many seconds."""
    path = old(sdist(directory, "my-dist", "1.0"))
    found = catalog.project("my-dist")
    assert found is not None
    assert [entry.name for entry in found.files] == [path.name]
    path.write_text("no archive")
    old(path)
    monkeypatch.setattr("pypi_insiders.index.catalog._CHECKED_FOR_S", 0)
    found = catalog.project("my-dist")
    assert found is not None
    assert found.files == ()


@pytest.mark.parametrize("is_guarded", [True, False])
def test_a_hash_outlives_its_file_where_it_is_guarded(
    tmp_path: Path, directory: Path, cache: MetadataCache, is_guarded: bool
) -> None:
    """Long after it is gone, another file of its name is not it."""
    path = sdist(directory, "my-dist", "1.0")
    scanner = FileScanner(directory, cache, dict, is_guarded=is_guarded)
    entry = scanner.examine(path.name)
    assert entry is not None
    cache.put(entry._replace(published_us=1), b"")
    path.unlink()
    scan = DirectoryScan(directory, cache, scanner, tmp_path if is_guarded else None, None)
    scan.refresh()
    scan.forget_gone()
    assert (cache.entry(path.name) is not None) == is_guarded


@pytest.fixture
def one_tick(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the clock of the file system stand still: no time tells of a second change."""
    now_ns, stat = time.time_ns(), os.stat

    def stat_of_one_tick(path: Path, **options: bool) -> os.stat_result:
        found = stat(path, **options)
        if os.fspath(path) != str(directory):
            return found
        return os.stat_result(tuple(found), {"st_ctime_ns": now_ns})

    monkeypatch.setattr(os, "stat", stat_of_one_tick)
    monkeypatch.setattr(time, "time_ns", lambda: now_ns + 5_000_000)


@pytest.mark.usefixtures("one_tick")
def test_changes_of_the_same_time_are_seen(
    tmp_path: Path, directory: Path, catalog: Catalog
) -> None:
    """As where the clock of the file system stands still between them; before Linux 6.13 all do."""
    files = [old(sdist(tmp_path, f"p{number}", "1.0")) for number in range(3)]
    for number, file in enumerate(files):
        file.rename(directory / file.name)
        assert len(catalog.projects()) == number + 1


@pytest.mark.usefixtures("one_tick")
def test_who_is_patient_does_not_list_again_what_was_listed_just_now(
    directory: Path, cache: MetadataCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of many files that takes as long as the request that has listed them; a request does."""
    listed, compare = [], listing.compare

    def counted(*given: Any) -> listing.Changes:
        listed.append(given)
        return compare(*given)

    monkeypatch.setattr(listing, "compare", counted)
    scan = DirectoryScan(directory, cache, FileScanner(directory, cache, dict), None, None)
    old(sdist(directory, "my-dist", "1.0"))
    assert list(scan.refresh().groups) == ["my-dist"]
    old(sdist(directory, "other", "1.0"))
    assert list(scan.refresh(is_patient=True).groups) == ["my-dist"]
    assert len(listed) == 1
    assert sorted(scan.refresh().groups) == ["my-dist", "other"]


@pytest.mark.usefixtures("one_tick")
def test_what_comes_just_after_a_listing_is_examined_before_anybody_asks(
    tmp_path: Path, directory: Path, cache: MetadataCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though no time tells of it: the directory is listed again a while later."""
    monkeypatch.setattr(directory_scan, "_LIST_AGAIN_AFTER_S", 0.01)
    examined = SimpleQueue[str]()
    monkeypatch.setattr(cache, "put", lambda entry, _metadata: examined.put(entry.name))
    files = [old(sdist(tmp_path, f"p{number}", "1.0")) for number in range(2)]
    files[0].rename(directory / files[0].name)
    catalog = Catalog(directory, cache)
    with keeping_up(catalog):
        assert examined.get(timeout=60) == files[0].name
        files[1].rename(directory / files[1].name)
        assert examined.get(timeout=60) == files[1].name
