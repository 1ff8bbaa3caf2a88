"""Keep the directory of distributions that the index serves."""

import hashlib
import logging
import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

from pypi_insiders.errors import InsidersError
from pypi_insiders.files import hint_for, make_directory, remove

_log = logging.getLogger(__name__)


def publish(directory: Path, files: Iterable[Path]) -> tuple[dict[str, str], list[str]]:
    """Make distributions visible to the index, each in one step; nothing published ever changes.

    A file of the same name that is there already stays as it is; if it differs, the log says so.

    Args:
        directory: the distributions directory; made where it is missing.
        files: finished files on any file system.

    Returns:
        What the directory holds now under these names, file name to sha256 in hexadecimal; and the
        names of those that were not there before.

    Raises:
        InsidersError: a file cannot be written; no part of that file is visible.
    """
    make_directory(directory)
    wanted = list(files)
    old = present(directory, (file.name for file in wanted))
    digests = {file.name: _publish(directory, file) for file in wanted}
    return digests, [name for name in digests if name not in old]


def _publish(directory: Path, file: Path) -> str:
    target = directory / file.name
    try:
        digest = sha256(file)
        if not target.exists():
            _copy(file, target)
            return digest
        published = sha256(target)
    except OSError as error:
        raise InsidersError(
            f"cannot publish {file.name} in {directory}: {error.strerror or error}", hint_for(error)
        ) from error
    if published != digest:
        _log.warning("%s is published already, with other content; it stays as it is", file.name)
    return published


def _copy(file: Path, target: Path) -> None:
    # Files that start with a dot are invisible to the index.
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(descriptor, "wb") as copy, file.open("rb") as original:
            shutil.copyfileobj(original, copy)
            copy.flush()
            os.fchmod(copy.fileno(), 0o644)
            os.fsync(copy.fileno())
        Path(name).rename(target)
    except BaseException:
        remove(Path(name))
        raise
    _sync_directory(target.parent)


def _sync_directory(directory: Path) -> None:
    """Make a rename survive a power cut. Source: fsync(2)."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256(path: Path) -> str:
    """Hash a file; hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def present(directory: Path, names: Iterable[str]) -> list[str]:
    """Tell which of these files the index holds."""
    return [name for name in names if (directory / name).exists()]


def unpublish(directory: Path, names: Iterable[str]) -> list[str]:
    """Remove files from the index; return those that were there.

    Raises:
        InsidersError: one cannot be removed.
    """
    return [name for name in names if remove(directory / name)]
