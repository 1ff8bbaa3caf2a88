"""Send files, which never change."""

from collections.abc import Iterable
from typing import cast
from wsgiref.types import StartResponse, WSGIEnvironment

from pypi_insiders.index.catalog import Catalogue
from pypi_insiders.server.web.headers import byte_range
from pypi_insiders.server.web.held import Held
from pypi_insiders.server.web.replies import (
    SAFE,
    Headers,
    is_known,
    is_unwanted,
    not_found,
    not_modified,
    unwanted,
)
from pypi_insiders.server.web.stop import answer

_METADATA = ".metadata"
_BLOCK_BYTES = 32768


class Downloads:
    """Send the files of a catalogue, and the core metadata of wheels.

    Args:
        catalogue: what there is.
        held: the names of which no file is merely not found.
        is_private: whether shared caches must not keep what is sent.
    """

    def __init__(self, catalogue: Catalogue, held: Held, *, is_private: bool) -> None:
        self._catalogue = catalogue
        self._held = held
        visibility = "private" if is_private else "public"
        self._headers = [*SAFE, ("Cache-Control", f"{visibility}, max-age=31536000, immutable")]

    def __call__(
        self, name: str, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        """Answer a request for a file: 200, 206, 304, 404, 412 or 416.

        Source: RFC 9110, sections 13 and 14; PEP 658 for the metadata.
        """
        if name.endswith(_METADATA):
            return self._send_metadata(name.removesuffix(_METADATA), environ, start_response)
        opened = self._catalogue.open(name)
        if opened is None:
            return self._missing(name, environ, start_response)
        entry, file = opened
        headers = self._describe(entry.sha256, "application/octet-stream")
        headers.append(("Accept-Ranges", "bytes"))
        size = entry.identity.size_bytes
        span = (
            byte_range(environ["HTTP_RANGE"], size)
            if "HTTP_RANGE" in environ
            and environ["REQUEST_METHOD"] == "GET"
            and _is_current(environ, entry.sha256)
            else None
        )
        if is_unwanted(environ, entry.sha256):
            reply = unwanted(environ, start_response)
        elif is_known(environ, entry.sha256):
            reply = not_modified(headers, start_response)
        elif span is None:
            headers.append(("Content-Length", str(size)))
            start_response("200 OK", headers)
            reply = None
        elif span[0] >= span[1]:
            headers += [("Content-Range", f"bytes */{size}"), ("Content-Length", "0")]
            start_response("416 Range Not Satisfiable", headers)
            reply = ()
        else:
            headers += [
                ("Content-Range", f"bytes {span[0]}-{span[1] - 1}/{size}"),
                ("Content-Length", str(span[1] - span[0])),
            ]
            start_response("206 Partial Content", headers)
            file.seek(span[0])
            reply = None
        if reply is None and environ["REQUEST_METHOD"] == "GET":
            # The server reads on from here, up to the length that was promised.
            return cast("Iterable[bytes]", environ["wsgi.file_wrapper"](file, _BLOCK_BYTES))
        file.close()
        return reply or ()

    def _missing(
        self, name: str, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        """Say why a file is not there, as far as its name is one of ours."""
        stop = self._held.missing_file(name)
        if stop is None:
            return not_found(environ, start_response)
        return answer(stop, environ, start_response, is_page=False)

    def _send_metadata(
        self, name: str, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        found = self._catalogue.metadata(name)
        if found is None and self._catalogue.find(name) is not None:
            return not_found(environ, start_response)  # an sdist, whose build may say another thing
        if found is None:
            return self._missing(name, environ, start_response)
        digest, content = found
        if is_unwanted(environ, digest):
            return unwanted(environ, start_response)
        headers = self._describe(digest, "text/plain; charset=utf-8")
        if is_known(environ, digest):
            return not_modified(headers, start_response)
        headers.append(("Content-Length", str(len(content))))
        start_response("200 OK", headers)
        return () if environ["REQUEST_METHOD"] == "HEAD" else (content,)

    def _describe(self, digest: str, media_type: str) -> Headers:
        return [("Content-Type", media_type), ("ETag", f'"{digest}"'), *self._headers]


def _is_current(environ: WSGIEnvironment, digest: str) -> bool:
    """Tell whether a part of the file is wanted only if it is this one: `If-Range`."""
    return environ.get("HTTP_IF_RANGE") in (None, f'"{digest}"')
