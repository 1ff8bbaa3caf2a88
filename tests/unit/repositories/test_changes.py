"""changes: what is added, and what the builds of a repository may read."""

from pathlib import Path

import pytest

from pypi_insiders.config.paths import Paths
from pypi_insiders.repositories import held_names, registry
from pypi_insiders.repositories.changes import add, user_files_of
from pypi_insiders.repositories.repository import Repository
from pypi_insiders.util.errors import InsidersError


def test_the_token_of_a_repository_is_hidden_from_its_builds(
    paths: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under any name; what lies beside it is not."""
    home = tmp_path / "home"
    (home / "tokens").mkdir(parents=True)
    (home / "tokens/gh").touch()
    (home / "data").mkdir()
    monkeypatch.setenv("HOME", str(home))
    item = Repository("me/probe", token_file="~/tokens/gh", readable=("~/data",))
    assert user_files_of(paths, item).readable == (home / "data",)
    for path in ("~/tokens/gh", "~/tokens"):
        with pytest.raises(InsidersError, match=r"may contain credentials$"):
            user_files_of(paths, item.with_key("readable", [path]))


def test_what_is_watched_is_said_to_be_where_a_list_cannot_be_written(paths: Paths) -> None:
    """As on a full disk; its name is held all the same."""
    # A directory in the way of their lock.
    paths.locks.held_names.mkdir(parents=True)
    with pytest.raises(InsidersError, match=r"^me/probe: watched, but cannot lock "):
        add(paths, [Repository("me/probe", project="probe")])
    assert list(registry.load(paths.repositories)) == ["me/probe"]
    assert held_names.load(paths).repositories == {"probe": "me/probe"}
