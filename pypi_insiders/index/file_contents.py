"""Read and check the core metadata of a distribution file."""

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
from pypi_insiders.util.files import open_file, sha256

_FIELD = re.compile(rb"([!-9;-~]+):")
_LOOKED_AT = (b"name", b"version", b"requires-python")
# For three fields of one line each.
_LOOKED_AT_LIMIT_BYTES = 64 * 1024
# The metadata includes the README, some with pictures as `data:` URLs.
_METADATA_LIMIT_BYTES = 4 * 1024 * 1024
# tarfile reads the header of a member into memory whole: an upload of 4.7 MB took 3.1 GiB.
_HEAD_LIMIT_BYTES = 1024 * 1024
# Errors of a damaged file, not of the disk. EINVAL: an offset in it is negative.
_DAMAGES = (None, errno.EINVAL)
# An archive of zeros of some megabytes unpacks to any size.
UNPACKED_LIMIT_BYTES = 4 * 1024 * 1024 * 1024


@dataclass(frozen=True)
class Contents:
    """The metadata of one file that an index publishes."""

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
    """Read and check a distribution file.

    Args:
        path: the file.
        name: its file name in the index (default: that of `path`).

    Raises:
        DistributionError: the file is damaged, or its metadata is of another release than its name.
        OSError: the file cannot be read.

    Source: https://packaging.python.org/en/latest/specifications/core-metadata/
    """
    name = name or path.name
    project, version = release_of(name)
    with damage_reported(name):
        metadata = _wheel_metadata(path) if is_wheel(name) else _sdist_metadata(path, name)
        claimed, requires_python = _understand(name, metadata)
    if claimed != (project, version):
        raise DistributionError(f"{name} has the metadata of {claimed[0]} {claimed[1]}")
    return Contents(sha256(path), metadata, requires_python)


@contextlib.contextmanager
def damage_reported(name: str) -> Iterator[None]:
    """Raise `DistributionError` for the exceptions that a damaged file causes."""
    try:
        yield
    except InsidersError:
        raise
    except Exception as error:
        # The exceptions of the standard library for damaged archives and metadata are documented
        # nowhere: struct.error, LZMAError, OverflowError, an OSError without a number, and more.
        if isinstance(error, OSError) and error.errno not in _DAMAGES:
            raise
        raise DistributionError(f"{name} is damaged: {error}") from error


def _understand(name: str, metadata: bytes) -> tuple[tuple[NormalizedName, Version], str | None]:
    from packaging.metadata import parse_email
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    # Not `Metadata.from_email` of packaging, which refuses newer metadata versions, as twine 6.1
    # did, and invalid fields that an index does not use.
    fields, _ = parse_email(_looked_at(metadata))
    try:
        release = canonicalize_name(fields.get("name", "")), Version(fields.get("version", ""))
    except InvalidVersion as error:
        raise DistributionError(
            f"{name} has an invalid version in its metadata: {error}"
        ) from error
    requires_python = fields.get("requires_python")
    if requires_python is not None:
        try:
            SpecifierSet(requires_python)
        except InvalidSpecifier:
            # As if it were not set: installers ignore files with an invalid one.
            return release, None
    return release, requires_python


def _looked_at(metadata: bytes) -> bytes:
    """Return the lines of the fields in `_LOOKED_AT`."""
    kept, is_kept = b"", False
    # `email` and `packaging` take a time that grows with the square of the number of fields, or of
    # nested parts of a body. Source: RFC 5322, 2.2; `headerRE` in email.feedparser.
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
    """Read `PKG-INFO`, and a tar archive to its end, to detect a truncated file."""
    if name.endswith(".zip"):
        with zip_files.opened(path) as archive:
            names = [item for item in archive.namelist() if _is_pkg_info(item)]
            return _member(archive, names, "PKG-INFO")
    found: list[bytes] = []
    unpacked_bytes = number = 0
    with open_file(path) as packed, gzip.open(packed) as stream:
        guarded = _Guarded(stream)
        # As a stream: otherwise tarfile seeks, and gzip unpacks from the start for each seek back.
        with tarfile.open(fileobj=guarded, mode="r|") as tar:  # type: ignore[call-overload]
            while (member := tar.next()) is not None:
                tar.members, tar.pax_headers = [], {}  # tarfile would keep all headers in memory
                number += 1
                if number > MOST_MEMBERS:
                    raise ValueError(f"it has more than {MOST_MEMBERS} members")
                unpacked_bytes += member.size
                # A sparse member states a size of terabytes in a few bytes.
                if unpacked_bytes > UNPACKED_LIMIT_BYTES or member.issparse():
                    raise ValueError("it is too large when unpacked")
                guarded.left_bytes = _HEAD_LIMIT_BYTES + (member.size if member.isreg() else 0)
                if member.isreg() and _is_pkg_info(member.name):
                    file = tar.extractfile(member)
                    found.append(_limited(file.read(_METADATA_LIMIT_BYTES + 1) if file else b""))
        while block := stream.read(1024 * 1024):  # tarfile leaves the checksum unread
            unpacked_bytes += len(block)
            if unpacked_bytes > UNPACKED_LIMIT_BYTES:
                raise ValueError("it is too large when unpacked")
    if len(found) != 1:
        raise ValueError(f"it has {len(found)} PKG-INFO files")
    return found[0]


class _Guarded:
    """Limit what tarfile reads for the header of a member."""

    def __init__(self, stream: gzip.GzipFile) -> None:
        self._stream = stream
        self.left_bytes = _HEAD_LIMIT_BYTES

    def read(self, size: int) -> bytes:
        """Read up to `size` bytes."""
        block = self._stream.read(size)
        self.left_bytes -= len(block)
        if self.left_bytes < 0:
            raise ValueError("the header of a member is too large")
        return block


def _is_pkg_info(name: str) -> bool:
    return name.removeprefix("./").count("/") == 1 and name.endswith("/PKG-INFO")
