"""build_workspace: the directories of builds."""

import os
from pathlib import Path

import pytest

from pypi_insiders.config.paths import Paths
from pypi_insiders.config.settings import Settings
from pypi_insiders.update.build_workspace import BuildSpace
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.process_group import ProcessGroup


def test_a_path_that_is_not_utf_8_is_an_error_that_says_what_to_set(tmp_path: Path) -> None:
    """Git and uv would each fail in a way of their own."""
    paths = Paths(*[tmp_path / os.fsdecode(b"n\xff")] * 4)
    space = BuildSpace(paths, Settings(), ProcessGroup())
    with pytest.raises(InsidersError, match="whose name is not UTF-8") as caught, space.workspace():
        pass
    assert caught.value.hint == "set XDG_CACHE_HOME to another directory"
