"""Read requests strictly: what is none is refused at once, cheaply, and as the client's fault."""

import re
import time
from ipaddress import IPv6Address

from waitress.parser import HTTPRequestParser, ParsingError, TransferEncodingNotImplemented
from waitress.utilities import BadRequest, Error, RequestEntityTooLarge, RequestHeaderFieldsTooLarge

# Of the request targets CONNECT's is missing: a proxy we are not. Source: RFC 9112, 3 and 3.2.
_REQUEST_LINE = re.compile(
    rb"(?:[!#$%&'*+\-.^_`|~0-9A-Z]+ (?:/|(?i:https?)://)[\x21-\x7e]*|OPTIONS \*) HTTP/1\.[0-9]"
)
_METHOD_START = frozenset(b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ")
# Source: RFC 3986, 3.2.2 and 3.2.3; which brackets hold an address is for `ip_address`.
_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|[\w\-.~!$&'()*+,;=%]*)(?::([0-9]{0,5}))?", re.ASCII)
# No client sends so many; the time of waitress's expressions is nothing for fewer.
_MANY_BLANKS = b" " * 64


class RequestParser(HTTPRequestParser):  # type: ignore[misc]  # waitress has no types
    """One request, as far as it has been received.

    Attributes:
        begun_s: when its first byte came, on the monotonic clock; 0 before.
        rest: what came after its end.

    Source: RFC 9112.
    """

    # waitress names them in its log also where there was nothing to find them in.
    command = path = request_uri = ""
    begun_s = 0.0
    rest = b""

    def received(self, data: bytes) -> int:
        """Take what has come; return how much of it this request has taken.

        After its end it takes all, and keeps the rest for whoever reads the next request.
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
            # waitress makes up a request line then.
            self.command = self.request_uri = ""
        # There is no body to ask for; waitress would, and wait for it.
        self.expect_continue = False
        self.rest = new[taken:]
        return len(data)

    def _look_for_faults(self) -> None:
        """Refuse what waitress waits for in vain, or keeps without a bound."""
        if self.completed:
            return
        if not self.headers_finished:
            # waitress looks for CR LF twice and would wait for ever; RFC 9112, 2.2 lets a server
            # refuse that.
            if b"\n\n" in self.header_plus:
                self._refuse(BadRequest("Lines must end in CR LF"))
        elif self.chunked:
            # Its limit on bodies counts what is in chunks, not the lines between them.
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
            ParsingError: they are not as the specification says, or not supported.
        """
        _check(header_plus)
        try:
            super().parse_header(header_plus)
        except TransferEncodingNotImplemented as error:
            # Would be 501, and look as if we were at fault.
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
    """Refuse what waitress lets pass, or takes minutes to refuse.

    Raises:
        ParsingError: it is refused.
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
    """Refuse what is no host, or more than one: to take it apart raises.

    Raises:
        ParsingError: it is refused. Source: RFC 9112, 3.2.
    """
    match = None if host is None else _HOST.fullmatch(host)
    if match is None or int(match[2] or 0) > 65535:
        raise ParsingError("There must be one Host, and a valid one")
    if match[1]:
        try:
            IPv6Address(match[1])
        except ValueError as error:
            raise ParsingError("Host is no address") from error
