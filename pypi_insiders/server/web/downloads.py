"""Send files, which never change."""

from pypi_insiders.index.catalog import Catalog
from pypi_insiders.server.web import installer_errors
from pypi_insiders.server.web.headers import byte_range
from pypi_insiders.server.web.held import Held
from pypi_insiders.server.web.pages import METADATA
from pypi_insiders.server.web.request import Request
from pypi_insiders.server.web.responses import SAFE, Headers, Response, not_found, precondition


class Downloads:
    """Send the files of a catalog, and the core metadata of wheels.

    Args:
        catalog: the published files.
        held: the names of which no file is merely not found.
        is_private: whether shared caches must not keep what is sent.
    """

    def __init__(self, catalog: Catalog, held: Held, *, is_private: bool) -> None:
        self._catalog = catalog
        self._held = held
        visibility = "private" if is_private else "public"
        # A published file never changes, so nobody has to ask again within a year. Source: RFC
        # 8246.
        self._headers = [*SAFE, ("Cache-Control", f"{visibility}, max-age=31536000, immutable")]

    def __call__(self, request: Request, name: str) -> Response:
        """Answer a request for a file: 200, 206, 304, 404, 412 or 416.

        Source: RFC 9110, sections 13 and 14; PEP 658 for the metadata.
        """
        if name.endswith(METADATA):
            return self._metadata(request, name.removesuffix(METADATA))
        opened = self._catalog.open(name)
        if opened is None:
            return self._missing(request, name)
        entry, file = opened
        headers = self._describe(entry.sha256, "application/octet-stream")
        headers.append(("Accept-Ranges", "bytes"))
        # What is not sent is closed here: the server closes only what it sends.
        if (response := precondition(request, entry.sha256, headers)) is not None:
            file.close()
            return response
        size = entry.identity.size_bytes
        span = _span(request, entry.sha256, size)
        if span is None:
            return Response("200 OK", [*headers, ("Content-Length", str(size))], file=file)
        begin, end = span
        # Beyond its end, the client gets to know the size. Source: RFC 9110, section 15.5.17.
        if begin >= end:
            file.close()
            headers += [("Content-Range", f"bytes */{size}"), ("Content-Length", "0")]
            return Response("416 Range Not Satisfiable", headers)
        file.seek(begin)
        headers += [
            ("Content-Range", f"bytes {begin}-{end - 1}/{size}"),
            ("Content-Length", str(end - begin)),
        ]
        return Response("206 Partial Content", headers, file=file)

    def _missing(self, request: Request, name: str) -> Response:
        """Return why a file is not found, if its name is of a project that is held."""
        reason = self._held.missing_file(name)
        if reason is None:
            return not_found(request)
        return installer_errors.answer(reason, request, is_page=False)

    def _metadata(self, request: Request, name: str) -> Response:
        found = self._catalog.metadata(name)
        if found is None:
            entry = self._catalog.find(name)
            if entry is not None and entry.metadata_sha256 is None:
                return not_found(request)  # an sdist, whose build may say another thing
            return self._missing(request, name)
        digest, content = found
        headers = self._describe(digest, "text/plain; charset=utf-8")
        if (response := precondition(request, digest, headers)) is not None:
            return response
        return Response("200 OK", [*headers, ("Content-Length", str(len(content)))], content)

    def _describe(self, digest: str, media_type: str) -> Headers:
        return [("Content-Type", media_type), ("ETag", f'"{digest}"'), *self._headers]


def _span(request: Request, digest: str, size: int) -> tuple[int, int] | None:
    """Return which bytes are wanted, if they are wanted of this file; `None`: all."""
    wanted = request.header("Range")
    # Ranges are of GET only. Source: RFC 9110, section 14.2.
    if wanted is None or request.method != "GET":
        return None
    is_same = request.header("If-Range") in (None, f'"{digest}"')
    return byte_range(wanted, size) if is_same else None
