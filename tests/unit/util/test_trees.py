"""trees: memory stays small, however many names foreign code has made."""

import os
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pypi_insiders.builder import build, environments
from pypi_insiders.builder.environments import Bytecode, Environment, RequirementError
from pypi_insiders.builder.errors import BuildError
from pypi_insiders.builder.launcher import DirectLauncher
from pypi_insiders.builder.recipe import Recipe
from pypi_insiders.util import trees
from pypi_insiders.util.process_group import ProcessGroup
from pypi_insiders.util.trees import TooManyError

_NAMES = 15_000
# Each byte that is no text takes two in a string.
_NAME = 240 * "\udcff"
_MOST_BYTES = 5 * 1024 * 1024
"""A list of the names takes more than 8. Before Python 3.12 parts of paths are interned, and
their table grows by some megabytes at times."""


def fill(directory: Path, names: int = _NAMES) -> Path:
    """Make very many long names."""
    directory.mkdir(parents=True)
    (directory / "first").touch()
    place = os.open(directory, os.O_DIRECTORY)
    for number in range(names):
        os.link("first", f"{_NAME}{number}", src_dir_fd=place, dst_dir_fd=place)
    os.close(place)
    return directory


@contextmanager
def little_memory() -> Iterator[None]:
    """Fail where much memory is taken, for however short a time."""
    tracemalloc.start()
    try:
        yield
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < _MOST_BYTES


@pytest.mark.parametrize("remove", [trees.remove_tree, trees.remove_foreign_tree])
@pytest.mark.parametrize("place", ["", "a/b"])
def test_very_many_names_are_removed(
    tmp_path: Path, remove: Callable[[Path], object], place: str
) -> None:
    """At the top or deep below: they are removed as they are read."""
    tree = tmp_path / "tree"
    fill(tree / place)
    with little_memory():
        remove(tree)
    assert not tree.exists()


def test_very_many_names_are_read_one_by_one(tmp_path: Path) -> None:
    """As those that a commit has."""
    tree = fill(tmp_path / "tree")
    (tree / ".git").mkdir()
    (tree / "a/.git").mkdir(parents=True)
    (tree / "a/file").touch()
    with little_memory():
        assert sum(1 for _ in trees.paths_below(tree, but=".git")) == _NAMES + 3


def test_what_cannot_be_listed_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where an order is needed, names are counted before they are sorted, of all directories."""
    monkeypatch.setattr(trees, "_MOST_ENTRIES", 100)
    tree = fill(tmp_path / "tree")
    with little_memory(), pytest.raises(TooManyError):
        list(trees.files_below(tree))
    for number in range(2):
        fill(tmp_path / f"two/{number}", 48)
    assert len(list(trees.files_below(tmp_path / "two"))) == 98
    fill(tmp_path / "two/2", 0)
    with pytest.raises(TooManyError):
        list(trees.files_below(tmp_path / "two"))


def test_files_come_in_a_fixed_order(tmp_path: Path) -> None:
    """A hash is made of them."""
    for name in ("c", "a", "b/z", "b/y"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = [str(path.relative_to(tmp_path)) for path in trees.files_below(tmp_path)]
    assert found == ["a", "c", "b/y", "b/z"]


def test_of_very_many_files_beside_what_was_built_some_are_told(tmp_path: Path) -> None:
    """A hook may leave them where one distribution should be."""
    work = build._Work(tmp_path, Recipe(0), DirectLauncher(ProcessGroup()))
    (tmp_path / "dist").rmdir()
    fill(tmp_path / "dist")
    with little_memory(), pytest.raises(BuildError) as caught:
        work._taken("sdist")
    assert caught.value.message.startswith("the build produced ")
    assert caught.value.message.endswith(" instead of one sdist")
    assert len(caught.value.message) < 500


def _environment(directory: Path) -> Environment:
    return Environment(directory, Path("/usr/bin/python3"), frozenset())


def _never(*_: object, **__: object) -> Path:
    raise AssertionError


def test_a_wheel_with_very_many_files_is_the_fault_of_who_requires_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of each file the content is hashed."""
    monkeypatch.setattr(trees, "_MOST_ENTRIES", 100)
    fill(tmp_path / "env/lib/python3.11/site-packages/large", 100)
    with pytest.raises(RequirementError) as caught:
        Bytecode(tmp_path / "shared").bring(_environment(tmp_path / "env"), _never)
    assert caught.value.message == (
        "the build requirements are too large: it has more than 100 files and directories"
    )


def test_a_wheel_does_not_look_like_very_many_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was installed is remembered with the build."""
    packages = fill(tmp_path / "env/lib/python3.11/site-packages")
    fill(tmp_path / "env/lib/other", 0)
    (packages / "Some_name-1.0.dist-info").mkdir()
    environment = _environment(tmp_path / "env")
    with little_memory():
        assert environment.versions == {"some-name": "1.0"}
    monkeypatch.setattr(environments, "_MOST_REQUIREMENTS", 3)
    for number in range(3):
        (packages / f"other-{number}-1.0.dist-info").mkdir()
    with pytest.raises(RequirementError) as caught:
        _ = environment.versions
    assert caught.value.message == "the build requirements are more than 3 projects"
