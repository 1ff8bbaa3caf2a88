"""Held names as requests meet them."""

import contextlib
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from pypi_insiders.config.paths import Paths
from pypi_insiders.index.catalog import Catalog
from pypi_insiders.index.metadata_cache import MetadataCache
from pypi_insiders.repositories import held_names
from pypi_insiders.server.current_names import CurrentNames
from pypi_insiders.server.http import Waiters
from pypi_insiders.server.web import held
from pypi_insiders.server.web.held import Held


def test_a_name_that_was_lost_is_learned_again_after_a_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its page may be the last that is sent before its files are gone too."""
    paths = Paths(*[tmp_path] * 4)
    with contextlib.closing(MetadataCache(tmp_path / "record.sqlite", tmp_path / "dists")) as cache:
        names = CurrentNames(paths)
        requests = Held(Catalog(tmp_path / "dists", cache), names, Waiters())
        requests.learn("ours")
        requests.learn("ours")
        assert "ours" in names.current().repositories
        held_names.release(paths, ["ours"])
        assert "ours" not in names.current().repositories
        later_s = time.monotonic() + 1
        monkeypatch.setattr(held, "time", SimpleNamespace(monotonic=lambda: later_s))
        requests.learn("ours")
        assert "ours" in names.current().repositories


def test_a_name_that_cannot_be_learned_is_tried_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each try is a line in the log, and pages are asked for all the time."""
    tried: list[object] = []
    with contextlib.closing(MetadataCache(tmp_path / "record.sqlite", tmp_path / "dists")) as cache:
        names = CurrentNames(Paths(*[tmp_path] * 4))
        monkeypatch.setattr(names, "learn", tried.append)
        requests = Held(Catalog(tmp_path / "dists", cache), names, Waiters())
        for later_s in range(3):
            now_s = time.monotonic() + later_s
            monkeypatch.setattr(held, "time", SimpleNamespace(monotonic=lambda now=now_s: now))
            requests.learn("ours")
    assert tried == [["ours"]]
