"""Parse requests strictly: invalid ones are refused early, and with a status of 4xx."""

import re
import time
from ipaddress import IPv6Address

from waitress.parser import HTTPRequestParser, ParsingError, TransferEncodingNotImplemented
from waitress.utilities import BadRequest, Error, RequestEntityTooLarge, RequestHeaderFieldsTooLarge

# Without the target of CONNECT, which is for proxies. Source: RFC 9112, 3 and 3.2.
_REQUEST_LINE = re.compile(
    rb"(?:[!#$%&'*+\-.^_`|~0-9A-Z]+ (?:/|(?i:https?)://)[\x21-\x7e]*|OPTIONS \*) HTTP/1\.[0-9]"
)
_METHOD_START = frozenset(b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ")
# Source: RFC 3986, 3.2.2 and 3.2.3; the address in brackets is checked by `IPv6Address`.
_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|[\w\-.~!$&'()*+,;=%]*)(?::([0-9]{0,5}))?", re.ASCII)
# More than any client sends; for fewer, the quadratic time of waitress's expressions is harmless.
_MANY_BLANKS = b" " * 64


class RequestParser(HTTPRequestParser):  # type: ignore[misc]  # waitress has no types
    """One request, as far as it was received.

    Attributes:
        begun_s: the time of its first byte, on the monotonic clock; 0 before.
        rest: the bytes after its end.

    Source: RFC 9112.
    """

    # waitress logs them even if there was no request line.
    command = path = request_uri = ""
    begun_s = 0.0
    rest = b""

    def received(self, data: bytes) -> int:
        """Parse received bytes; return how many were used.

        After the end of the request all are used, and `rest` has those of the next one.
        """
        if self.completed:
            return 0
        new = data
        if not self.begun_s:
            # Source: RFC 9112, 2.2, blank lines before a request.
            new = data.lstrip(b"\r\n")
            if not new:
                return len(data)
            self.begun_s = time.monotonic()
            if new[0] not in _METHOD_START:  # TLS, perhaps
                self._refuse(BadRequest("This is not HTTP/1.1"))
                return len(data)
        taken: int = super().received(new)
        self._look_for_faults()
        if not self.completed:
            return len(data) - len(new) + taken
        if isinstance(self.error, RequestHeaderFieldsTooLarge):
            # waitress invents a request line for this error.
            self.command = self.request_uri = ""
        # The request is complete; waitress would send 100 Continue, and wait for a body.
        self.expect_continue = False
        self.rest = new[taken:]
        return len(data)

    def _look_for_faults(self) -> None:
        """Refuse requests for which waitress would wait for ever or use memory without a limit."""
        if self.completed:
            return
        if not self.headers_finished:
            # waitress waits for CR LF twice, so for ever; RFC 9112, 2.2 lets a server refuse LF.
            if b"\n\n" in self.header_plus:
                self._refuse(BadRequest("Lines must end in CR LF"))
        elif self.chunked:
            # waitress's limit of bodies counts the chunks, not the lines between them.
            chunks = self.body_rcv
            if len(chunks.control_line) + len(chunks.trailer) > self.adj.max_request_header_size:
                self._refuse(BadRequest("A chunk's header or the trailer is too long"))
            elif (
                self.body_bytes_received + chunks.chunk_remainder >= self.adj.max_request_body_size
            ):
                self._refuse(RequestEntityTooLarge("The body is too large"))

    def _refuse(self, error: Error) -> None:
        self.error = error
        self.completed = True

    def parse_header(self, header_plus: bytes) -> None:
        """Parse request line and header fields.

        Raises:
            ParsingError: they violate the specification, or are not supported.
        """
        _check(header_plus)
        try:
            super().parse_header(header_plus)
        except TransferEncodingNotImplemented as error:
            # waitress would answer 501, an error of the server.
            raise ParsingError(*error.args) from error
        except ValueError as error:  # urlsplit's, and int's of thousands of digits
            raise ParsingError("The request target or Content-Length is invalid") from error
        # Two lengths are how requests are smuggled past a proxy. Source: RFC 9112, 6.3.
        if self.chunked and "CONTENT_LENGTH" in self.headers:
            raise ParsingError("Content-Length and Transfer-Encoding")
        if "TRANSFER_ENCODING" in self.headers:  # waitress takes it out if it heeds it
            raise ParsingError("Transfer-Encoding is not of this version of HTTP")
        self.path = self.path or "/"
        if "\0" in self.path:  # no file has such a name, and to ask for it raises
            raise ParsingError("The path has a NUL")
        if self.version != "1.0" or "HOST" in self.headers:
            _check_host(self.headers.get("HOST"))


def _check(header_plus: bytes) -> None:
    """Check a header for faults that waitress accepts, or takes minutes to refuse.

    Raises:
        ParsingError: the header is not valid.
    """
    # Its regular expressions take quadratic time for a request line that matches none, and for
    # blanks before a value. Folded lines could put such blanks together.
    if not _REQUEST_LINE.fullmatch(header_plus.partition(b"\r\n")[0].rstrip(b" ")):
        raise ParsingError("The request line is invalid")
    if b"\r\n " in header_plus or b"\r\n\t" in header_plus:
        raise ParsingError("A header field is folded")
    if _MANY_BLANKS in header_plus.replace(b"\t", b" "):
        raise ParsingError("Too many blanks in the header")


def _check_host(host: str | None) -> None:
    """Check that there is one valid Host, as the application parses it.

    Raises:
        ParsingError: it is missing, repeated or not valid. Source: RFC 9112, 3.2.
    """
    match = None if host is None else _HOST.fullmatch(host)
    if match is None or int(match[2] or 0) > 65535:
        raise ParsingError("There must be one Host, and a valid one")
    if match[1]:
        try:
            IPv6Address(match[1])
        except ValueError as error:
            raise ParsingError("Host is no address") from error
