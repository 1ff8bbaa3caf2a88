"""sdist_download: sdists of build requirements, from indexes with a password and without."""

import sys
from base64 import b64encode
from pathlib import Path

import pytest
import wheels
from dated_index import Reader, dated_index

from pypi_insiders.builder import sdist_download
from pypi_insiders.builder.environments import RequirementError
from pypi_insiders.util.process_group import ProcessGroup


def download(index: str, directory: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Download `tool`, of which 2.0 is too new."""
    monkeypatch.setenv("UV_DEFAULT_INDEX", index)
    monkeypatch.setenv("UV_CACHE_DIR", str(directory / "uv-cache"))
    directory.mkdir()
    return sdist_download.download(
        "tool", ["other", "Tool<2"], directory,
        python=sys.executable, as_of_s=None, processes=ProcessGroup(),
    )  # fmt: skip


@pytest.mark.parametrize("is_elsewhere", [False, True], ids=["its host", "another host"])
def test_the_password_of_an_index_goes_to_its_host_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_elsewhere: bool
) -> None:
    """As uv sends it; an index may have its files elsewhere."""
    index = tmp_path / "index"
    for version in ("1.0", "2.0"):
        wheels.sdist(index, "tool", version)
    other, own = Reader(), Reader(login="me:secret")
    with dated_index(index, other) as elsewhere, dated_index(index, own) as url:
        own.files = elsewhere.removesuffix("/simple/") if is_elsewhere else ""
        with_login = url.replace("://", "://me:secret@")
        path = download(with_login, tmp_path / "place", monkeypatch)
    assert path.name == "tool-1.0.tar.gz"
    assert path.read_bytes() == (index / path.name).read_bytes()
    login = f"Basic {b64encode(b'me:secret').decode()}"
    assert (own.seen, other.seen) == (([], [""]) if is_elsewhere else ([login], []))


def test_an_sdist_that_is_not_what_the_index_lists_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And one that is not there is told."""
    index, reader = tmp_path / "index", Reader(sha256="0" * 64)
    wheels.sdist(index, "tool", "1.0")
    with dated_index(index, reader) as url:
        with pytest.raises(RequirementError) as other:
            download(url, tmp_path / "first", monkeypatch)
        (index / "tool-1.0.tar.gz").rename(index / "tool-2.0.tar.gz")
        with pytest.raises(RequirementError) as none:
            download(url, tmp_path / "second", monkeypatch)
    assert other.value.message == "tool-1.0.tar.gz has another SHA-256 than the index lists"
    assert none.value.message.startswith("cannot find an sdist of tool: Because ")
