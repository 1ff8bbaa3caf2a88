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


@pytest.mark.parametrize(
    "text",
    [
        '["me/new"]\nproject = "private\n',
        '["me/new"]\nproject = private\n',
        '["me/new"]\nproject: "private"\n',
        '["me/new"]\nproject =\n  "private"\n',
        '["me/new"]\nproject."x" = "private"\n',
        '["me/new"]\n"priv\\u0061te"\n',
        '["me/new"]\nproject = ["private"]\n',
        '["me/new"]\nProject = "private"\n',
        '["me/new"]\nprojekt = "private"\n',
        '["me/new]\nprojekt = "private"\n',
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_table_that_cannot_be_read_holds_its_name_or_all(
    tmp_path: Path, text: str, encoding: str
) -> None:
    """Though other names are known: this one was never recorded, and may be any."""
    paths = Paths(*(tmp_path / name for name in ("config", "data", "state", "cache")))
    paths.config.mkdir()
    paths.repositories.write_text('["me/known"]\nproject = "known"\n')
    held_names.sync(paths)
    listed = f'["me/known"]\nproject = "known"\n{text}'
    paths.repositories.write_bytes(listed.encode(encoding))
    names = held_names.load(paths)
    assert "known" in names.repositories
    assert "private" in names.repositories or names.error is not None
