"""Take distributions from `twine upload` and `uv publish`."""

import hashlib
import logging
import tempfile
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any
from wsgiref.types import WSGIEnvironment

from multipart import MultiDict, MultipartError, MultipartPart, ParserLimitReached, parse_form_data

from pypi_insiders.index import distribution, store
from pypi_insiders.index.distribution import DistributionError
from pypi_insiders.index.metadata_cache import MetadataCache
from pypi_insiders.server.web.request import Request
from pypi_insiders.server.web.responses import Response, text
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import make_directory, sha256

_log = logging.getLogger(__name__)

# PyPI takes 100 MB for a file, unless its owner asks for more; wheels with CUDA come near this.
MAX_BYTES = 1024 * 1024 * 1024
# The description of a project, its README, is one of the fields.
_MAX_FIELDS_BYTES = 8 * 1024 * 1024
# Each classifier and each requirement is a part of its own.
_MAX_PARTS = 1000
# File systems allow 255, and while it is written its name is longer.
_MAX_NAME_CHARS = 240
_DIGESTS: dict[str, Callable[[], Any]] = {
    "sha256_digest": hashlib.sha256,
    # uv and twine send both; md5, which twine sends as well, proves nothing.
    "blake2_256_digest": partial(hashlib.blake2b, digest_size=32),
}


class _UploadRefused(Exception):  # noqa: N818 - it never leaves this module
    """An upload is refused: the status line, and why."""

    def __init__(self, status: str, message: str) -> None:
        super().__init__(status, message)
        self.response = text(status, message)


class Uploads:
    """Publish what is uploaded, by the same way as what is built.

    Args:
        directory: the distributions directory.
        cache: in which they are entered.
        learn: called with the projects of what was published, before that is answered.
    """

    def __init__(
        self, directory: Path, cache: MetadataCache, learn: Callable[[Iterable[str]], None]
    ) -> None:
        self._directory = directory
        self._cache = cache
        self._learn = learn
        # What a killed index has left of uploads.
        store.sweep(directory)

    def take(self, request: Request) -> Response:
        """Publish the file of one request, and answer what was done.

        A file that is there with the same content is no error, and is not touched; one with other
        content is.

        Source: https://docs.pypi.org/api/upload/
        """
        try:
            form, files = _parse(request.environ)
            try:
                return self._publish(form, files.getall("content"))
            finally:
                # Parts are temporary files, of which one may be a gigabyte.
                for _, part in files.iterallitems():
                    part.close()
        except _UploadRefused as refused:
            return refused.response
        except DistributionError as error:
            return text("400 Bad Request", error.message)
        except (InsidersError, OSError) as error:
            _log.error("an upload cannot be stored: %s", error)
            return text("507 Insufficient Storage", "the file cannot be stored")

    def _publish(self, form: MultiDict, parts: list[MultipartPart]) -> Response:
        if form.get(":action") != "file_upload" or len(parts) != 1:
            raise _UploadRefused(
                "400 Bad Request", "an upload requires :action=file_upload and one file as content"
            )
        make_directory(self._directory)
        with tempfile.TemporaryDirectory(prefix=store.INBOX, dir=self._directory) as inbox:
            path = _checked(Path(inbox), form, parts[0])
            before = self._cache.entry(path.name)
            if before and before.sha256 and before.sha256 != sha256(path):
                # Also where the file is lost: nothing published ever changes.
                raise _UploadRefused(
                    "409 Conflict", f"{path.name} was published with other content"
                )
            digests, new = store.publish(self._directory, self._cache, [path])
            # A file that the cache does not know yet, such as one put there by hand.
            if path.name not in digests:
                raise _UploadRefused(
                    "409 Conflict",
                    f"{path.name} is there with other content, or in another spelling",
                )
        self._learn([distribution.release_of(path.name)[0]])
        done = f"published {path.name}" if new else f"{path.name} is there already"
        return text("200 OK", done)


def _parse(environ: WSGIEnvironment) -> tuple[MultiDict, MultiDict]:
    try:
        # With limits of parts, memory and disk, each of which is answered with 413.
        return parse_form_data(  # type: ignore[no-any-return]
            environ,
            strict=True,
            part_limit=_MAX_PARTS,
            memory_limit=_MAX_FIELDS_BYTES,
            disk_limit=MAX_BYTES,
        )
    except ParserLimitReached as error:
        raise _UploadRefused("413 Content Too Large", str(error)) from error
    except (MultipartError, UnicodeError, LookupError) as error:
        raise _UploadRefused("400 Bad Request", f"the form cannot be read: {error}") from error


def _checked(inbox: Path, form: MultiDict, part: MultipartPart) -> Path:
    """Give the file its name, if that is one and its hashes are those that were sent.

    Raises:
        DistributionError: it is no name of a distribution.
        _UploadRefused: it is too long, or the file is another one.
    """
    name = part.filename or ""
    distribution.release_of(name)  # so it is a name within a directory, too
    if len(name) > _MAX_NAME_CHARS:
        raise _UploadRefused("400 Bad Request", "the file name is too long")
    path = inbox / name
    part.save_as(path)
    for field, algorithm in _DIGESTS.items():
        with path.open("rb") as file:
            sent = form.get(field)
            if sent and sent.lower() != hashlib.file_digest(file, algorithm).hexdigest():
                raise _UploadRefused(
                    "400 Bad Request", f"{name} does not match the {field} that was sent"
                )
    return path
