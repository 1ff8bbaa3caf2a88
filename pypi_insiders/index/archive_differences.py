"""Tell in what two archives of the same name differ."""

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
# What `zipfile`, `tarfile` and their codecs raise for bytes that are none; the documentation names
# the first two.
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
    """Tell in which members two archives of the same name differ; nothing if they are the same.

    Raises:
        OSError: one cannot be read.
    """
    if sha256(one) == sha256(other):
        return ""
    before, after = _members(one), _members(other)
    changed = sorted(
        name for name in before.keys() | after.keys() if before.get(name) != after.get(name)
    )
    return listed(changed, _SHOWN, "; ") or "how it is packed"


def _members(path: Path) -> dict[str, str]:
    found = {}
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
    digest = hashlib.sha256()
    while block := file.read(1024 * 1024):
        digest.update(block)
    return digest.hexdigest()
