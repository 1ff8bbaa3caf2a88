"""archives: which members they may have, and how many."""

import csv
import gzip
import hashlib
import io
import os
import struct
import sys
import tarfile
import tracemalloc
import zipfile
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from wheels import metadata

from pypi_insiders.index import archives, file_contents, zip_files
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
    # A file of systemd, for one; pip and uv install it on Linux as it is.
    assert archives.is_inside("units/dev-hugepages\\x2dmaybe.mount")


@pytest.mark.parametrize(
    ("members", "complaint"),
    [
        ([str(number) for number in range(200)], "has more than 200 members"),
        (["d/" * 101 + "file"], "has directories more than 100 deep"),
    ],
)
def test_an_archive_has_no_more_than_can_be_handled(
    tmp_path: Path, members: list[str], complaint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each member is unpacked, checked and packed again."""
    assert archives._MOST_MEMBERS == 20_000
    monkeypatch.setattr(archives, "_MOST_MEMBERS", 200)
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


def test_an_archive_is_not_read_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading ends at some number of members, whoever has put the file there."""
    assert zip_files.MOST_MEMBERS == 100_000
    monkeypatch.setattr(file_contents, "MOST_MEMBERS", 200)
    sdist = tmp_path / "probe-1.0.tar.gz"
    sdist.write_bytes(gzip.compress(tarfile.TarInfo("probe-1.0/file").tobuf() * 201, 1))
    with pytest.raises(DistributionError) as caught:
        file_contents.read(sdist)
    assert caught.value.message.endswith("it has more than 200 members")


@pytest.mark.parametrize("end", ["-py3-none-any.whl", ".tar.gz", ".zip"])
def test_a_fifo_in_the_place_of_a_file_is_not_waited_for(end: str, tmp_path: Path) -> None:
    """It may come between a look at the file and its opening."""
    os.mkfifo(fifo := tmp_path / f"probe-1.0{end}")
    with pytest.raises(DistributionError, match=r"is damaged: .* it is a FIFO, not a file"):
        file_contents.read(fifo)


LINK, HARD, FILE = tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.REGTYPE
DIRECTORY = tarfile.DIRTYPE


def _member(name: str, kind: bytes = FILE, target: str = "", **fields: str) -> tarfile.TarInfo:
    member = tarfile.TarInfo(f"probe-1.0/{name}")
    member.type, member.linkname, member.pax_headers = kind, target, fields
    return member


def _sdist(path: Path, *members: tarfile.TarInfo) -> Path:
    """Write an sdist of these members, which are empty, and its metadata."""
    content = metadata("probe", "1.0").encode()
    head = _member("PKG-INFO")
    head.size = len(content)
    with tarfile.open(path, "w:gz", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(head, io.BytesIO(content))
        for member in members:
            archive.addfile(member)
    return path


@pytest.mark.parametrize(
    "members",
    [
        [_member("d/l", LINK, ".."), _member("d/l/m", LINK, "../.."), _member("d/l/m/x")],
        [_member("d/l", LINK, ".."), _member("d/l/x")],
        [_member("l", LINK, "PKG-INFO"), _member("l")],
        [_member("d/l", LINK, ".."), _member("h", HARD, "probe-1.0/d/l/PKG-INFO")],
    ],
    ids=["a chain", "a member", "in its place", "a hard link"],
)
@pytest.mark.parametrize("has_filter", [True, False])
def test_nothing_is_written_or_read_through_a_link(
    tmp_path: Path,
    members: list[tarfile.TarInfo],
    has_filter: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each link leads nowhere outside by its words; Debian 12 has no filter that looks further."""
    if not has_filter:
        monkeypatch.delattr(tarfile, "data_filter", raising=False)
    root = tmp_path / "a/b/unpacked"
    root.mkdir(parents=True)
    (tmp_path / "a/b/secret").write_text("private")
    sdist = _sdist(tmp_path / "probe-1.0.tar.gz", *members)
    with pytest.raises(DistributionError):
        archives.unpack_sdist(sdist, root, 0)
    assert sorted(path.name for path in tmp_path.rglob("*")) == [
        "a", "b", "probe-1.0.tar.gz", "secret", "unpacked",
    ]  # fmt: skip


def test_a_link_within_an_sdist_is_unpacked(tmp_path: Path) -> None:
    """As real ones have it."""
    sdist = _sdist(tmp_path / "probe-1.0.tar.gz", _member("d/x"), _member("l", LINK, "d/x"))
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
        is_refused = caught.value.message == f"{path.name} is too large when unpacked"
        assert is_refused is (complaint == "too large")


def _wheel(path: Path, members: dict[str, str]) -> Path:
    """Write a wheel whose RECORD is right."""
    content = {
        **members,
        "probe-1.0.dist-info/METADATA": metadata("probe", "1.0"),
        "probe-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\n",
    }
    record = io.StringIO()
    for name, text in content.items():
        digest = urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")
        csv.writer(record).writerow((name, f"sha256={digest}", len(text.encode())))
    record.write("probe-1.0.dist-info/RECORD,,\n")
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in content.items():
            archive.writestr(name, text)
        archive.writestr("probe-1.0.dist-info/RECORD", record.getvalue())
    return path


def test_a_pointer_of_git_lfs_is_no_file_of_a_wheel(tmp_path: Path) -> None:
    """What installers would get in place of the file, told by its first line."""
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
    path = _wheel(tmp_path / "probe-1.0-py3-none-any.whl", {"probe/model.bin": pointer})
    with pytest.raises(DistributionError) as caught:
        archives.check(path)
    assert caught.value.message == (
        f"{path.name} has pointers of Git LFS in place of files: probe/model.bin"
    )
    other = {"probe/a": f"# {pointer}", "probe/b": pointer + 1000 * "x", "probe/c": "version"}
    archives.check(_wheel(tmp_path / "probe-1.1-py3-none-any.whl", other))


_TWICE = "contains 'probe/a' as a file and as a directory"
_NO_NAME = "contains an invalid file name: "


@pytest.mark.parametrize(
    ("members", "complaint"),
    [
        (["probe/a.py", "probe/./a.py"], "contains 'probe/./a.py', which is not a plain path"),
        (["probe/a.py", "probe//a.py"], "contains 'probe//a.py', which is not a plain path"),
        (["./a.py"], "contains './a.py', which is not a plain path"),
        (["../a.py"], "contains '../a.py', a path outside the archive"),
        (["probe/a", "probe/a/b.py"], _TWICE),
        (["probe/a/b.py", "probe/a"], _TWICE),
        (["probe/a/", "probe/a"], _TWICE),
        ([254 * "é"], f"{_NO_NAME}{80 * 'é'!r}"),
        (["/".join(99 * ["probe" * 5])], f"{_NO_NAME}{'/'.join(4 * ['probe' * 5])[:80]!r}"),
        (["a\x1b[2J"], f"{_NO_NAME}'a\\x1b[2J'"),
    ],
)
def test_a_wheel_has_names_that_installers_take_alike(
    tmp_path: Path, members: list[str], complaint: str
) -> None:
    """What is one file for them, or none, is not published."""
    path = tmp_path / "probe-1.0-py3-none-any.whl"
    archives.check(_wheel(path, {"probe/a.b": "", "probe/a-b/": "", "probe/a/b.py": ""}))
    with pytest.raises(DistributionError) as caught:
        archives.check(_wheel(path, dict.fromkeys(members, "")))
    assert caught.value.message == f"{path.name} {complaint}"


def test_a_wheel_has_each_file_once(tmp_path: Path) -> None:
    """Installers differ in which of two they install."""
    path = _wheel(tmp_path / "probe-1.0-py3-none-any.whl", {"probe.py": ""})
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("probe.py", "")
    with pytest.raises(DistributionError) as caught:
        archives.check(path)
    assert caught.value.message == f"{path.name} contains 'probe.py' twice"


def test_a_wheel_has_nothing_that_its_record_does_not_list(tmp_path: Path) -> None:
    path = _wheel(tmp_path / "probe-1.0-py3-none-any.whl", {"probe.py": ""})
    archives.check(path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("other.py", "")
    with pytest.raises(DistributionError, match=r"other\.py is not mentioned in RECORD"):
        archives.check(path)


def test_an_sdist_is_one_directory(tmp_path: Path) -> None:
    """Frontends build what they find in the first one."""
    other = tarfile.TarInfo("other-1.0/x")
    sdist = _sdist(tmp_path / "probe-1.0.tar.gz", other)
    with pytest.raises(DistributionError) as caught:
        archives.check(sdist)
    assert caught.value.message == f"{sdist.name} must contain exactly one directory"


@pytest.mark.parametrize("around", [(b"#!/bin/sh\n", b""), (b"", b"more"), (b"", bytes(22))])
def test_a_wheel_is_all_of_its_file(tmp_path: Path, around: tuple[bytes, bytes]) -> None:
    """pip would install it, and uv would not."""
    path = _wheel(tmp_path / "probe-1.0-py3-none-any.whl", {})
    before, after = around
    path.write_bytes(before + path.read_bytes() + after)
    with pytest.raises(DistributionError) as caught:
        archives.check(path)
    told = f"{path.name} has extra bytes before its first member or after its end"
    assert caught.value.message == told


def test_a_comment_belongs_to_a_wheel(tmp_path: Path) -> None:
    """The end of a zip file says how long that is."""
    path = _wheel(tmp_path / "probe-1.0-py3-none-any.whl", {})
    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = b"signed"
    archives.check(path)


_LINK = "contains 'probe-1.0/a', a link to "
_BOTH = "contains 'probe-1.0/a' as a file and as a directory"


@pytest.mark.parametrize(
    ("members", "complaint"),
    [
        ([_member("a"), _member("a/b")], _BOTH),
        ([_member("a/b"), _member("a")], _BOTH),
        ([_member("a", DIRECTORY), _member("a")], _BOTH),
        ([_member("a"), _member("a", DIRECTORY)], _BOTH),
        ([_member(".")], "contains 'probe-1.0' as a file and as a directory"),
        ([_member(256 * "a")], f"{_NO_NAME}{'probe-1.0/' + 70 * 'a'!r}"),
        ([_member("a", path="probe-1.0/a\0b")], f"{_NO_NAME}'probe-1.0/a\\x00b'"),
        ([_member("a", LINK, linkpath="a\0b")], f"{_LINK}'a\\x00b', which is not allowed"),
        ([_member("a", LINK, "..")], f"{_LINK}'..', which is not allowed"),
        ([_member("a", LINK, "../other/b")], f"{_LINK}'../other/b', which is not allowed"),
        ([_member("a", HARD, "probe-1.0/b")], f"{_LINK}'probe-1.0/b', which is not allowed"),
        ([_member("a", HARD, "probe-1.0/a")], f"{_LINK}'probe-1.0/a', which is not allowed"),
        ([_member("a", HARD, "probe-1.0")], f"{_LINK}'probe-1.0', which is not allowed"),
        ([_member("a", mtime="nan")], "is damaged: Invalid value NaN (not a number)"),
        ([_member("a", mtime="1e400")], "is damaged: timestamp out of range for platform time_t"),
    ],
)
def test_what_cannot_be_unpacked_is_the_fault_of_the_sdist(
    tmp_path: Path, members: list[tarfile.TarInfo], complaint: str
) -> None:
    """No error of the system, and no bug: its tag has failed, and is not built each time anew."""
    sdist = _sdist(tmp_path / "probe-1.0.tar.gz", *members)
    (tmp_path / "unpacked").mkdir()
    with pytest.raises(DistributionError) as caught:
        archives.unpack_sdist(sdist, tmp_path / "unpacked", 0)
    assert caught.value.message == f"{sdist.name} {complaint}"


# From Python 3.14 on, tarfile itself needs the filter.
@pytest.mark.parametrize("has_filter", [True, False][: 1 if sys.version_info >= (3, 14) else 2])
def test_a_directory_that_is_closed_in_an_sdist_is_open(
    tmp_path: Path, has_filter: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Debian 12 has no filter that opens it, and nobody could list it."""
    if not has_filter:
        monkeypatch.delattr(tarfile, "data_filter", raising=False)
    closed = _member("d", DIRECTORY)
    closed.mode = 0
    sdist = _sdist(tmp_path / "probe-1.0.tar.gz", closed, _member("d/x"))
    (tmp_path / "unpacked").mkdir()
    root = archives.unpack_sdist(sdist, tmp_path / "unpacked", 0)
    assert (root / "d/x").is_file()
    assert (root / "d").stat().st_mode & 0o777 == 0o755
