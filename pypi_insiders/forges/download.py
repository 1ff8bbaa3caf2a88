"""Download a file of a release."""

import hashlib
from pathlib import Path
from typing import BinaryIO

from pypi_insiders.forges import requests
from pypi_insiders.forges.errors import ForgeError, IncompleteError, NoReleaseError
from pypi_insiders.forges.place import Forge
from pypi_insiders.forges.releases import Asset
from pypi_insiders.util.disk_reserve import demand_room
from pypi_insiders.util.files import cannot

_BLOCK_BYTES = 1024**2
LIMIT_BYTES = 2 * 1024**3
"""The largest file that GitHub stores in a release."""


def download(forge: Forge, asset: Asset, target: Path) -> str:
    """Download a file; return its sha256 in hexadecimal.

    Args:
        forge: which has listed it.
        asset: the file.
        target: a path that does not exist.

    Raises:
        PassingError: the forge does not answer, not now, or not with what it has listed.
        ForgeError: it refuses, or the file is too large.
        DiskFullError: the file does not fit on the disk.

    Source: docs.github.com, "Get a release asset".
    """
    digest, size_bytes = hashlib.sha256(), 0
    try:
        with (
            target.open("xb") as output,
            requests.answer_of(forge, asset.url, is_file=True) as answer,
        ):
            while block := answer.read(_BLOCK_BYTES):
                size_bytes += len(block)
                if size_bytes > LIMIT_BYTES:
                    raise too_large(asset)
                # Before the end: a forge may send without one, whatever it has listed.
                if size_bytes > (asset.size_bytes or LIMIT_BYTES):
                    raise IncompleteError(f"{asset.name} is larger than {forge.host} lists")
                demand_room(len(block))
                digest.update(block)
                _write(output, block, target)
            # `read` with a size returns what has come, and raises nothing, if the connection ends
            # early. Source: http.client, `HTTPResponse.length`.
            is_cut = bool(answer.length)
    # A 404 for what it has just listed: it is being replaced, and no reason to build.
    except NoReleaseError as error:
        raise IncompleteError(f"{forge.host} lists {asset.name}, but does not have it") from error
    if is_cut or asset.size_bytes not in (None, size_bytes):
        raise IncompleteError(
            f"{asset.name} arrived incomplete from {forge.host}", "the next update tries again"
        )
    sha256 = digest.hexdigest()
    if asset.sha256 not in (None, sha256):
        raise IncompleteError(
            f"{asset.name} has another SHA-256 than {forge.host} lists",
            "the next update tries again",
        )
    return sha256


def too_large(asset: Asset) -> ForgeError:
    """Return the error of a file that is too large."""
    return ForgeError(f"{asset.name} is larger than {LIMIT_BYTES // 1024**3} GiB")


def _write(output: BinaryIO, block: bytes, target: Path) -> None:
    # Of this machine: an OSError would be taken for one of the connection.
    try:
        output.write(block)
    except OSError as error:
        raise cannot("write", target, error) from error
