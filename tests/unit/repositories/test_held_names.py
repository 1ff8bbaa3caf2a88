"""The names that a server holds, as it reads them again."""

from pathlib import Path

import pytest

from pypi_insiders.config.paths import Paths
from pypi_insiders.repositories import held_names, state
from pypi_insiders.repositories.held_names import HeldNames
from pypi_insiders.repositories.state import RepositoryState


def test_an_error_that_has_ended_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether its end changed one of the files by which a change is seen, or not."""
    monkeypatch.setattr(held_names, "_AGAIN_S", 0.0)
    paths = Paths(*(tmp_path / name for name in ("config", "data", "state", "cache")))
    state.save(paths.state, "me/lost", RepositoryState(remote="file:///lost.git"))
    names = HeldNames(paths)
    error = names.current().error
    assert error is not None
    assert error.message.startswith("project name of me/lost lost: ")
    state.save_removed(paths.state, {"me/lost"})
    assert names.current().error is None


def test_an_error_is_not_looked_into_by_each_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All states are read for that, which takes long where there are many."""
    monkeypatch.setattr(held_names, "_AGAIN_S", 1000.0)
    paths = Paths(*(tmp_path / name for name in ("config", "data", "state", "cache")))
    state.save(paths.state, "me/lost", RepositoryState(remote="file:///lost.git"))
    names = HeldNames(paths)
    first = names.current()
    assert first.error is not None
    assert names.current() is first
    monkeypatch.setattr(held_names, "_AGAIN_S", 0.0)
    assert names.current() is not first


def test_a_new_project_is_learned_without_reading_all_files_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its page would wait for that; what other processes write is read."""
    paths = Paths(*(tmp_path / name for name in ("config", "data", "state", "cache")))
    names = HeldNames(paths)
    names.current()
    loaded: list[Paths] = []
    load = held_names.load

    def counted(paths: Paths, records: held_names.Records | None = None) -> held_names.Names:
        loaded.append(paths)
        return load(paths, records)

    monkeypatch.setattr(held_names, "load", counted)
    names.learn(["new"])
    assert (dict(names.current().repositories), loaded) == ({"new": None}, [])
    assert dict(load(paths).repositories) == {"new": None}
    held_names.hold(paths, {"other": "me/other"})
    names.learn(["new"])
    assert dict(names.current().repositories) == {"new": None, "other": "me/other"}
    assert loaded


def test_what_others_wrote_meanwhile_is_not_overlooked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two readings of a server another process may hold a name, and release one."""
    paths = Paths(*(tmp_path / name for name in ("config", "data", "state", "cache")))
    names = HeldNames(paths)
    names.current()
    current = names.current

    def changed() -> held_names.Names:
        found = current()
        held_names.hold(paths, {"other": "me/other"})
        return found

    monkeypatch.setattr(names, "current", changed)
    names.learn(["new"])
    monkeypatch.undo()
    assert dict(names.current().repositories) == {"new": None, "other": "me/other"}


def test_names_that_cannot_be_written_are_read(tmp_path: Path) -> None:
    """The list of watched repositories has them as well."""
    paths = Paths(*(tmp_path / name for name in ("config", "data", "state", "cache")))
    paths.config.mkdir()
    paths.repositories.write_text('["me/probe"]\nproject = "probe"\n')
    paths.state.write_text("no directory")
    assert dict(HeldNames(paths).current().repositories) == {"probe": "me/probe"}
