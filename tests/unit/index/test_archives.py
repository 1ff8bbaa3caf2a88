"""archives: which members they may have, and how many."""

import gzip
import io
import tarfile
import zipfile
from collections.abc import Iterable
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
