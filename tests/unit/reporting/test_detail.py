"""detail: which repository `show` describes."""

from datetime import UTC, datetime

import pytest

from pypi_insiders.config.paths import Paths
from pypi_insiders.reporting import detail
from pypi_insiders.repositories import state
from pypi_insiders.repositories.state import RepositoryState
from pypi_insiders.util.errors import InsidersError


def test_an_address_of_another_host_shows_no_removed_repository(paths: Paths) -> None:
    now = datetime.now(UTC)
    state.save(paths.state, "n/Proj", RepositoryState("one", remote="https://codeberg.org/n/proj"))
    assert detail.give(paths, "codeberg.org/n/proj", now).name == "n/Proj"
    with pytest.raises(InsidersError, match="n/proj is not a watched repository"):
        detail.give(paths, "https://gitlab.com/n/proj", now)
