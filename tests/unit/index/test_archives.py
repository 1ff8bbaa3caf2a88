"""archives: which members they may have, and how many."""

import gzip
import io
import struct
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from wheels import metadata

from pypi_insiders.index import archives, file_contents
from pypi_insiders.index.distribution import DistributionError


def sdist_of(path: Path, members: Iterable[str]) -> Path:
    """Write an sdist with empty members beside its metadata."""
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        content = metadata("probe", "1.0").encode()
        head = tarfile.TarInfo("probe-1.0/PKG-INFO")
        head.size = len(content)
        archive.addfile(head, io.BytesIO(content))
        for name in members:
            archive.addfile(tarfile.TarInfo(f"probe-1.0/{name}"))
    return path


@pytest.mark.parametrize(
    "name", ["../x", "a/../../x", "/x", "..\\x", "a\\..\\..\\x", "\\x", "C:\\x", "C:x", ""]
)
def test_no_member_leads_outside_on_any_system(name: str) -> None:
    """Installers on Windows split names at backslashes too, and know drives."""
    assert not archives.is_inside(name)
    assert archives.is_inside("a/b..c/x")


@pytest.mark.parametrize(
    ("members", "complaint"),
    [
        ([str(number) for number in range(20_000)], "has more than 20000 members"),
        (["d/" * 101 + "file"], "has directories more than 100 deep"),
    ],
)
def test_an_archive_has_no_more_than_can_be_handled(
    tmp_path: Path, members: list[str], complaint: str
) -> None:
    """Each member is unpacked, checked and packed again."""
    sdist = sdist_of(tmp_path / "probe-1.0.tar.gz", members)
    (tmp_path / "unpacked").mkdir()
    with pytest.raises(DistributionError) as caught:
        archives.unpack_sdist(sdist, tmp_path / "unpacked", 0)
    assert caught.value.message == f"probe-1.0.tar.gz {complaint}"
    assert list((tmp_path / "unpacked").iterdir()) == []
    wheel = tmp_path / "probe-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name in ("probe/first", *members):
            archive.writestr(name, "")
    with pytest.raises(DistributionError) as caught:
        archives.check(wheel)
    assert caught.value.message == f"{wheel.name} {complaint}"


def test_an_archive_is_not_read_for_ever(tmp_path: Path) -> None:
    """Reading ends at some number of members, whoever has put the file there."""
    sdist = tmp_path / "probe-1.0.tar.gz"
    sdist.write_bytes(gzip.compress(tarfile.TarInfo("probe-1.0/file").tobuf() * 100_001, 1))
    with pytest.raises(DistributionError) as caught:
        file_contents.read(sdist)
    assert caught.value.message.endswith("it has more than 100000 members")


def _linked(path: Path, *members: tuple[str, str | None, bytes]) -> Path:
    """Write an sdist of members: name, where a symbolic link leads, type."""
    sdist_of(path, [])
    with tarfile.open(path) as before:
        content = metadata("probe", "1.0").encode()
        head = before.getmember("probe-1.0/PKG-INFO")
    with tarfile.open(path, "w:gz") as archive:
        archive.addfile(head, io.BytesIO(content))
        for name, target, kind in members:
            member = tarfile.TarInfo(f"probe-1.0/{name}")
            member.type, member.linkname = kind, target or ""
            archive.addfile(member)
    return path


LINK, HARD, FILE = tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.REGTYPE


@pytest.mark.parametrize(
    "members",
    [
        [("l", "..", LINK), ("l/m", "..", LINK), ("l/m/x", None, FILE)],
        [("l", "..", LINK), ("l/x", None, FILE)],
        [("l", "PKG-INFO", LINK), ("l", None, FILE)],
        [("l", "..", LINK), ("h", "probe-1.0/l/secret", HARD)],
    ],
    ids=["a chain", "a member", "in its place", "a hard link"],
)
@pytest.mark.parametrize("has_filter", [True, False])
def test_nothing_is_written_or_read_through_a_link(
    tmp_path: Path,
    members: list[tuple[str, str | None, bytes]],
    has_filter: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each link leads nowhere outside by its words; Debian 12 has no filter that looks further."""
    if not has_filter:
        monkeypatch.delattr(tarfile, "data_filter", raising=False)
    root = tmp_path / "a/b/unpacked"
    root.mkdir(parents=True)
    (tmp_path / "a/b/secret").write_text("private")
    sdist = _linked(tmp_path / "probe-1.0.tar.gz", *members)
    with pytest.raises(DistributionError):
        archives.unpack_sdist(sdist, root, 0)
    assert sorted(path.name for path in tmp_path.rglob("*")) == [
        "a", "b", "probe-1.0.tar.gz", "secret", "unpacked",
    ]  # fmt: skip


def test_a_link_within_an_sdist_is_unpacked(tmp_path: Path) -> None:
    """As real ones have it."""
    sdist = _linked(tmp_path / "probe-1.0.tar.gz", ("d/x", None, FILE), ("l", "d/x", LINK))
    root = tmp_path / "unpacked"
    root.mkdir()
    archives.unpack_sdist(sdist, root, 0)
    assert (root / "probe-1.0/l").readlink() == Path("d/x")


def _with_list(path: Path, members: bytes, count: int) -> Path:
    """Write the end of a zip file behind a list of members."""
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, len(members), 0, 0)
    path.write_bytes(members + end)
    return path


_MEMBER = b"PK\1\2" + bytes(24) + b"\1" + bytes(17) + b"x"


@pytest.mark.parametrize("read", [file_contents.read, archives.check])
@pytest.mark.parametrize("name", ["probe-1.0-py3-none-any.whl", "probe-1.0.zip"])
@pytest.mark.parametrize(
    ("members", "count", "complaint"),
    [
        (_MEMBER * 100_001, 5, "it has more than 100000 members"),
        (bytes(16 * 1024 * 1024 + 1), 5, "its list of members is too large"),
    ],
    ids=["many", "large"],
)
def test_a_list_of_members_is_looked_at_before_it_is_read(  # noqa: PLR0913, PLR0917
    tmp_path: Path,
    read: Callable[[Path], object],
    name: str,
    members: bytes,
    count: int,
    complaint: str,
) -> None:
    """Of each member zipfile makes an object, whatever number the end of the file tells."""
    path = _with_list(tmp_path / name, members, count)
    tracemalloc.start()
    with pytest.raises(DistributionError) as caught:
        read(path)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert caught.value.message == f"{name} is damaged: {complaint}"
    assert peak_bytes < 12 * 1024 * 1024


def test_a_record_is_not_too_large(tmp_path: Path) -> None:
    """It is read into memory, and few bytes can become very many."""
    path = tmp_path / "probe-1.0-py3-none-any.whl"
    limit_bytes = archives._RECORD_LIMIT_BYTES
    for size_bytes, complaint in ((limit_bytes, "differs"), (limit_bytes + 1, "too large")):
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("probe-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\n")
            archive.writestr("probe-1.0.dist-info/METADATA", metadata("probe", "1.0"))
            archive.writestr("probe-1.0.dist-info/RECORD", bytes(size_bytes))
        with pytest.raises(DistributionError) as caught:
            archives.check(path)
        is_refused = caught.value.message == f"{path.name} is too large when it is unpacked"
        assert is_refused is (complaint == "too large")
