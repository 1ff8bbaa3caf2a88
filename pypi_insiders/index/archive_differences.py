"""Compare two archives of the same name, member by member."""

import contextlib
import hashlib
import lzma
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path
from typing import IO

from pypi_insiders.index import zip_files
from pypi_insiders.util.files import sha256
from pypi_insiders.util.formatting import listed

_SHOWN = 3
# What `zipfile`, `tarfile` and their codecs raise for damaged archives; only the first two are
# documented.
_DAMAGES = (
    zipfile.BadZipFile,
    tarfile.TarError,
    EOFError,
    NotImplementedError,
    lzma.LZMAError,
    struct.error,
    zlib.error,
)


def differences(one: Path, other: Path) -> str:
    """Return which members of two archives of the same name differ; empty if both are identical.

    Raises:
        OSError: an archive cannot be read.
    """
    if sha256(one) == sha256(other):
        return ""
    before, after = _members(one), _members(other)
    changed = sorted(
        name for name in before.keys() | after.keys() if before.get(name) != after.get(name)
    )
    # The hashes differ, so if all members are equal, their order, times or compression is not.
    return listed(changed, _SHOWN, "; ") or "packing only: all members are identical"


def _members(path: Path) -> dict[str, str]:
    found = {}
    # Of a damaged archive the members before the damage are compared: the caller reports a
    # difference, and is no check of archives.
    with contextlib.suppress(*_DAMAGES):
        if path.name.endswith(".tar.gz"):
            with tarfile.open(path) as archive:
                for member in archive:
                    if content := archive.extractfile(member) if member.isfile() else None:
                        found[member.name] = _hash(content)
        else:
            with zip_files.opened(path) as archive_of_zip:
                for name in archive_of_zip.namelist():
                    with archive_of_zip.open(name) as content_of_zip:
                        found[name] = _hash(content_of_zip)
    return found


def _hash(file: IO[bytes]) -> str:
    return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
