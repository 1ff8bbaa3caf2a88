"""held_name_files: three files, each of which may be lost or damaged."""

import logging
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from fuzzing import damaged_json, fuzzed
from hypothesis import given
from hypothesis import strategies as st

from pypi_insiders.config.paths import Paths, held_names_copies
from pypi_insiders.repositories import held_name_files

_NAMES = {"other": None, "probe": "me/probe", "secret": "me/secret"}
_TEXT = '{"other": null, "probe": "me/probe", "secret": "me/secret"}'
_DAMAGED = st.none() | damaged_json(_TEXT)


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)


@fuzzed(2, usual=50)
@given(st.integers(0, 2), st.tuples(_DAMAGED, _DAMAGED))
def test_one_of_three_files_holds_all_names(sound: int, others: tuple[bytes | None, ...]) -> None:
    """Whatever is in the others, or if they are missing; repositories in them have valid names."""
    with TemporaryDirectory() as home:
        paths = Paths(*(Path(home, name) for name in ("config", "data", "state", "cache")))
        files = [paths.held_names, *held_names_copies(paths)]
        for directory in (paths.state, paths.distributions):
            directory.mkdir(parents=True)
        contents = [*others]
        contents.insert(sound, _TEXT.encode())
        for path, content in zip(files, contents, strict=True):
            if content is not None:
                path.write_bytes(content)
        found, lost = held_name_files.load(paths)
        assert lost is None
        assert found is not None
        assert found.keys() >= _NAMES.keys()
        assert all(name is None or "/" in name for name in found.values())
        # What was read is written to all of them, and then the same is read.
        held_name_files.save(paths, found)
        assert held_name_files.load(paths) == (found, None)


def test_a_name_that_cannot_be_written_is_read_as_it_is_written(paths: Paths) -> None:
    """Or else each sync of the names would write all files."""
    paths.state.mkdir()
    paths.held_names.write_text(r'{"x\ud800": null}')
    found, _ = held_name_files.load(paths)
    assert found == {"x?": None}
    held_name_files.save(paths, found)
    assert held_name_files.load(paths) == (found, None)
