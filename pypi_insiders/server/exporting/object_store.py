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
from pypi_insiders.util.plain_text import one_line

CREDENTIAL = "pypi-insiders-object-store"
"""The systemd credential with lines `NAME=VALUE`, as in the environment."""
# A batch of S3; the listing of a page has as many.
_BATCH = 1_000
_RETRIES: "store.RetryConfig" = {"max_retries": 4, "retry_timeout": timedelta(seconds=60)}
_CREDENTIALS_HINT = "check the credentials in the environment, and the policy of the bucket"
_DENIED = re.compile("40[13]|Access|Auth|Invalid(?:Access|Token)|SignatureDoesNotMatch")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
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
            self._objects = objects or _open(url)

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
        with self._says():
            for key in keys:
                with contextlib.suppress(FileNotFoundError, exceptions.NotFoundError):
                    obstore.delete(self._objects, key)

    @contextlib.contextmanager
    def _says(self) -> Iterator[None]:
        """Raise errors of the store as `InsidersError`, in one line without its debug output."""
        try:
            yield
        except (exceptions.BaseError, FileNotFoundError, PermissionError, ValueError) as error:
            raise _explained(self.url, error) from error
        except BaseException as error:
            # Of Rust, and no `Exception`: the library panics of some invalid settings.
            if type(error).__name__ != "PanicException":
                raise
            raise InsidersError(
                f"cannot export to {self.url}: a setting of the object store is invalid",
                _CREDENTIALS_HINT,
            ) from error


def _open(url: str) -> "store.ObjectStore":
    settings = _settings(url)
    _check(url, settings)
    return store.from_url(url, config=settings, retry_config=_RETRIES)


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


def _check(url: str, settings: Mapping[str, str]) -> None:
    """Raise an error for settings of which the library panics."""
    environment = {name.lower(): value for name, value in os.environ.items()}
    kind = _SCHEMES[url.partition(":")[0]]
    for name, value in {**environment, **settings}.items():
        # The key of a service account is JSON of several lines.
        if name.startswith(kind) and _CONTROL.search(value) and not value.lstrip().startswith("{"):
            raise InsidersError(
                f"{name.upper()} contains a line end or another control character",
                "remove it: `tr -d '\\r\\n'`",
            )
    for name in ("aws_endpoint_url", "aws_endpoint_url_s3", "aws_endpoint"):
        value = settings.get(name) or environment.get(name) or ""
        if url.startswith("s3:") and value and not re.match(r"https?://[^/]", value):
            raise InsidersError(f"{name.upper()} is not a URL", "set it to https://HOST")


def _explained(url: str, error: Exception) -> InsidersError:
    """Return the error of a request, in one line and without anything of the request itself."""
    text, failed = str(error).partition("\n\nDebug source")[0], f"cannot export to {url}"
    code = re.search(r"<Code>(\w+)</Code>", text)
    status = re.search(r"status code:? (\d{3}[A-Za-z ]*)", text)
    what = code[1] if code else status[1].strip() if status else ""
    if what in ("NoSuchBucket", "ContainerNotFound") or what.startswith("404"):
        bucket = url.split("/")[2]
        return InsidersError(f"{failed}: there is no bucket {bucket}", "create it, or name another")
    # Without credentials, the library asks the machine of a cloud for some.
    if re.search(r"169\.254\.|/metadata|metadata\.google", text):
        return InsidersError(f"{failed}: no credentials found", _CREDENTIALS_HINT)
    denials = (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError)
    if isinstance(error, denials) or _DENIED.match(what):
        return InsidersError(f"{failed}: access denied ({what or 'no reason'})", _CREDENTIALS_HINT)
    if what:
        return InsidersError(f"{failed}: {what}", "try again")
    if "Error performing" in text or "sending request" in text:
        return InsidersError(
            f"{failed}: the object store is unreachable",
            "check the network, and AWS_ENDPOINT_URL or its like in the environment",
        )
    reason = one_line(text.partition("\n")[0].rpartition("error: ")[2])
    return InsidersError(f"{failed}: {reason}", _CREDENTIALS_HINT)
