"""retention: how many development releases stay."""

from pathlib import Path

import pytest
from fixtures import Person
from packaging.version import Version

from pypi_insiders.config.settings import WatcherSettings
from pypi_insiders.repositories import heads, releases
from pypi_insiders.repositories.releases import PRUNED, UNPUBLISHED
from pypi_insiders.repositories.repository import Repository
from pypi_insiders.repositories.state import Build
from pypi_insiders.update import retention


def _head(number: int, version: str) -> Build:
    commit = f"{number:09x}".ljust(40, "0")
    label = heads.label("main", commit)
    return Build(label, commit, f"{version}+g{commit:.7}", 0, {f"d-{version}.tar.gz": ""})


def _tag(version: str) -> Build:
    return Build(f"v{version}", "c0ffee", version, 0, {f"d-{version}.tar.gz": ""})


@pytest.mark.parametrize(
    ("own", "setting", "expected"),
    [(None, 0, (0, 5)), (None, 3, (3, 3)), (2, 3, (2, 2)), (0, 3, (0, 0)), (0, 0, (0, 0))],
)
def test_where_no_keep_is_set_five_development_releases_stay(
    own: int | None, setting: int, expected: tuple[int, int]
) -> None:
    """And all others; `keep = 0` keeps all of both."""
    builds = [_tag("1.0"), _head(1, "1.0.1.dev1"), _tag("1.1")]
    found = retention.groups(Repository("a/b", keep=own), WatcherSettings(keep=setting), builds)
    of_tags, of_heads = found
    assert (of_tags[1], of_heads[1]) == expected
    assert (of_tags[0], of_heads[0]) == ([builds[0], builds[2]], [builds[1]])


@pytest.mark.parametrize(
    ("keep", "superfluous"),
    [
        (1, ["1.0", "1.2.dev58", "1.2.dev57"]),
        (2, ["1.2.dev58"]),
        (3, []),
    ],
)
def test_a_development_release_takes_no_place_of_a_release(
    tmp_path: Path, keep: int, superfluous: list[str]
) -> None:
    """Of heads the one that was built last stays, also where a rewritten branch made it lower."""
    builds = [
        _tag("1.0"),
        _head(1, "1.2.dev58"),
        _tag("1.1"),
        _head(2, "1.2.dev57"),
        _head(3, "1.1.1.dev9"),
    ]
    for build in builds:
        for name in build.files:
            (tmp_path / name).touch()
    names = [f"d-{version}.tar.gz" for version in superfluous]
    assert retention.superfluous(tmp_path, builds, keep) == names


def test_a_hundred_development_releases_are_remembered(person: Person) -> None:
    """Of older ones those that only `keep` removed are forgotten."""
    builds = [_head(number, f"1.0.dev{number}") for number in range(104)]
    person.paths.distributions.mkdir(parents=True)
    (person.paths.distributions / "d-1.0.dev0.tar.gz").touch()
    for number, word in ((0, PRUNED), (1, PRUNED), (2, UNPUBLISHED), (99, PRUNED)):
        releases.take_back(person.paths, [("d", Version(f"1.0.dev{number}"))], word)
    assert retention.old_heads(person.paths, builds) == [builds[1]]
    assert retention.old_heads(person.paths, builds[:100]) == []
