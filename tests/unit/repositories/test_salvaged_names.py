"""salvaged_names: the names of a list that cannot be read."""

from pathlib import Path

import pytest

from pypi_insiders.config.paths import Paths
from pypi_insiders.repositories import held_names


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
