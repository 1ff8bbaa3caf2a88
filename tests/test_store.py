"""The directory that the index serves: files appear whole, and never change."""

import hashlib
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from pypi_insiders.errors import InsidersError
from pypi_insiders.store import present, publish, sha256, unpublish

WHEEL, SDIST = "my_dist-1.0-py3-none-any.whl", "my_dist-1.0.tar.gz"


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _make(directory: Path, **files: bytes) -> list[Path]:
    directory.mkdir(exist_ok=True)
    for name, content in files.items():
        (directory / name).write_bytes(content)
    return [directory / name for name in files]


def _content(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def _identity(path: Path) -> tuple[int, int]:
    return path.stat().st_ino, path.stat().st_mtime_ns


@pytest.fixture
def index(tmp_path: Path) -> Path:
    return tmp_path / "made/dists"


def test_files_are_copied_readable_for_all_and_hashed(tmp_path: Path, index: Path) -> None:
    content = {WHEEL: os.urandom(300_000), SDIST: b""}
    files = _make(tmp_path / "built", **content)
    for file in files:
        file.chmod(0o600)
    assert publish(index, iter(files)) == (
        {WHEEL: _digest(content[WHEEL]), SDIST: _digest(b"")},
        [WHEEL, SDIST],
    )
    assert _content(index) == content == _content(tmp_path / "built")
    assert [stat.S_IMODE((index / name).stat().st_mode) for name in content] == [0o644, 0o644]
    assert sha256(index / WHEEL) == _digest(content[WHEEL])


def test_the_directory_is_made_even_for_no_file(index: Path) -> None:
    assert publish(index, []) == ({}, [])
    assert _content(index) == {}


def test_the_same_content_again_is_done_already(
    tmp_path: Path, index: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = _make(tmp_path / "built", **{WHEEL: b"same"})
    first = publish(index, files)
    before = _identity(index / WHEEL)
    assert first == ({WHEEL: _digest(b"same")}, [WHEEL])
    assert publish(index, files) == ({WHEEL: _digest(b"same")}, [])
    assert (_identity(index / WHEEL), caplog.messages) == (before, [])


def test_what_is_published_is_never_replaced(
    tmp_path: Path, index: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The result is what the index holds, not what was offered; new files still get in."""
    publish(index, _make(tmp_path / "first", **{WHEEL: b"first"}))
    before = _identity(index / WHEEL)
    files = _make(tmp_path / "second", **{WHEEL: b"second", SDIST: b"new"})
    assert publish(index, files) == (
        {WHEEL: _digest(b"first"), SDIST: _digest(b"new")},
        [SDIST],
    )
    assert _content(index) == {WHEEL: b"first", SDIST: b"new"}
    assert _identity(index / WHEEL) == before
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", f"{WHEEL} is published already, with other content; it stays as it is")
    ]


def test_a_file_that_is_missing_is_named(tmp_path: Path, index: Path) -> None:
    with pytest.raises(InsidersError) as caught:
        publish(index, [*_make(tmp_path / "built", **{WHEEL: b"x"}), tmp_path / SDIST])
    assert caught.value.message == f"cannot publish {SDIST} in {index}: No such file or directory"
    assert _content(index) == {WHEEL: b"x"}


def test_a_copy_that_breaks_off_leaves_no_part_of_it(tmp_path: Path, index: Path) -> None:
    """The limit of file sizes breaks it off, as a full disk would."""
    files = _make(tmp_path / "built", **{SDIST: b"small", WHEEL: 100_000 * b"x"})
    code = """
import resource, sys
from pathlib import Path
from pypi_insiders.errors import InsidersError
from pypi_insiders.store import publish
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    publish(Path(sys.argv[1]), map(Path, sys.argv[2:]))
except InsidersError as error:
    print(error.message)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, index, *files],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert done.stdout == f"cannot publish {WHEEL} in {index}: File too large\n"
    assert _content(index) == {SDIST: b"small"}


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    taken = tmp_path / "file"
    taken.touch()
    with pytest.raises(InsidersError) as caught:
        publish(taken, [])
    assert caught.value.message == f"cannot make the directory {taken}: File exists"


def test_present_and_unpublish_name_what_is_there(tmp_path: Path, index: Path) -> None:
    publish(index, _make(tmp_path / "built", **{WHEEL: b"1", SDIST: b"2", "other": b"3"}))
    names = [SDIST, "missing", WHEEL]
    assert present(index, names) == [SDIST, WHEEL]
    assert unpublish(index, iter(names)) == [SDIST, WHEEL]
    assert unpublish(index, names) == present(index, names) == []
    assert _content(index) == {"other": b"3"}


def test_what_cannot_be_removed_is_named(index: Path) -> None:
    (index / WHEEL).mkdir(parents=True)
    with pytest.raises(InsidersError) as caught:
        unpublish(index, [WHEEL])
    assert caught.value.message == f"cannot remove {index / WHEEL}: Is a directory"
