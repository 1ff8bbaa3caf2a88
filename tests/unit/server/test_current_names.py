"""current_names: when the held names are read again."""

import pytest

from pypi_insiders.config.paths import Paths
from pypi_insiders.repositories import held_names, removals, state
from pypi_insiders.repositories.state import RepositoryState
from pypi_insiders.server import current_names
from pypi_insiders.server.current_names import CurrentNames


def _watch(paths: Paths, project: str) -> None:
    paths.config.mkdir(exist_ok=True)
    paths.repositories.write_text(f'["me/{project}"]\nproject = "{project}"\n')


def test_a_change_of_what_is_watched_is_seen(paths: Paths) -> None:
    _watch(paths, "probe")
    names = CurrentNames(paths)
    assert "more" not in names.current().repositories
    _watch(paths, "more")
    assert {"probe", "more"} <= set(names.current().repositories)


def test_an_error_that_has_ended_is_not_kept(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether its end changed one of the files by which a change is seen, or not."""
    monkeypatch.setattr(current_names, "_AGAIN_S", 0.0)
    state.save(paths.state, "me/lost", RepositoryState(remote="file:///lost.git"))
    names = CurrentNames(paths)
    error = names.current().error
    assert error is not None
    assert error.message.startswith("project name of me/lost lost: ")
    removals.save(paths.state, {"me/lost"})
    assert names.current().error is None


def test_an_error_is_not_looked_into_by_each_request(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All states are read for that, which takes long where there are many."""
    monkeypatch.setattr(current_names, "_AGAIN_S", 1000.0)
    state.save(paths.state, "me/lost", RepositoryState(remote="file:///lost.git"))
    names = CurrentNames(paths)
    first = names.current()
    assert first.error is not None
    assert names.current() is first
    monkeypatch.setattr(current_names, "_AGAIN_S", 0.0)
    assert names.current() is not first


def test_a_new_project_is_learned_without_reading_all_files_again(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its page would wait for that; what other processes write is read."""
    names = CurrentNames(paths)
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
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two readings of a server another process may hold a name, and release one."""
    names = CurrentNames(paths)
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


def test_names_that_cannot_be_written_are_read(paths: Paths) -> None:
    """The list of watched repositories has them as well."""
    _watch(paths, "probe")
    paths.state.write_text("no directory")
    assert dict(CurrentNames(paths).current().repositories) == {"probe": "me/probe"}


def test_what_is_written_while_the_names_are_read_is_read(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By another process: no later change of a file would tell of it."""
    sync = held_names.sync

    def meanwhile(paths: Paths, *, in_state_only: bool) -> held_names.Names:
        found = sync(paths, in_state_only=in_state_only)
        held_names.hold(paths, {"other": "me/other"})
        return found

    monkeypatch.setattr(held_names, "sync", meanwhile)
    assert dict(CurrentNames(paths).current().repositories) == {"other": "me/other"}


def test_while_names_are_lost_none_is_learned(paths: Paths) -> None:
    """A list of the others would look complete."""
    state.save(paths.state, "me/lost", RepositoryState(remote="file:///lost.git"))
    CurrentNames(paths).learn(["new"])
    assert not paths.held_names.exists()
    assert held_names.load(paths).error is not None


def test_of_another_directory_nothing_is_learned(paths: Paths) -> None:
    names = CurrentNames(paths, is_learning=False)
    names.learn(["new"])
    assert dict(names.current().repositories) == {}
