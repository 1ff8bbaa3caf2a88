"""Which tests are journeys. The fixtures of all tests are in `support/fixtures.py`."""

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
