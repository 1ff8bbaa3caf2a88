"""changes: what the builds of a repository may read."""

from pathlib import Path

import pytest

from pypi_insiders.config.paths import Paths
from pypi_insiders.repositories.changes import user_files_of
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
