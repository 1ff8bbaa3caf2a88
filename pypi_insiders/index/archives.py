"""Check the members of sdists and wheels; unpack and pack sdists."""

import csv
import gzip
import os
import re
import stat
import struct
import tarfile
import zipfile
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from pypi_insiders.index import distribution, file_contents, zip_files
from pypi_insiders.index.distribution import DistributionError
from pypi_insiders.util.disk_reserve import Watched, demand_room
from pypi_insiders.util.formatting import listed

_SHOWN = 3
# An sdist of very many members takes minutes to check, unpack and pack again.
_MOST_MEMBERS = 20_000
_MOST_LEVELS = 100
# `installer` reads RECORD into memory as a whole.
_RECORD_LIMIT_BYTES = 16 * 1024 * 1024
# NAME_MAX of ext4 and most other file systems; half of PATH_MAX, which leaves room for the path of
# the directory that the archive is unpacked in. Source: limits.h(0p).
_LONGEST_PART_BYTES = 255
_LONGEST_NAME_BYTES = 2048
_POINTER = b"version https://git-lfs.github.com/spec/v1\n"
_POINTER_LIMIT_BYTES = 1024
_CONTROL = re.compile(r"[\0-\x1f\x7f]")  # uv refuses to install files with any of them
# Source: APPNOTE.TXT, 4.3.16.
_END_OF_ZIP = struct.Struct("<4s16xH")


def check(path: Path) -> None:
    """Check the members of a wheel or an sdist that `file_contents.read` has accepted.

    Raises:
        DistributionError: a member must not be installed or unpacked.
        OSError: the file cannot be read.
    """
    with file_contents.damage_reported(path.name):
        (_check_wheel if distribution.is_wheel(path.name) else _check_sdist)(path)


def _check_wheel(path: Path) -> None:
    """Check that the members of a wheel match its RECORD and stay inside its root.

    Raises:
        DistributionError: they do not.
        OSError: the wheel cannot be read.

    Source: https://packaging.python.org/en/latest/specifications/binary-distribution-format/
    """
    from installer.exceptions import InstallerError
    from installer.sources import WheelFile

    try:
        with zip_files.opened(path) as archive:
            _check_zip(path, archive)
            wheel = WheelFile(archive)
            wheel.validate_record()
            # `validate_record` checks that each file of the archive is in RECORD, not that each
            # entry of RECORD is in the archive: installers would fail half way.
            lines = archive.read(f"{wheel.dist_info_dir}/RECORD").decode().splitlines()
            recorded = {row[0] for row in csv.reader(lines) if row}
            missing = sorted(recorded - set(archive.namelist()))
            pointers = [it.filename for it in archive.infolist() if _is_pointer(archive, it)]
    except WheelFile.validation_error as error:
        issues = listed(_issues(path, error.issues), _SHOWN, "; ")
        raise DistributionError(f"{path.name}: {issues}") from error
    except InstallerError as error:
        raise DistributionError(f"{path.name}: {error}") from error
    if pointers:
        raise DistributionError(
            f"{path.name} has pointers of Git LFS in place of files: {listed(pointers, _SHOWN)}"
        )
    if missing:
        raise DistributionError(
            f"{path.name}: files of its RECORD are missing: {listed(missing, _SHOWN, '; ')}"
        )


def _is_pointer(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bool:
    """Check whether a file of a wheel is what Git LFS keeps in a repository in place of a file.

    Source: https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md, "The Pointer"
    """
    if not len(_POINTER) < member.file_size < _POINTER_LIMIT_BYTES:
        return False
    with archive.open(member) as file:
        return file.read(len(_POINTER)) == _POINTER


def _issues(path: Path, issues: Iterable[str]) -> Iterator[str]:
    # `installer` repeats the full path, which the message starts with already.
    for issue in issues:
        yield issue.replace(f"In {path}, ", "").replace(f" from {path}", "")


def _check_zip(path: Path, archive: zipfile.ZipFile) -> None:
    """Raise for an archive that installers read differently than zipfile does, or not at all."""
    _check_members(path.name, archive.infolist())
    with path.open("rb") as file:
        file.seek(-_END_OF_ZIP.size - len(archive.comment), os.SEEK_END)
        end = _END_OF_ZIP.unpack(file.read(_END_OF_ZIP.size))
    # zipfile and pip search for the list of members from the end; uv accepts nothing but members.
    first = min((member.header_offset for member in archive.infolist()), default=0)
    if first or end != (b"PK\5\6", len(archive.comment)):
        raise DistributionError(
            f"{path.name} has extra bytes before its first member or after its end"
        )


def _check_members(name: str, members: Iterable[zipfile.ZipInfo]) -> None:
    """Raise for members that escape the root, occur twice or are no regular files."""
    # By the sizes that the archive itself states: unpacking stops at them, so it writes no more.
    seen, size_bytes = set(), 0
    for number, member in enumerate(members, 1):
        shown = repr(member.filename)
        _check_limits(name, number, member.filename)
        size_bytes += member.file_size
        is_record = member.filename.endswith(".dist-info/RECORD")
        if size_bytes > file_contents.UNPACKED_LIMIT_BYTES or (
            is_record and member.file_size > _RECORD_LIMIT_BYTES
        ):
            raise DistributionError(f"{name} is too large when unpacked")
        if not is_inside(member.filename):
            raise DistributionError(f"{name} contains {shown}, a path outside the archive")
        # Installers differ in which of both they install, and the check may have read the other.
        if member.filename in seen:
            raise DistributionError(f"{name} contains {shown} twice")
        seen.add(member.filename)
        # Otherwise `a/./b` and `a//b` would be duplicates of `a/b` that `seen` does not notice.
        if {"", "."}.intersection(member.filename.removesuffix("/").split("/")):
            raise DistributionError(f"{name} contains {shown}, which is not a plain path")
        # Archives made on other systems have 0. Some installers create the links of a wheel as
        # links, which may point anywhere.
        kind = stat.S_IFMT(member.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise DistributionError(f"{name} contains {shown}, which is not a regular file")
    _refuse_below_files(name, {it for it in seen if not it.endswith("/")}, seen)


def _refuse_below_files(archive: str, files: set[str], names: Iterable[str]) -> None:
    """Raise for a path that is a file for one member and a directory for another.

    Args:
        archive: the name of the archive.
        files: the paths of its files.
        names: the paths of all members; those of directories end with a slash.
    """
    # Sorted, the members below a file follow it: 20,000 make 400 million pairs.
    ordered = sorted(names)
    for name in files:
        start = f"{name}/"
        at = bisect_left(ordered, start)
        if at < len(ordered) and ordered[at].startswith(start):
            raise DistributionError(f"{archive} contains {name!r} as a file and as a directory")


def is_inside(name: str) -> bool:
    """Return whether a member of an archive stays below the directory that it is unpacked in."""
    # On Windows `\` is a separator and `C:` a drive; a distribution is for any system. Elsewhere a
    # name may contain a `\`: systemd writes `dev-hugepages\x2dmaybe.mount`.
    path = PurePosixPath(name.replace("\\", "/"))
    is_drive = re.match(r"[A-Za-z]:", name) is not None
    return bool(name) and not (path.is_absolute() or ".." in path.parts or is_drive)


def _check_sdist(path: Path) -> None:
    """Check that all members of an sdist are in one directory."""
    if path.name.endswith(".zip"):
        with zip_files.opened(path) as archive:
            _check_zip(path, archive)
            roots = {PurePosixPath(name).parts[0] for name in archive.namelist()}
    else:
        roots, names, links = set(), Counter[str](), set()
        files, directories = set(), set()
        with tarfile.open(path) as archive_of_tar:
            number = 0
            # Not getmembers(), which reads the whole archive before the limits could be checked.
            while (member := archive_of_tar.next()) is not None:
                number += 1
                _check_limits(path.name, number, member.name)
                # tarfile keeps each member for a second pass, which is not made here.
                archive_of_tar.members = []  # type: ignore[attr-defined]  # of very many
                parts, name = PurePosixPath(member.name).parts, os.path.normpath(member.name)
                target = os.path.normpath(member.linkname)
                if (
                    not (parts and is_inside(member.name) and _stays_inside(member, parts[0]))
                    # tarfile has no error class of its own for a link to a later or missing member.
                    or (member.islnk() and target not in files)
                ):
                    shown = repr(member.name)
                    if member.issym() or member.islnk():
                        shown += f", a link to {member.linkname!r}"
                    raise DistributionError(f"{path.name} contains {shown}, which is not allowed")
                roots.add(parts[0])
                names[name] += 1
                if member.islnk():
                    # A hard link is written through its target, so the target must not be behind a
                    # link either; 0, as it is not written a second time.
                    names[target] += 0
                if member.issym():
                    links.add(name)
                elif member.isdir():
                    directories.add(f"{name}/")
                else:
                    files.add(name)
        _refuse_through_links(path.name, names, links)
        _refuse_below_files(path.name, files, {*names, *directories})
    if len(roots) != 1:
        raise DistributionError(f"{path.name} must contain exactly one directory")


def _refuse_through_links(archive: str, names: Counter[str], links: set[str]) -> None:
    """Raise for members that would be written or linked through a link of the same archive."""
    # A chain of links, each of which stays inside, can end outside; tarfile without `data_filter`
    # follows it.
    for name, times in names.items():
        if (name in links and times != 1) or any(
            str(parent) in links for parent in PurePosixPath(name).parents
        ):
            raise DistributionError(f"{archive} contains {name!r}, a path through a link")


def _check_limits(archive: str, number: int, member: str) -> None:
    # Many or deep members would keep the update busy: each is unpacked, checked and packed again.
    if number > _MOST_MEMBERS:
        raise DistributionError(f"{archive} has more than {_MOST_MEMBERS} members")
    if member.count("/") > _MOST_LEVELS:
        raise DistributionError(f"{archive} has directories more than {_MOST_LEVELS} deep")
    parts = [len(part.encode(errors="replace")) for part in member.split("/")]
    is_long = max(parts) > _LONGEST_PART_BYTES or sum(parts) > _LONGEST_NAME_BYTES
    if is_long or _CONTROL.search(member):
        raise DistributionError(f"{archive} contains an invalid file name: {member[:80]!r}")


def _stays_inside(member: tarfile.TarInfo, root: str) -> bool:
    """Return whether a member is a file, a directory, or a link to either in `root`."""
    if member.isfile() or member.isdir():
        return True
    if member.islnk():
        return is_inside(member.linkname)
    if not member.issym() or not member.linkname or member.linkname.startswith("/"):
        return False
    if _CONTROL.search(member.linkname):  # Python's message for a NUL differs by version
        return False
    where = os.path.normpath(str(PurePosixPath(member.name).parent / member.linkname))
    return is_inside(where) and PurePosixPath(where).parts[:1] == (root,)


def unpack_sdist(path: Path, directory: Path, epoch_s: int) -> Path:
    """Unpack an sdist with the modes and times that `pack_sdist` packs; return its root directory.

    Args:
        path: a tar archive.
        directory: an empty directory.
        epoch_s: the time of all unpacked files, in seconds of the epoch.

    Raises:
        DistributionError: the sdist is damaged, does not follow the specification, or has members
            outside of its root.
        DiskFullError: the unpacked files do not fit on the disk.

    Source: https://packaging.python.org/en/latest/specifications/source-distribution-format/
    """
    if not path.name.endswith(".tar.gz"):
        raise DistributionError(f"{path.name} is not a .tar.gz file, as required for an sdist")
    file_contents.read(path)
    check(path)
    # Before anything is written: an archive of zeros of some megabytes fills any disk.
    demand_room(_unpacked_bytes(path))
    with (
        file_contents.damage_reported(path.name),
        gzip.open(path) as stream,
        tarfile.open(fileobj=Watched(stream), mode="r:") as archive,  # type: ignore[call-overload]
    ):
        # PEP 706. Debian 12 has Python 3.11.2, which lacks it, so `check` has made the same checks.
        if hasattr(tarfile, "data_filter"):
            archive.extractall(directory, filter="data")
        else:  # Python 3.11 before 3.11.4
            archive.extractall(directory, _readable(archive))  # noqa: S202 - checked above
    root = next(directory.iterdir())
    if root.is_symlink() or not root.is_dir():
        raise DistributionError(f"{path.name} must contain exactly one directory")
    for item in (*_walk(root), root):
        if not item.is_symlink():
            item.chmod(_mode(item))
        os.utime(item, (epoch_s, epoch_s), follow_symlinks=False)
    return root


def _readable(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    # As the `data` filter does: files of mode 0 could not be read afterwards.
    for member in archive:
        member.mode = 0o755 if member.isdir() or member.mode & stat.S_IXUSR else 0o644
        yield member


def _unpacked_bytes(path: Path) -> int:
    found = 0
    with tarfile.open(path) as archive:
        while (member := archive.next()) is not None:
            archive.members = []  # type: ignore[attr-defined]  # as in `_check_sdist`
            found += member.size
    return found


def pack_sdist(root: Path, target: Path, epoch_s: int) -> None:
    """Pack a directory as an sdist whose bytes depend on its files only.

    Args:
        root: becomes the root directory of the sdist.
        target: the path of the new sdist.
        epoch_s: the time of all members, in seconds of the epoch.

    Source: https://reproducible-builds.org/docs/archives/
    """
    with (
        target.open("xb") as file,
        # An empty name, or gzip writes the name of the temporary file into its header.
        gzip.GzipFile("", "wb", fileobj=file, mtime=epoch_s) as stream,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for path in _walk(root):
            # Not gettarinfo(), which copies owner, group and the full mode from this machine.
            member = tarfile.TarInfo(str(path.relative_to(root.parent)))
            member.mtime, member.mode = epoch_s, 0o644
            if path.is_symlink():
                member.type, member.linkname = tarfile.SYMTYPE, str(path.readlink())
                archive.addfile(member)
            elif path.is_dir():
                # Files imply their directories; only an empty directory needs a member of its own.
                if not any(path.iterdir()):
                    member.type, member.mode = tarfile.DIRTYPE, 0o755
                    archive.addfile(member)
            else:
                member.size, member.mode = path.stat().st_size, _mode(path)
                with path.open("rb") as content:
                    archive.addfile(member, Watched(content))


def _walk(root: Path) -> Iterator[Path]:
    """Yield all paths below a directory in a stable order; follow no link.

    The content of a directory comes before the directory, whose time it would change.
    """
    # No recursion: a repository may nest a thousand directories, and Python's limit is 1000 calls.
    waiting = [iter(sorted(root.iterdir()))]
    above: list[Path] = []
    while waiting:
        path = next(waiting[-1], None)
        if path is None:
            waiting.pop()
            if above:
                yield above.pop()
        elif path.is_dir() and not path.is_symlink():
            above.append(path)
            waiting.append(iter(sorted(path.iterdir())))
        else:
            yield path


def _mode(path: Path) -> int:
    is_executable = path.is_dir() or path.stat().st_mode & stat.S_IXUSR
    return 0o755 if is_executable else 0o644
