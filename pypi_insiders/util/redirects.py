"""Follow redirects of HTTP without giving credentials to another host."""

import http.client
from typing import IO
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request


class Redirects(HTTPRedirectHandler):
    """Follow redirects to http and https; send credentials to the same origin only.

    Credentials are those of `add_unredirected_header`.

    Args:
        url: of the request.
        is_secure: whether only redirects to https are followed.
    """

    def __init__(self, url: str, *, is_secure: bool = False) -> None:
        self.url = url
        """The URL of the answer."""
        self._schemes = ("https",) if is_secure else ("http", "https")

    def redirect_request(  # noqa: PLR0913, PLR0917  # the signature is that of urllib
        self,
        req: Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> Request | None:
        """Return the request that follows a redirect."""
        request = super().redirect_request(req, fp, code, msg, headers, newurl)
        if request is None:
            return None
        # urllib would follow a redirect to ftp too.
        if request.type not in self._schemes:
            raise ValueError(f"a redirect to {request.type}")
        if is_same_origin(request.full_url, req.full_url) and (
            authorization := req.get_header("Authorization")
        ):
            request.add_unredirected_header("Authorization", authorization)
        self.url = newurl
        return request


def is_same_origin(url: str, other: str) -> bool:
    """Return whether two URLs have the same scheme, host and port."""
    # By the text: of two spellings of one host, credentials are rather not sent.
    return urlsplit(url)[:2] == urlsplit(other)[:2]
