"""Which tests are journeys. The fixtures of all tests are in `support/fixtures.py`."""

import gc
import os
from itertools import islice
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

# Whose tests wait for a time limit to pass, most of a minute together, and compute little.
_WAITING = {"test_application", "test_limits", "test_process", "test_proof", "test_pulse"}


def pytest_configure(config: pytest.Config) -> None:
    """Register the fixtures; in `pytest_plugins`, `fixtures` would be the module of pytest."""
    config.pluginmanager.register(fixtures, "support.fixtures")


def pytest_collection_finish() -> None:
    """Keep thousands of tests, which stay, out of each search for what nobody uses any more."""
    gc.collect()
    gc.freeze()


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
    """Let each process begin with a part of what is long; it gets as many tests as the others.

    Of what waits, every other process gets a part: the rest compute meanwhile, and what is left for
    the end is no waiting.
    """
    count = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    kinds: dict[str, list[pytest.Item]] = {"long": [], "waiting": [], "": []}
    for item in items:
        kinds[_kind(item.path)].append(item)
    rest = iter(kinds[""])
    ordered: list[pytest.Item] = []
    for at in range(count):
        ordered += kinds["long"][at::count]
        if at % 2 == 0:
            ordered += kinds["waiting"][at // 2 :: (count + 1) // 2]
        ordered += islice(rest, max(0, len(items) * (at + 1) // count - len(ordered)))
    return [*ordered, *rest]


def _kind(path: Path) -> str:
    if _JOURNEYS in path.parents:
        return "long" if path.stem in _LONG else ""
    return "waiting" if path.stem in _WAITING else ""
