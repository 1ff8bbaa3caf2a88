"""Which tests are journeys. The fixtures of all tests are in `support/fixtures.py`."""

import os
from itertools import compress
from operator import not_
from pathlib import Path

import fixtures
import pytest

_JOURNEYS = Path(__file__).parent / "journeys"
# A machine with a user manager, and what is installed first, some of it from the package index.
_OF_JOURNEYS = {
    "devpi",
    "hatch",
    "installed",
    "keyring",
    "machine",
    "make_machine",
    "packager",
    "pdm",
    "poetry",
    "pypiserver",
    "wheel",
}


# Whose tests take many seconds each: of those, none may be the last to begin.
_LONG = {
    "test_assets",
    "test_branch_backends",
    "test_packaging",
    "test_reproducible",
    "test_watchers",
}


def pytest_configure(config: pytest.Config) -> None:
    """Register the fixtures; in `pytest_plugins`, `fixtures` would be the module of pytest."""
    config.pluginmanager.register(fixtures, "support.fixtures")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs more of the system than Git and the development environment."""
    for item in items:
        assert isinstance(item, pytest.Function)
        callspec = getattr(item, "callspec", None)
        # Some tests call a parameter of theirs `wheel`.
        given = callspec.params if callspec else {}
        if _JOURNEYS in item.path.parents or _OF_JOURNEYS & (set(item.fixturenames) - set(given)):
            item.add_marker("journey")
    items[:] = _ordered(items)


def _ordered(items: list[pytest.Item]) -> list[pytest.Item]:
    """Let each process begin with a part of what is long; it gets as many tests as the others."""
    count = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    is_long = [item.path.stem in _LONG and _JOURNEYS in item.path.parents for item in items]
    long = list(compress(items, is_long))
    rest = list(compress(items, map(not_, is_long)))
    ends = [len(rest) * number // count for number in range(count + 1)]
    parts = [(long[at::count], rest[ends[at] : ends[at + 1]]) for at in range(count)]
    return [item for part in parts for some in part for item in some]
