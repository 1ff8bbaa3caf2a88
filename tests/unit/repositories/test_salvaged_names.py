"""salvaged_names: the names of a list that cannot be read."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from fuzzing import damaged, fuzzed
from hypothesis import given
from hypothesis import strategies as st
from packaging.utils import canonicalize_name

from pypi_insiders.config.paths import Paths
from pypi_insiders.repositories import held_names, salvaged_names


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
    paths: Paths, text: str, encoding: str
) -> None:
    """Though other names are known: this one was never recorded, and may be any."""
    paths.config.mkdir()
    paths.repositories.write_text('["me/known"]\nproject = "known"\n')
    held_names.sync(paths)
    listed = f'["me/known"]\nproject = "known"\n{text}'
    paths.repositories.write_bytes(listed.encode(encoding))
    names = held_names.load(paths)
    assert "known" in names.repositories
    assert "private" in names.repositories or names.error is not None


_LIST = b"""\
["me/probe"]
project = "probe"
["me/other.git"]
url = "https://host.example/me/other.git"
project = "Other_Name"
"""


@fuzzed(2, usual=100)
@given(damaged(st.just(_LIST)))
def test_whatever_the_list_is_names_are_read(content: bytes) -> None:
    """Those that can be names, normalized; all, if only the end is damaged."""
    with TemporaryDirectory() as directory:
        path = Path(directory, "repos.toml")
        path.write_bytes(content)
        found, tables = salvaged_names.read(path)
    assert [canonicalize_name(name, validate=True) for name in found] == list(found)
    assert {name for name in found.values() if name} <= {*tables, *(f"{it}.git" for it in tables)}
    if content.startswith(_LIST):
        assert {"probe": "me/probe", "other-name": "me/other.git"}.items() <= found.items()
