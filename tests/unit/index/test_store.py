"""The directory that the index serves: files appear whole, and never change."""

import hashlib
import os
import stat
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
from wheels import metadata, sdist, wheel

from pypi_insiders.index import store
from pypi_insiders.index.distribution import DistributionError
from pypi_insiders.index.metadata_cache import Identity, MetadataCache, Origin
from pypi_insiders.index.store import present, publish, sweep, unpublish
from pypi_insiders.util import files
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import sha256

WHEEL, SDIST = "my_dist-1.0-py3-none-any.whl", "my_dist-1.0.tar.gz"


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _built(directory: Path, content: bytes = b"") -> list[Path]:
    return [
        wheel(directory, "my-dist", "1.0", "Requires-Python: >=3.8", content=content),
        sdist(directory, "my-dist", "1.0", content=content),
    ]


def _content(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def _identity(path: Path) -> Identity:
    return Identity.of(path.stat())


@pytest.fixture
def index(tmp_path: Path) -> Path:
    return tmp_path / "made/dists"


@pytest.fixture
def record(tmp_path: Path, index: Path) -> MetadataCache:
    return MetadataCache(tmp_path / "state/record.sqlite", index)


@pytest.mark.parametrize(
    "name",
    [
        "My_Dist-1.0-py3-none-any.whl",
        "my.dist-1.0.0-py3-none-any.whl",
        "my_dist-1.0-PY3-none-any.whl",
    ],
)
def test_a_published_wheel_gets_no_twin(
    tmp_path: Path, index: Path, record: MetadataCache, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Installers would have the choice between two files of one name in two spellings."""
    publish(index, record, _built(tmp_path / "built"))
    before = _content(index)
    (tmp_path / "other").mkdir()
    twin = wheel(tmp_path / "other", "my-dist", "1.0", content=b"other").rename(tmp_path / name)
    assert publish(index, record, [twin]) == ({}, [])
    assert _content(index) == before
    assert caplog.messages == [f"{name} is already published as {WHEEL}; keeping the old file"]


def test_another_file_of_a_release_is_no_twin(
    tmp_path: Path, index: Path, record: MetadataCache
) -> None:
    """Nor is a lost file of two that were published by an older version."""
    publish(index, record, _built(tmp_path / "built"))
    others = [
        wheel(tmp_path / "built", "my-dist", "1.0", tag="py2-none-any"),
        wheel(tmp_path / "built", "my-dist", "1.1"),
        wheel(tmp_path / "built", "my-dist-2", "1.0"),
    ]
    assert publish(index, record, others)[1] == [path.name for path in others]
    (index / WHEEL).rename(index / f"My_Dist{WHEEL[7:]}")
    assert publish(index, record, [tmp_path / "built" / WHEEL])[1] == [WHEEL]


def test_files_are_copied_readable_for_all_and_hashed(
    tmp_path: Path, index: Path, record: MetadataCache
) -> None:
    files = _built(tmp_path / "built", os.urandom(300_000))
    for file in files:
        file.chmod(0o600)
    content = _content(tmp_path / "built")
    digests = {name: _digest(content[name]) for name in (WHEEL, SDIST)}
    assert publish(index, record, iter(files)) == (digests, [WHEEL, SDIST])
    assert _content(index) == content == _content(tmp_path / "built")
    assert [stat.S_IMODE((index / name).stat().st_mode) for name in content] == [0o644, 0o644]
    assert [(index / name).stat().st_nlink for name in content] == [1, 1]
    assert sha256(index / WHEEL) == digests[WHEEL]


def test_what_is_published_is_in_the_record(
    tmp_path: Path, index: Path, record: MetadataCache
) -> None:
    """The index needs not read it once more."""
    before_us = time.time_ns() // 1000
    origin = Origin("ns/proj", "v1.0", "c0ffee")
    publish(index, record, _built(tmp_path / "built"), origin)
    entry = record.entry(WHEEL)
    assert entry is not None
    assert entry.identity == _identity(index / WHEEL)
    assert (entry.project, entry.version, entry.requires_python) == ("my-dist", "1.0", ">=3.8")
    assert (entry.origin, entry.problem) == (origin, None)
    assert before_us <= entry.published_us <= time.time_ns() // 1000
    text = metadata("my-dist", "1.0", "Requires-Python: >=3.8").encode()
    assert (entry.metadata_sha256, record.metadata(entry)) == (_digest(text), text)


def test_the_directory_is_made_even_for_no_file(index: Path, record: MetadataCache) -> None:
    assert publish(index, record, []) == ({}, [])
    assert _content(index) == {}


def test_the_same_content_again_is_done_already(
    tmp_path: Path, index: Path, record: MetadataCache, caplog: pytest.LogCaptureFixture
) -> None:
    files = _built(tmp_path / "built")[:1]
    digests = {WHEEL: sha256(files[0])}
    assert publish(index, record, files) == (digests, [WHEEL])
    before = _identity(index / WHEEL), record.entry(WHEEL)
    assert publish(index, record, files) == (digests, [])
    assert ((_identity(index / WHEEL), record.entry(WHEEL)), caplog.messages) == (before, [])


def test_what_is_published_is_never_replaced(
    tmp_path: Path, index: Path, record: MetadataCache, caplog: pytest.LogCaptureFixture
) -> None:
    """What is not ours is not among the result either; new files still get in."""
    first, _ = _built(tmp_path / "first", b"1")
    publish(index, record, [first])
    before = _identity(index / WHEEL), record.entry(WHEEL)
    files = _built(tmp_path / "second", b"2")
    intended: list[dict[str, str]] = []
    new = {SDIST: sha256(files[1])}
    assert publish(index, record, files, intend=intended.append) == (new, [SDIST])
    # After a kill, what was intended is taken back.
    assert intended == [new]
    assert (_identity(index / WHEEL), record.entry(WHEEL)) == before
    assert [(entry.levelname, entry.getMessage()) for entry in caplog.records] == [
        ("WARNING", f"{WHEEL} is already published with different content; keeping the old file")
    ]


def test_what_has_come_meanwhile_is_never_replaced(
    tmp_path: Path, index: Path, record: MetadataCache
) -> None:
    """Between the look whether there is one and the moment when ours gets its name."""
    files = _built(tmp_path / "built")

    def come(_wanted: object) -> None:
        (index / WHEEL).write_bytes(b"of somebody else")

    digests, new = publish(index, record, iter(files), intend=come)
    assert (new, list(digests)) == ([SDIST], [SDIST])
    assert (index / WHEEL).read_bytes() == b"of somebody else"
    assert record.entry(WHEEL) is None


@pytest.mark.parametrize("kind", ["pipe", "directory", "link", "dangling link"])
def test_what_is_no_file_is_let_be(
    tmp_path: Path, index: Path, record: MetadataCache, kind: str
) -> None:
    """Nobody waits for a pipe, and nothing goes through a link."""
    wheel, _ = _built(tmp_path / "built")
    index.mkdir(parents=True)
    if kind == "pipe":
        os.mkfifo(index / WHEEL)
    elif kind == "directory":
        (index / WHEEL).mkdir()
    else:
        (index / WHEEL).symlink_to(wheel if kind == "link" else tmp_path / "nowhere")
    before = (index / WHEEL).lstat()
    assert publish(index, record, [wheel]) == ({}, [])
    assert (index / WHEEL).lstat() == before
    assert not (tmp_path / "nowhere").exists()


def test_what_was_left_unfinished_is_swept(
    tmp_path: Path, index: Path, record: MetadataCache, caplog: pytest.LogCaptureFixture
) -> None:
    """By the age of an hour; what is being published now stays, and so does what is not ours."""
    publish(index, record, _built(tmp_path / "built"))
    left = [index / f".{WHEEL}.x7f_3a_b", index / ".upload-abc"]
    kept = [index / f".{SDIST}.abcdefgh", index / ".upload-def", index / ".gitignore",
            index / ".yanked.json", index / f"{SDIST}.sha256"]  # fmt: skip
    for path in (*left, *kept):
        if ".upload" in path.name:
            path.mkdir()
            (path / SDIST).touch()
        else:
            path.touch()
    for path in (*left, *kept[2:], index / WHEEL):
        os.utime(path, (1, 1))
    with caplog.at_level("INFO"):
        sweep(index)
    assert set(index.iterdir()) == {index / WHEEL, index / SDIST, *kept}
    assert sorted(caplog.messages) == sorted(f"removed the unfinished {path}" for path in left)


def test_one_that_is_gone_meanwhile_does_not_end_the_sweep(
    index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was listed, and then finished by the process that wrote it."""
    index.mkdir(parents=True)
    for end in "abc":
        path = index / f".{WHEEL}.x7f_3a_{end}"
        path.touch()
        os.utime(path, (1, 1))
    with os.scandir(index) as items:
        _, second, _ = (Path(item.path) for item in items)

    def is_left(status: os.stat_result) -> bool:
        second.unlink(missing_ok=True)
        return files.is_left(status)

    monkeypatch.setattr(store, "is_left", is_left)
    sweep(index)
    assert list(index.iterdir()) == []


def test_a_file_that_is_missing_is_named(
    tmp_path: Path, index: Path, record: MetadataCache
) -> None:
    """Nothing at all is published then."""
    wheel, _ = _built(tmp_path / "built")
    with pytest.raises(InsidersError) as caught:
        publish(index, record, [wheel, tmp_path / SDIST])
    assert caught.value.message == f"cannot publish {SDIST} in {index}: No such file or directory"
    assert _content(index) == {}


def test_a_file_that_is_another_release_than_its_name_says_is_refused(
    tmp_path: Path, index: Path, record: MetadataCache
) -> None:
    """Nothing at all is published then."""
    wheel, sdist = _built(tmp_path / "built")
    lying = wheel.rename(wheel.with_name("other-1.0-py3-none-any.whl"))
    with pytest.raises(DistributionError) as caught:
        publish(index, record, [sdist, lying])
    assert caught.value.message == f"{lying.name} has the metadata of my-dist 1.0"
    assert (_content(index), record.entries()) == ({}, {})


def test_a_file_that_is_unsafe_to_unpack_is_refused(
    tmp_path: Path, index: Path, record: MetadataCache
) -> None:
    """And the release with it."""
    files = _built(tmp_path / "built")
    with zipfile.ZipFile(files[0], "a") as archive:
        archive.writestr("../outside", "")
    with pytest.raises(DistributionError, match="outside"):
        publish(index, record, files)
    assert (_content(index), record.entries()) == ({}, {})


def test_files_are_on_disk_before_they_are_visible_and_their_names_after(
    tmp_path: Path, index: Path, record: MetadataCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a power failure a published file is whole, and still there. Source: fsync(2)."""
    index.mkdir(parents=True)
    synced = list[tuple[int, list[str]]]()
    real = os.fsync

    def fsync(descriptor: int) -> None:
        seen = sorted(path.name for path in index.iterdir() if not path.name.startswith("."))
        synced.append((os.fstat(descriptor).st_ino, seen))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    publish(index, record, _built(tmp_path / "built"))
    nodes = {name: (index / name).stat().st_ino for name in (WHEEL, SDIST)}
    assert synced == [
        (nodes[WHEEL], []), (nodes[SDIST], []), (index.stat().st_ino, [WHEEL, SDIST]),
    ]  # fmt: skip


def test_a_copy_that_breaks_off_leaves_nothing(tmp_path: Path, index: Path) -> None:
    """The limit of file sizes breaks it off, as a full disk would; no other file is visible."""
    small = sdist(tmp_path / "built", "my-dist", "1.0")
    large = wheel(tmp_path / "built", "my-dist", "1.0", content=100_000 * b"x")
    code = """
import resource, sys
from pathlib import Path
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.index.metadata_cache import MetadataCache
from pypi_insiders.index.store import publish
index = Path(sys.argv[1])
record = MetadataCache(Path(":memory:"), index)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    publish(index, record, map(Path, sys.argv[2:]))
except InsidersError as error:
    print(error.message)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, index, small, large],
        capture_output=True, text=True, check=True, timeout=60, cwd=tmp_path,
    )  # fmt: skip
    assert done.stdout == f"cannot publish {WHEEL} in {index}: File too large\n"
    assert _content(index) == {}


def test_all_files_are_visible_or_none(tmp_path: Path, index: Path, record: MetadataCache) -> None:
    """The second one fails when the first one is visible; what was known before stays known."""
    files = _built(tmp_path / "built")
    publish(index, record, files)
    before = record.entries()
    (index / WHEEL).unlink()
    (index / SDIST).unlink()
    intended: list[dict[str, str]] = []

    def intend(hashes: dict[str, str]) -> None:
        intended.append(hashes)
        (copy,) = index.glob(f".{SDIST}.*")
        copy.unlink()

    with pytest.raises(InsidersError, match=f"cannot publish {SDIST}"):
        publish(index, record, files, intend=intend)
    assert intended == [{file.name: sha256(file) for file in files}]
    assert (_content(index), record.entries()) == ({}, before)
    assert publish(index, record, files)[1] == [WHEEL, SDIST]


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path, record: MetadataCache) -> None:
    taken = tmp_path / "file"
    taken.touch()
    with pytest.raises(InsidersError) as caught:
        publish(taken, record, [])
    assert caught.value.message == f"cannot create the directory {taken}: File exists"


def test_present_and_unpublish_name_what_is_there(
    tmp_path: Path, index: Path, record: MetadataCache
) -> None:
    publish(index, record, _built(tmp_path / "built"))
    (index / "other").touch()
    names = [SDIST, "missing", WHEEL]
    assert present(index, names) == [SDIST, WHEEL]
    assert unpublish(index, iter(names)) == [SDIST, WHEEL]
    assert unpublish(index, names) == present(index, names) == []
    assert list(_content(index)) == ["other"]


def test_what_cannot_be_removed_is_named(index: Path) -> None:
    (index / WHEEL).mkdir(parents=True)
    with pytest.raises(InsidersError) as caught:
        unpublish(index, [WHEEL])
    assert caught.value.message == f"cannot remove {index / WHEEL}: Is a directory"
