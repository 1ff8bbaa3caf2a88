"""update.tracked: what an update finds about a repository."""

import threading
from types import SimpleNamespace
from typing import Any

from pypi_insiders.repositories.repository import Repository
from pypi_insiders.repositories.state import Check
from pypi_insiders.update.tracked import TrackedRepository
from pypi_insiders.util.errors import InsidersError


def test_all_failures_and_warnings_of_an_update_are_stored() -> None:
    """Those of the last check stay as they were, and are of no other repository."""
    before = Check(1, errors=["it failed before"])
    context: Any = SimpleNamespace(
        checks={"me/probe": before},
        interrupted=threading.Event(),
        progress=SimpleNamespace(end=lambda _name: None),
    )
    tracked = TrackedRepository(context, Repository("me/probe"))
    tracked.check = Check(2)
    tracked.warn(["one", "two"])
    tracked.warn(["three"])
    tracked.fail(InsidersError("it fails", "mend it"))
    tracked.fail(InsidersError("it fails too"))
    errors, hints = ["it fails", "it fails too"], {"it fails": "mend it"}
    assert tracked.check == Check(2, errors=errors, warnings=["one", "two", "three"], hints=hints)
    assert (before.errors, Check().errors) == (["it failed before"], [])
