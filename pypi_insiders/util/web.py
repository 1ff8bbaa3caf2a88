"""Ask web servers, by the proxies and certificates of this shell."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException, HTTPResponse
from urllib.error import HTTPError, URLError
from urllib.request import BaseHandler, Request, build_opener

from pypi_insiders import __version__
from pypi_insiders.util.errors import reason

USER_AGENT = f"pypi-insiders/{__version__}"


class NoAnswerError(Exception):
    """There is no answer, or it broke off; the message says why.

    Args:
        cause: what the library raised.
    """

    def __init__(self, cause: BaseException) -> None:
        super().__init__(reason(cause))
        self.cause = cause


@contextmanager
def answer_to(
    request: Request, timeout_s: float, *handlers: BaseHandler
) -> Iterator[HTTPResponse | HTTPError]:
    """Send a request; whatever the status is, there is an answer.

    Args:
        request: with an http or https URL.
        timeout_s: how long nothing may come.
        handlers: of urllib, such as one that follows redirects in another way.

    Raises:
        NoAnswerError: there is none, or it cannot be read to its end.
    """
    request.add_header("User-Agent", USER_AGENT)
    try:
        try:
            answer = build_opener(*handlers).open(request, timeout=timeout_s)
        except HTTPError as error:  # every status from 300 on
            answer = error
        with answer:
            yield answer
    # ValueError: of headers and chunks that are none.
    except (OSError, HTTPException, ValueError) as error:
        inner = error.reason if isinstance(error, URLError) else None
        raise NoAnswerError(inner if isinstance(inner, BaseException) else error) from error
