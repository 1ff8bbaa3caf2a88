"""held_names: where the names are found, and when one is released."""

import errno
import json
import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from entries import ENTRY

from pypi_insiders.config.paths import Paths, held_names_copies
from pypi_insiders.index.metadata_cache import MetadataCache
from pypi_insiders.index.release_lists import YANKED
from pypi_insiders.repositories import held_names, removals, state
from pypi_insiders.repositories.state import RepositoryState
from pypi_insiders.util.errors import InsidersError


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _watch(paths: Paths, text: str = '["me/probe"]\nproject = "probe"\n') -> None:
    _write(paths.repositories, text)


def _in_a_list_that_is_broken(paths: Paths) -> None:
    _watch(paths, '["me/probe"]\nproject = "probe"\n[[[')


def _remembered(paths: Paths) -> None:
    _write(paths.held_names, '{"probe": "me/probe"}')


def _remembered_in_the_copy(paths: Paths) -> None:
    _write(held_names_copies(paths)[0], '{"probe": "me/probe"}')


def _remembered_beside_the_files(paths: Paths) -> None:
    _write(held_names_copies(paths)[1], '{"probe": "me/probe"}')


def _built(paths: Paths) -> None:
    state.save(paths.state, "me/probe", RepositoryState("probe"))


def _built_formerly(paths: Paths) -> None:
    known = RepositoryState("other", former_files=["probe-1.0.tar.gz"])
    state.save(paths.state, "me/probe", known)


def _yanked(paths: Paths) -> None:
    YANKED.save(paths.distributions, {"probe": {"1.0": ""}})


def _there(paths: Paths) -> None:
    _write(paths.distributions / "probe-1.0.tgz", "of an old form")


def _examined(paths: Paths) -> None:
    with closing(MetadataCache(paths.record, paths.distributions)) as cache:
        cache.put(ENTRY._replace(project="probe"), None)


@pytest.mark.parametrize(
    "hold",
    [_watch, _in_a_list_that_is_broken, _remembered, _remembered_in_the_copy,
     _remembered_beside_the_files, _built, _built_formerly, _yanked, _there, _examined],
)  # fmt: skip
def test_each_place_holds_a_name_alone(paths: Paths, hold: Callable[[Paths], None]) -> None:
    """Each of the others may be lost, or damaged."""
    hold(paths)
    assert "probe" in held_names.load(paths).repositories


def test_all_that_is_remembered_is_held(paths: Paths) -> None:
    """Of lists that differ, as after a power cut, all names."""
    places = (paths.held_names, *held_names_copies(paths))
    for number, path in enumerate(places):
        _write(path, json.dumps({f"probe-{number}": None}))
    _built(paths)
    assert set(held_names.load(paths).repositories) == {"probe", "probe-0", "probe-1", "probe-2"}


@pytest.mark.parametrize("name", ["../../x", "\\ud800/x", "/x", "x", "-x/y", ""])
def test_a_name_is_held_for_what_is_no_repository(paths: Paths, name: str) -> None:
    """Files are found by the name of a repository: this could lead to any other."""
    _write(paths.held_names, f'{{"probe": "{name}"}}')
    assert held_names.load(paths).repositories == {"probe": None}


def test_a_project_belongs_to_the_repository_that_is_watched(paths: Paths) -> None:
    """Also by what it built; what is remembered may be older."""
    _write(paths.held_names, '{"probe": "me/former"}')
    state.save(paths.state, "me/probe", RepositoryState("probe"))
    _watch(paths, '["me/probe"]\n')
    assert held_names.load(paths).repositories == {"probe": "me/probe"}


def test_what_nobody_can_read_may_be_any_name(paths: Paths) -> None:
    """Then no name is redirected."""
    _watch(paths)
    for path in (paths.held_names, *held_names_copies(paths)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(path)
    error = held_names.load(paths).error
    assert error is not None
    assert error.message.startswith(f"cannot read {paths.held_names}: ")


@pytest.mark.parametrize("hold", [_watch, _there])
def test_no_name_is_released_that_is_watched_or_published(
    paths: Paths, hold: Callable[[Paths], None]
) -> None:
    hold(paths)
    _remembered(paths)
    assert held_names.release(paths, ["probe"]) == []
    assert "probe" in held_names.load(paths).repositories


def test_what_is_released_is_held_nowhere(paths: Paths) -> None:
    for hold in (_remembered, _remembered_in_the_copy, _yanked):
        hold(paths)
    assert held_names.release(paths, ["probe"]) == ["probe"]
    assert "probe" not in held_names.load(paths).repositories


def test_lists_that_cannot_be_read_are_not_replaced(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new list without their names would look complete."""
    _watch(paths)
    places = [str(path) for path in (paths.held_names, *held_names_copies(paths))]
    for place in places:
        _write(Path(place), '{"private": null}')
    open_ = os.open

    def failing(path: Path, flags: int, *rest: int) -> int:
        if str(path) in places:
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        return open_(path, flags, *rest)

    with monkeypatch.context() as disk:
        disk.setattr(os, "open", failing)
        with pytest.raises(InsidersError, match="cannot read"):
            held_names.hold(paths, {"other": "me/other"})
        with pytest.raises(InsidersError, match="cannot read"):
            held_names.release(paths, ["other"])
        assert held_names.load(paths).error is not None
    assert "private" in held_names.load(paths).repositories


def test_a_list_without_lost_names_is_not_written(paths: Paths) -> None:
    """It would look complete; once their repository is removed on purpose, it is."""
    state.save(paths.state, "me/lost", RepositoryState(remote="file:///lost.git"))
    _write(paths.held_names, '{"other": null}')
    held_names.sync(paths)
    assert not held_names_copies(paths)[0].exists()
    removals.save(paths.state, {"me/lost"})
    held_names.sync(paths)
    assert held_names_copies(paths)[0].exists()


def test_each_copy_gets_a_new_name_but_makes_no_directory(paths: Paths) -> None:
    """An empty directory of distributions would hide that it is gone."""
    held_names.hold(paths, {"probe": "me/probe"})
    in_state, beside = held_names_copies(paths)
    assert json.loads(in_state.read_text()) == {"probe": "me/probe"}
    assert not beside.parent.exists()
