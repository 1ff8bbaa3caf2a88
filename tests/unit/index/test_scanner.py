"""index.scanner: single files, and how often their origins are read."""

import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from wheels import sdist, wheel

from pypi_insiders.index import scanner
from pypi_insiders.index.metadata_cache import MetadataCache, Origin
from pypi_insiders.index.scanner import FileScanner
from pypi_insiders.util.files import sha256

ORIGIN = Origin("me/probe", "v1.0", "c0ffee")


@pytest.mark.parametrize("is_guarded", [True, False])
def test_another_file_in_place_of_the_published_one(is_guarded: bool, tmp_path: Path) -> None:
    """It is rejected where files are guarded; elsewhere it is a file of unknown origin."""
    directory = tmp_path / "dists"
    path = sdist(directory, "my-dist", "1.0")
    published = "0" * 64, ORIGIN, 5
    examined = FileScanner(
        directory, MetadataCache(tmp_path / "record", directory), lambda: {path.name: published},
        is_guarded=is_guarded,
    )  # fmt: skip
    entry = examined.examine(path.name)
    assert entry is not None
    if is_guarded:
        problem = (
            f"{path.name} is not the published file: sha256 {sha256(path)}, expected {published[0]}"
        )
        assert (entry.problem, entry.sha256, entry.origin) == (problem, *published[:2])
    else:
        assert (entry.problem, entry.sha256, entry.origin) == (None, sha256(path), None)


def test_a_link_to_a_file_is_none(tmp_path: Path) -> None:
    """Wherever it leads."""
    directory = tmp_path / "dists"
    path = sdist(tmp_path, "my-dist", "1.0")
    directory.mkdir()
    (directory / path.name).symlink_to(path)
    examined = FileScanner(directory, MetadataCache(tmp_path / "record", directory), dict)
    entry = examined.examine(path.name)
    assert entry is not None
    assert entry.problem == f"{path.name} is a link or a directory, not a file"


def test_a_file_that_was_published_just_now_is_no_other_one(tmp_path: Path) -> None:
    """The origins are read again before a file is rejected."""
    directory = tmp_path / "dists"
    paths = [sdist(directory, "my-dist", version) for version in ("1.0", "1.1")]
    known = {path.name: ("0" * 64, ORIGIN, 5) for path in paths}
    examined = FileScanner(
        directory, MetadataCache(tmp_path / "record", directory), lambda: dict(known),
        is_guarded=True,
    )  # fmt: skip
    problems = []
    for path in paths:
        problems.append(examined.examine(path.name))
        known[paths[1].name] = (sha256(paths[1]), ORIGIN, 5)
    assert [entry is not None and entry.problem is None for entry in problems] == [False, True]


@pytest.mark.parametrize(
    ("takes_s", "expected"), [(0.0, [100.0, 102.0, 119.0, 122.5]), (2.0, [100.0, 122.5])]
)
def test_origins_that_take_long_to_read_are_kept_longer(
    takes_s: float, expected: list[float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or else each of thousands of files would read those of a thousand repositories."""
    now_s, reads = 0.0, list[float]()
    clock = SimpleNamespace(monotonic=lambda: now_s, time_ns=time.time_ns)
    monkeypatch.setattr(scanner, "time", clock)

    def origins() -> dict[str, tuple[str, None, int]]:
        nonlocal now_s
        reads.append(now_s)
        now_s += takes_s
        return {}

    name = wheel(tmp_path / "dists", "my-dist", "1.0").name
    examined = FileScanner(
        tmp_path / "dists", MetadataCache(tmp_path / "record", tmp_path / "dists"), origins
    )
    for at_s in (100.0, 100.9, 102.0, 119.0, 119.5, 122.5):
        now_s = max(now_s, at_s)
        assert examined.examine(name)
    assert reads == expected
