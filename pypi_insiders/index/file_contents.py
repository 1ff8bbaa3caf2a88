"""Read what a distribution file says about itself."""

import contextlib
import errno
import gzip
import hashlib
import re
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from packaging.utils import NormalizedName, canonicalize_name
from packaging.version import InvalidVersion, Version

from pypi_insiders.index import zip_files
from pypi_insiders.index.distribution import DistributionError, is_wheel, release_of
from pypi_insiders.index.zip_files import MOST_MEMBERS
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import sha256

_FIELD = re.compile(rb"([!-9;-~]+):")
_LOOKED_AT = (b"name", b"version", b"requires-python")
# Of three fields of one line each.
_LOOKED_AT_LIMIT_BYTES = 64 * 1024
# READMEs are in it, some with pictures as `data:`.
_METADATA_LIMIT_BYTES = 4 * 1024 * 1024
_HEAD_LIMIT_BYTES = 1024 * 1024
# EINVAL: it points to before its own begin.
_DAMAGES = (None, errno.EINVAL)
_UNPACKED_LIMIT_BYTES = 4 * 1024 * 1024 * 1024


@dataclass(frozen=True)
class Contents:
    """What one file holds, as far as an index tells it."""

    sha256: str
    """Hexadecimal."""
    metadata: bytes
    """The core metadata: `METADATA` of a wheel, `PKG-INFO` of an sdist."""
    requires_python: str | None

    @property
    def metadata_sha256(self) -> str:
        """The hash of the core metadata, hexadecimal."""
        return hashlib.sha256(self.metadata).hexdigest()


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
    with damage_reported(name):
        metadata = _wheel_metadata(path) if is_wheel(name) else _sdist_metadata(path, name)
        claimed, requires_python = _understand(name, metadata)
    if claimed != (project, version):
        raise DistributionError(f"{name} says of itself that it is {claimed[0]} {claimed[1]}")
    return Contents(sha256(path), metadata, requires_python)


@contextlib.contextmanager
def damage_reported(name: str) -> Iterator[None]:
    """Raise `DistributionError` for what a file with a damage makes others raise.

    Args:
        name: of the file.
    """
    try:
        yield
    except InsidersError:
        raise
    except Exception as error:
        # What archives and metadata that are damaged make the standard library raise is said
        # nowhere: struct.error, LZMAError, OverflowError, an OSError without a number, and more.
        if isinstance(error, OSError) and error.errno not in _DAMAGES:
            raise
        raise DistributionError(f"{name} is damaged: {error}") from error


def _understand(name: str, metadata: bytes) -> tuple[tuple[NormalizedName, Version], str | None]:
    from packaging.metadata import parse_email
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    # `Metadata.from_email` of packaging would refuse newer versions of the format, as twine 6.1
    # did, and wrong fields that no index looks at.
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
    """Return the lines of the fields that are looked at."""
    kept, is_kept = b"", False
    # Of all of them, or of a body in parts of parts, `email` and `packaging` take a time that grows
    # with the square of their number. Source: RFC 5322, 2.2; `headerRE` in email.feedparser.
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
    with zip_files.opened(path) as archive:
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
        with zip_files.opened(path) as archive:
            names = [item for item in archive.namelist() if _is_pkg_info(item)]
            return _member(archive, names, "PKG-INFO")
    found: list[bytes] = []
    unpacked_bytes = number = 0
    with gzip.open(path) as stream:
        guarded = _Guarded(stream)
        # As a stream: otherwise tarfile seeks, and gzip would unpack from the beginning for each
        # seek back.
        with tarfile.open(fileobj=guarded, mode="r|") as tar:  # type: ignore[call-overload]
            while (member := tar.next()) is not None:
                tar.members, tar.pax_headers = [], {}  # they would keep all heads
                number += 1
                if number > MOST_MEMBERS:
                    raise ValueError(f"it has more than {MOST_MEMBERS} members")
                unpacked_bytes += member.size
                # A sparse member states a size of terabytes in a few bytes.
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


class _Guarded:
    """Let tarfile read the content of one member, and of the head of the next not too much."""

    def __init__(self, stream: gzip.GzipFile) -> None:
        self._stream = stream
        self.left_bytes = _HEAD_LIMIT_BYTES

    def read(self, size: int) -> bytes:
        """Read some bytes."""
        block = self._stream.read(size)
        # It takes the heads into memory whole, and they may be of any size: a few megabytes,
        # unpacked, would take many gigabytes.
        self.left_bytes -= len(block)
        if self.left_bytes < 0:
            raise ValueError("the head of a member is too large")
        return block


def _is_pkg_info(name: str) -> bool:
    return name.removeprefix("./").count("/") == 1 and name.endswith("/PKG-INFO")
