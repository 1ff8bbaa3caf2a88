"""Send HTTP requests with the proxies and certificates of the environment."""

import os
import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from http.client import HTTPException, HTTPResponse
from threading import Event, Timer
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import BaseHandler, HTTPHandler, HTTPSHandler, Request, build_opener

from pypi_insiders import __version__
from pypi_insiders.util.errors import reason

USER_AGENT = f"pypi-insiders/{__version__}"

TOTAL_S = 180


class NoAnswerError(Exception):
    """A request got no answer, or an incomplete one.

    Args:
        cause: the library's error.
    """

    def __init__(self, cause: BaseException) -> None:
        super().__init__(reason(cause))
        self.cause = cause


@cache
def _trusting(*_certificates: str | None) -> ssl.SSLContext:
    # Kept, as OpenSSL reads all certificates of the system for each: 20 ms of processor time.
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


# On urllib, which knows the proxies and certificates of the environment: urllib3 has no NO_PROXY,
# and takes 80 ms to import in place of 47.
class _Connections(HTTPSHandler, HTTPHandler):
    """Opens connections that can be ended from another thread."""

    def __init__(self) -> None:
        certificates = (os.environ.get(name) for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"))
        super().__init__(context=_trusting(*certificates))
        self._sockets: list[socket.socket] = []
        self.has_ended = Event()

    def do_open(self, http_class: Any, req: Request, **arguments: Any) -> HTTPResponse:
        """Connect and send a request."""

        def connection(*words: Any, **options: Any) -> Any:
            made = http_class(*words, **options)
            connect = made._create_connection  # noqa: SLF001  # before TLS, which has timeouts too

            def create(*words: Any, **options: Any) -> socket.socket:
                opened: socket.socket = connect(*words, **options)
                self._sockets.append(opened.dup())
                if self.has_ended.is_set():
                    self.end()
                return opened

            made._create_connection = create  # noqa: SLF001
            return made

        return super().do_open(connection, req, **arguments)

    def end(self) -> None:
        """End all connections."""
        self.has_ended.set()
        for opened in tuple(self._sockets):
            with suppress(OSError):  # it has ended already
                opened.shutdown(socket.SHUT_RDWR)

    def close_all(self) -> None:
        """Close what this handler has open."""
        for opened in self._sockets:
            opened.close()


@contextmanager
def answer_to(
    request: Request, timeout_s: float, *handlers: BaseHandler, total_s: float = TOTAL_S
) -> Iterator[HTTPResponse | HTTPError]:
    """Send a request and return the answer, whatever its status.

    Args:
        request: for an http or https URL.
        timeout_s: timeout of each read.
        handlers: additional handlers of urllib, for example for redirects.
        total_s: time limit of the request, its redirects and the whole answer: a server that sends
            a byte at a time reaches no timeout of a read.

    Raises:
        NoAnswerError: the server is unreachable, or its answer is incomplete.
    """
    request.add_header("User-Agent", USER_AGENT)
    connections = _Connections()
    ending = Timer(total_s, connections.end)
    ending.daemon = True
    ending.start()
    try:
        with ExitStack() as stack:
            stack.callback(connections.close_all)
            stack.callback(ending.join)
            stack.callback(ending.cancel)
            try:
                answer = build_opener(connections, *handlers).open(request, timeout=timeout_s)
            except HTTPError as error:  # urllib raises the answers of status 300 and above
                answer = error
            with answer:
                yield answer
                # A cut answer can look complete.
                if connections.has_ended.is_set():
                    raise TimeoutError("timed out")
    # http.client raises ValueError for malformed headers and chunks.
    except (OSError, HTTPException, ValueError) as error:
        if connections.has_ended.is_set():
            raise NoAnswerError(TimeoutError(f"timed out after {total_s:g} s")) from error
        inner = error.reason if isinstance(error, URLError) else None
        raise NoAnswerError(inner if isinstance(inner, BaseException) else error) from error
