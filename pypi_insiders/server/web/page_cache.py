"""Cache rendered pages, and send them with their caching headers, as long as they are current."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from hashlib import sha256
from typing import Any, NamedTuple

from pypi_insiders.server.web.request import Request
from pypi_insiders.server.web.responses import SAFE, Headers, Response, precondition

_KEPT_BYTES = 4 * 1024 * 1024


class RenderedPage(NamedTuple):
    """A page that can be sent as it is."""

    shows: object
    """What it was made from; as long as that is the same, it is current."""
    headers: Headers
    etag: str
    body: bytes


class PageCache:
    """The pages that were made last, up to some megabytes.

    Args:
        is_private: whether shared caches must not keep them.
        vary: the header of requests on which they depend.
        safe: headers of every answer.
    """

    def __init__(
        self, *, is_private: bool, vary: str = "Accept", safe: Iterable[tuple[str, str]] = SAFE
    ) -> None:
        # A new release is to be seen at once.
        self._caching = "private, no-cache" if is_private else "no-cache"
        self._common = [("Vary", vary), *safe]
        self._pages: OrderedDict[tuple[str, str], RenderedPage] = OrderedDict()
        self._kept_bytes = 0
        self._lock = threading.Lock()

    def page(
        self, name: str, media_type: str, shows: Any, render: Callable[[Any, str], bytes]
    ) -> RenderedPage:
        """Find a page, or make it.

        Args:
            name: of the project; empty for the list of all; of a page for people, its URL.
            media_type: the `Content-Type` of the page.
            shows: what the page is about.
            render: makes it from that and the media type.
        """
        page = self._pages.get((name, media_type))
        # Identity first: the catalog hands out the same object as long as nothing changes, and to
        # compare large projects takes its time.
        if page is None or (page.shows is not shows and page.shows != shows):
            page = self._make(media_type, shows, render(shows, media_type))
            self._keep((name, media_type), page)
        return page

    def _make(self, media_type: str, shows: object, body: bytes) -> RenderedPage:
        # Of the content, not of a time: an index that was restarted has the same one.
        etag = sha256(body).hexdigest()[:32]
        headers = [
            ("Content-Type", media_type),
            ("Content-Length", str(len(body))),
            ("ETag", f'"{etag}"'),
            ("Cache-Control", self._caching),
            *self._common,
        ]
        return RenderedPage(shows, headers, etag, body)

    def _keep(self, key: tuple[str, str], page: RenderedPage) -> None:
        with self._lock:
            old = self._pages.pop(key, None)
            self._kept_bytes += len(page.body) - (len(old.body) if old else 0)
            self._pages[key] = page
            # The page that was just made stays, however large it is.
            while self._kept_bytes > _KEPT_BYTES and len(self._pages) > 1:
                _, oldest = self._pages.popitem(last=False)
                self._kept_bytes -= len(oldest.body)


def send(page: RenderedPage, request: Request) -> Response:
    """Answer with a page: 200, 304 or 412."""
    response = precondition(request, page.etag, page.headers)
    return Response("200 OK", page.headers, page.body) if response is None else response
