"""sdist_download: sdists of build requirements, from indexes with a password and without."""

import os
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


def test_a_file_of_this_machine_is_read_only_if_an_index_of_this_machine_lists_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another could list any: /dev/zero, or a file that is no concern of it."""
    links = tmp_path / "links"
    sdist = wheels.sdist(links, "tool", "1.0")
    with dated_index(links, Reader(files=links.as_uri())) as url:
        with pytest.raises(RequirementError) as refused:
            download(url, tmp_path / "first", monkeypatch)
        assert not (tmp_path / "first/tool-1.0.tar.gz").exists()
        monkeypatch.setenv("UV_FIND_LINKS", str(links))
        path = download(url, tmp_path / "second", monkeypatch)
    assert refused.value.message == (
        "cannot download the sdist of tool: an index of http or https lists a file of this "
        f"machine, {sdist.as_uri()}"
    )
    assert path.read_bytes() == sdist.read_bytes()


def test_what_is_no_file_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A FIFO would be waited for without end."""
    os.mkfifo(tmp_path / "tool-1.0.tar.gz")
    page = tmp_path / "page.html"
    page.write_text(f'<a href="tool-1.0.tar.gz#sha256={"0" * 64}">tool-1.0.tar.gz</a>')
    monkeypatch.setenv("UV_FIND_LINKS", page.as_uri())
    monkeypatch.setenv("UV_NO_INDEX", "1")
    with pytest.raises(RequirementError) as caught:
        download("", tmp_path / "place", monkeypatch)
    assert caught.value.message == ("cannot download tool-1.0.tar.gz: it is a FIFO, not a file")


def test_files_of_this_machine_have_the_limit_of_those_of_hosts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file with holes takes no space before it is copied."""
    monkeypatch.setattr(sdist_download, "_LIMIT_BYTES", 1024**2)
    with wheels.sdist(tmp_path / "links", "tool", "1.0").open("ab") as file:
        file.truncate(2 * 1024**2)
    monkeypatch.setenv("UV_FIND_LINKS", str(tmp_path / "links"))
    monkeypatch.setenv("UV_NO_INDEX", "1")
    with pytest.raises(RequirementError) as caught:
        download("", tmp_path / "place", monkeypatch)
    assert caught.value.message == "cannot download tool-1.0.tar.gz: larger than 1 MiB"


@pytest.mark.parametrize(
    ("reader", "reason"),
    [
        (Reader(is_slow=True), "it takes too long"),
        (Reader(is_cutting=True), "the answer is incomplete"),
    ],
    ids=["slow", "incomplete"],
)
def test_a_host_that_sends_a_file_too_slowly_or_in_part_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reader: Reader, reason: str
) -> None:
    """The time counts after each byte, however many are still to come."""
    monkeypatch.setattr(sdist_download, "_DOWNLOAD_S", 0 if reader.is_slow else 60)
    monkeypatch.setattr(sdist_download, "_TIMEOUT_S", 5)
    wheels.sdist(tmp_path / "index", "tool", "1.0")
    with (
        dated_index(tmp_path / "index", reader) as url,
        pytest.raises(RequirementError) as caught,
    ):
        download(url, tmp_path / "place", monkeypatch)
    assert caught.value.message == f"cannot download tool-1.0.tar.gz: {reason}"
