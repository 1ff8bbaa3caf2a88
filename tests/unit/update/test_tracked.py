"""update.tracked: what an update finds about a repository."""

import logging
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


class _Lines(logging.Handler):
    """Remembers the log."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def test_a_hint_follows_its_error() -> None:
    """The line of another repository in between would get it."""
    other = threading.Thread(target=logging.getLogger("pypi_insiders.other").error, args=("other",))

    def interfere(record: logging.LogRecord) -> bool:
        if record.msg.startswith("hint"):
            other.start()
            other.join(0.2)  # as long as it is kept out
        return True

    context: Any = SimpleNamespace(
        checks={}, interrupted=threading.Event(), progress=SimpleNamespace(end=lambda _name: None)
    )
    seen, logger = _Lines(), logging.getLogger("pypi_insiders.update.tracked")
    common = logging.getLogger("pypi_insiders")
    level = common.level
    common.addHandler(seen)
    common.setLevel(logging.INFO)
    logger.addFilter(interfere)
    try:
        tracked = TrackedRepository(context, Repository("me/probe"))
        tracked.fail(InsidersError("it fails", "mend it"))
        other.join()
    finally:
        logger.removeFilter(interfere)
        common.removeHandler(seen)
        common.setLevel(level)
    assert seen.lines == ["me/probe: it fails", "hint: mend it", "other"]
