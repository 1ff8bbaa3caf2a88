"""Read, write and delete the objects of an object store: S3, Google Cloud Storage, Azure."""

import contextlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from io import FileIO
from pathlib import Path
from typing import Any, NamedTuple

import obstore
from obstore import exceptions, store

from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import read_text

CREDENTIAL = "pypi-insiders-object-store"
"""The systemd credential with lines `NAME=VALUE`, as in the environment."""
# A batch of S3; the listing of a page has as many.
_BATCH = 1_000
_RETRIES: "store.RetryConfig" = {"max_retries": 4, "retry_timeout": timedelta(seconds=60)}
_CREDENTIALS_HINT = "check the credentials in the environment, and the policy of the bucket"
_SCHEMES = {"s3": ("aws",), "gs": ("google",), "az": ("azure",)}


class Stored(NamedTuple):
    """What a listing has of an object."""

    size_bytes: int
    etag: str
    """Changes with the content; of most stores, its MD5 in hexadecimal."""


class ObjectStore:
    """The objects of a bucket below a prefix; thread-safe.

    Args:
        url: `s3://BUCKET/PREFIX`, or with `gs` or `az`.
        objects: the store (default: that of the URL, with the credentials of the environment).

    Raises:
        InsidersError: a setting in the environment or in the credential is invalid.
    """

    def __init__(self, url: str, objects: "store.ObjectStore | None" = None) -> None:
        self.url = url
        with self._says():
            self._objects = objects or store.from_url(
                url, config=_settings(url), retry_config=_RETRIES
            )

    def list(self) -> dict[str, Stored]:
        """Return all objects, by key below the prefix.

        Raises:
            InsidersError: they cannot be listed.
        """
        with self._says():
            return {
                item["path"]: Stored(item["size"], (item["e_tag"] or "").strip('"'))
                for items in obstore.list(self._objects, chunk_size=_BATCH)
                for item in items
            }

    def put(self, key: str, content: bytes | FileIO, headers: Mapping[str, str]) -> str:
        """Write an object in one step; return its ETag.

        Raises:
            InsidersError: it cannot be written.
        """
        with self._says():
            done = obstore.put(self._objects, key, content, attributes=dict(headers))
        return (done["e_tag"] or "").strip('"')

    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects; those that are gone count as deleted.

        Raises:
            InsidersError: one cannot be deleted.
        """
        with self._says(), contextlib.suppress(FileNotFoundError, exceptions.NotFoundError):
            for key in keys:
                obstore.delete(self._objects, key)

    @contextlib.contextmanager
    def _says(self) -> Iterator[None]:
        """Raise errors of the store as `InsidersError`, in one line without its debug output."""
        try:
            yield
        except (exceptions.BaseError, FileNotFoundError, PermissionError, ValueError) as error:
            raise _explained(self.url, error) from error


def _settings(url: str) -> Any:
    """Return the settings of a credential of systemd; the environment is read by the library.

    Source: systemd.exec(5), `$CREDENTIALS_DIRECTORY`.
    """
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    text = read_text(Path(directory) / CREDENTIAL) if directory else None
    lines = [line.partition("=") for line in (text or "").splitlines() if line.strip()]
    kind = _SCHEMES[url.partition(":")[0]]
    found = {name.strip().lower(): value.strip() for name, _, value in lines}
    return {name: value for name, value in found.items() if name.startswith(kind)}


def _explained(url: str, error: Exception) -> InsidersError:
    """Return the error of a request; its text may name the signature of a request, so it is cut."""
    text = str(error).partition("\n\nDebug source")[0]
    code = re.search(r"<Code>(\w+)</Code>", text)
    status = re.search(r"status code:? (\d{3}[A-Za-z ]*)", text)
    what = code[1] if code else status[1].strip() if status else ""
    bucket = url.split("/")[2]
    if "NoSuchBucket" in text or "ContainerNotFound" in text:
        return InsidersError(f"cannot export to {url}: there is no bucket {bucket}", "create it")
    if isinstance(error, exceptions.PermissionDeniedError | exceptions.UnauthenticatedError):
        what = what or "not authenticated"
        return InsidersError(f"cannot export to {url}: access denied: {what}", _CREDENTIALS_HINT)
    if isinstance(error, exceptions.UnknownConfigurationKeyError | ValueError):
        return InsidersError(f"cannot export to {url}: a setting is invalid", _CREDENTIALS_HINT)
    if what:
        return InsidersError(f"cannot export to {url}: {what}", "try again")
    if re.search(r"169\.254\.|metadata", text):
        return InsidersError(f"cannot export to {url}: no credentials found", _CREDENTIALS_HINT)
    return InsidersError(
        f"cannot export to {url}: the object store is unreachable",
        "check the network, and AWS_ENDPOINT_URL or its like in the environment",
    )
