"""Send HTTP requests with the proxies and certificates of the environment."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException, HTTPResponse
from urllib.error import HTTPError, URLError
from urllib.request import BaseHandler, Request, build_opener

from pypi_insiders import __version__
from pypi_insiders.util.errors import reason

USER_AGENT = f"pypi-insiders/{__version__}"


class NoAnswerError(Exception):
    """A request got no answer, or an incomplete one.

    Args:
        cause: the library's error.
    """

    def __init__(self, cause: BaseException) -> None:
        super().__init__(reason(cause))
        self.cause = cause


@contextmanager
def answer_to(
    request: Request, timeout_s: float, *handlers: BaseHandler
) -> Iterator[HTTPResponse | HTTPError]:
    """Send a request and return the answer, whatever its status.

    Args:
        request: for an http or https URL.
        timeout_s: timeout of each read.
        handlers: additional handlers of urllib, for example for redirects.

    Raises:
        NoAnswerError: the server is unreachable, or its answer is incomplete.
    """
    request.add_header("User-Agent", USER_AGENT)
    try:
        try:
            answer = build_opener(*handlers).open(request, timeout=timeout_s)
        except HTTPError as error:  # urllib raises the answers of status 300 and above
            answer = error
        with answer:
            yield answer
    # http.client raises ValueError for malformed headers and chunks.
    except (OSError, HTTPException, ValueError) as error:
        inner = error.reason if isinstance(error, URLError) else None
        raise NoAnswerError(inner if isinstance(inner, BaseException) else error) from error
