"""Read what a distribution file says about itself."""

import contextlib
import errno
import gzip
import hashlib
import re
import tarfile
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from packaging.utils import (
    InvalidName,
    InvalidSdistFilename,
    InvalidWheelFilename,
    NormalizedName,
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)
from packaging.version import InvalidVersion, Version

from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.values import dataclass

_SDIST_ENDS = (".tar.gz", ".zip")
# What is or was a distribution, or is taken for one: pip and uv read some of these to this day.
_ARCHIVE = re.compile(
    r"\.(?:whl|egg|zip|7z|conda|deb|dmg|exe|msi|rpm|tgz|taz|tbz2?|txz|tzst|tlz|tar(?:\.\w+)?)\Z",
    re.IGNORECASE,
)
# A form that nobody has heard of, after a version.
_UNKNOWN = re.compile(r"\.[a-z]\w*\Z", re.IGNORECASE)
_VERSION_AFTER = re.compile(r"[-_ ]+(?=v?\d)", re.IGNORECASE)
_NO_ARCHIVE = re.compile(
    r"\.(?:asc|bak|cfg|crdownload|csv|damaged|html|ini|json|lock|log|md|md5|metadata|old|part|pdf"
    r"|png|provenance|py|rst|sh|sha256|sha512|sig|svg|swp|tmp|toml|txt|xml|ya?ml)",
    re.IGNORECASE,
)
_LINE_CHARS = 400
_FILE_NAME = re.compile(r"[A-Za-z0-9._+!-]+")
_FIELD = re.compile(rb"([!-9;-~]+):")
_LOOKED_AT = (b"name", b"version", b"requires-python")
_LOOKED_AT_LIMIT_BYTES = 64 * 1024
_METADATA_LIMIT_BYTES = 4 * 1024 * 1024
_HEAD_LIMIT_BYTES = 1024 * 1024
_MOST_MEMBERS = 100_000
_UNPACKED_LIMIT_BYTES = 4 * 1024 * 1024 * 1024


class DistributionError(InsidersError):
    """A file is no sdist or wheel, or does not agree with its own name.

    Args:
        message: foreign text in it becomes part of one line of bearable length.
    """

    def __init__(self, message: str) -> None:
        line = "".join(char if char.isprintable() else "?" for char in message[:_LINE_CHARS])
        super().__init__(line)


@dataclass(frozen=True)
class Contents:
    """What one file holds, as far as an index tells it."""

    sha256: str
    """Hexadecimal."""
    metadata: bytes
    """The core metadata: `METADATA` of a wheel, `PKG-INFO` of an sdist."""
    requires_python: str | None


def is_wheel(name: str) -> bool:
    """Tell a wheel by its file name."""
    return name.endswith(".whl")


def release_of(name: str) -> tuple[NormalizedName, Version]:
    """Read project and version off the name of an sdist or wheel.

    Raises:
        DistributionError: it is not the name of either.

    Source: https://packaging.python.org/en/latest/specifications/binary-distribution-format/
    """
    if not _FILE_NAME.fullmatch(name):
        # No specification allows them, in the tags of a wheel neither, and each would mean
        # something else in a URL, a page, a header or a log.
        raise DistributionError(f"{name!r} has characters that no wheel and no sdist has")
    try:
        # Both functions of `packaging` take what no specification allows in a project's name.
        if is_wheel(name):
            project, version, _, _ = parse_wheel_filename(name)
            return canonicalize_name(project, validate=True), version
        if name.endswith(_SDIST_ENDS):
            project, version = parse_sdist_filename(name)
            return canonicalize_name(project, validate=True), version
    except (InvalidWheelFilename, InvalidSdistFilename, ValueError) as error:
        raise DistributionError(f"{name}: {error}") from error
    raise DistributionError(f"{name} is neither a wheel nor an sdist")


def possible_projects(name: str) -> frozenset[str]:
    """Return the projects of which a file may be that `release_of` rejects; empty for no archive.

    An old form (`x-1.0.tgz`, `x-1.0.egg`), one that is new or unknown after a version
    (`x-1.0.tar.zst`, `x-1.0.lz`), a build tag that is none, a name without a version: a file that
    nobody can be given still says that its project is private. Where it is not clear which part is
    the name, every reading counts.

    Args:
        name: a file name.

    Returns:
        Normalized names.
    """
    match = _ARCHIVE.search(name)
    if match is None:
        match = _UNKNOWN.search(name)
        has_version = _VERSION_AFTER.search(name)
        if match is None or has_version is None or _NO_ARCHIVE.fullmatch(match[0]):
            return frozenset()
    stem = name[: match.start()]
    cuts = [cut.start() for cut in _VERSION_AFTER.finditer(stem)]
    if not cuts:
        cuts = [*(cut.start() for cut in re.finditer("-", stem))] or [len(stem)]
    readings = [stem[:at] for at in cuts]
    found = set()
    for reading in readings:
        with contextlib.suppress(InvalidName):
            found.add(canonicalize_name(reading.strip(), validate=True))
    return frozenset(found)


def projects_of(name: str) -> frozenset[str]:
    """Return the projects of which a file is or may be: one, where it is a wheel or an sdist."""
    try:
        return frozenset([release_of(name)[0]])
    except DistributionError:
        return possible_projects(name)


def releases(names: Iterable[str]) -> Iterator[tuple[str, NormalizedName, Version]]:
    """Read project and version off each file name that is that of an sdist or wheel.

    Args:
        names: of files; others, such as those that start with a dot, are left out.
    """
    for name in names:
        try:
            yield name, *release_of(name)
        except DistributionError:
            continue


def read(path: Path, name: str | None = None) -> Contents:
    """Read and check one distribution file.

    Args:
        path: the file.
        name: the file name that it has in the index; by default its own.

    Raises:
        DistributionError: it is damaged, or its metadata names another release than its name.
        OSError: it cannot be read.

    Source: https://packaging.python.org/en/latest/specifications/core-metadata/
    """
    name = name or path.name
    project, version = release_of(name)
    try:
        metadata = _wheel_metadata(path) if is_wheel(name) else _sdist_metadata(path, name)
        claimed, requires_python = _understand(name, metadata)
    except DistributionError:
        raise
    except Exception as error:
        # What archives and metadata that are damaged make the standard library raise is said
        # nowhere: struct.error, LZMAError, OverflowError, an OSError without a number, and more.
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise  # EINVAL: it points to before its own begin
        raise DistributionError(f"{name} is damaged: {error}") from error
    if claimed != (project, version):
        raise DistributionError(f"{name} says of itself that it is {claimed[0]} {claimed[1]}")
    return Contents(sha256(path), metadata, requires_python)


def sha256(path: Path) -> str:
    """Hash a file; hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _understand(name: str, metadata: bytes) -> tuple[tuple[NormalizedName, Version], str | None]:
    from packaging.metadata import parse_email  # large, and most files are known already
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    fields, _ = parse_email(_looked_at(metadata))
    try:
        release = canonicalize_name(fields.get("name", "")), Version(fields.get("version", ""))
    except InvalidVersion as error:
        raise DistributionError(f"{name} has a wrong version in its metadata: {error}") from error
    requires_python = fields.get("requires_python")
    if requires_python is not None:
        try:
            SpecifierSet(requires_python)
        except InvalidSpecifier:
            return release, None  # as if it said nothing: installers would drop the whole file
    return release, requires_python


def _looked_at(metadata: bytes) -> bytes:
    """Return the lines of the fields that are looked at.

    Of all of them, or of a body in parts of parts, `email` and `packaging` take a time that grows
    with the square of their number. Source: RFC 5322, 2.2; `headerRE` in email.feedparser.
    """
    kept, is_kept = b"", False
    for line in metadata.splitlines(keepends=True):
        if line[:1] not in (b" ", b"\t"):
            match = _FIELD.match(line)
            if match is None and not line.startswith(b"From "):
                break
            is_kept = match is not None and match[1].lower() in _LOOKED_AT
        if is_kept:
            kept += line
            if len(kept) > _LOOKED_AT_LIMIT_BYTES:
                raise ValueError("its metadata is too large")
    return kept


def _wheel_metadata(path: Path) -> bytes:
    with zipfile.ZipFile(path) as archive:
        _check_number(len(archive.infolist()))
        return _member(
            archive,
            [
                name
                for name in archive.namelist()
                if name.count("/") == 1 and name.endswith(".dist-info/METADATA")
            ],
            "METADATA",
        )


def _member(archive: zipfile.ZipFile, names: list[str], what: str) -> bytes:
    if len(names) != 1:
        raise ValueError(f"it has {len(names)} {what} files")
    with archive.open(names[0]) as file:
        return _limited(file.read(_METADATA_LIMIT_BYTES + 1))


def _limited(content: bytes) -> bytes:
    if len(content) > _METADATA_LIMIT_BYTES:
        raise ValueError("its metadata is too large")
    return content


def _sdist_metadata(path: Path, name: str) -> bytes:
    """Read `PKG-INFO`; a tar archive to its end, for only so it is known to be complete."""
    if name.endswith(".zip"):
        with zipfile.ZipFile(path) as archive:
            _check_number(len(archive.infolist()))
            names = [item for item in archive.namelist() if _is_pkg_info(item)]
            return _member(archive, names, "PKG-INFO")
    found: list[bytes] = []
    unpacked_bytes = number = 0
    with gzip.open(path) as stream:
        guarded = _Guarded(stream)
        with tarfile.open(fileobj=guarded, mode="r|") as tar:  # type: ignore[call-overload]
            while (member := tar.next()) is not None:
                tar.members, tar.pax_headers = [], {}  # they would keep all heads
                number += 1
                _check_number(number)
                unpacked_bytes += member.size
                if unpacked_bytes > _UNPACKED_LIMIT_BYTES or member.issparse():
                    raise ValueError("it is too large when unpacked")
                guarded.left_bytes = _HEAD_LIMIT_BYTES + (member.size if member.isreg() else 0)
                if member.isreg() and _is_pkg_info(member.name):
                    file = tar.extractfile(member)
                    found.append(_limited(file.read(_METADATA_LIMIT_BYTES + 1) if file else b""))
        while block := stream.read(1024 * 1024):  # tarfile leaves the checksum unread
            unpacked_bytes += len(block)
            if unpacked_bytes > _UNPACKED_LIMIT_BYTES:
                raise ValueError("it is too large when unpacked")
    if len(found) != 1:
        raise ValueError(f"it has {len(found)} PKG-INFO files")
    return found[0]


def _check_number(members: int) -> None:
    if members > _MOST_MEMBERS:
        raise ValueError(f"it has more than {_MOST_MEMBERS} members")


class _Guarded:
    """Let tarfile read the content of one member, and of the head of the next not too much.

    It takes the heads into memory whole, and they may be of any size: a few megabytes, unpacked,
    would take many gigabytes.
    """

    def __init__(self, stream: gzip.GzipFile) -> None:
        self._stream = stream
        self.left_bytes = _HEAD_LIMIT_BYTES

    def read(self, size: int) -> bytes:
        """Read some bytes."""
        block = self._stream.read(size)
        self.left_bytes -= len(block)
        if self.left_bytes < 0:
            raise ValueError("the head of a member is too large")
        return block


def _is_pkg_info(name: str) -> bool:
    return name.removeprefix("./").count("/") == 1 and name.endswith("/PKG-INFO")
