"""An HTTP proxy through which builds reach other machines, but not this one."""

import contextlib
import logging
import os
import re
import socket
import threading
from base64 import b64encode
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies_environment, proxy_bypass

from pypi_insiders.builder.relay import carry, join

_log = logging.getLogger(__name__)

# Each connection takes two descriptors and two threads, and each build has a gateway.
_CONNECTIONS = 64
_HEADER_BYTES = 32 * 1024
_POLL_S = 0.1
_CONNECT_TIMEOUT_S = 60
_HEADER_TIMEOUT_S = 60
# All that builds need. TRACE would make this machine's proxy return our password for it.
_METHODS = (b"CONNECT", b"GET", b"HEAD", b"POST")
_REQUEST = re.compile(rb"([A-Z]+) ([\x21-\x7e]+) HTTP/1\.[01]\r\n")
# A field line exactly as in RFC 9112, section 5. Some servers are more lenient, for example with a
# bare line feed: for them the header would end earlier, and an unchecked request would follow.
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([\t\x20-\x7e\x80-\xff]*)")
_STATUS = re.compile(rb"HTTP/1\.[01] ([0-9]{3})[^\r\n]*")
_HOST = re.compile(rb"(?im)^host[ \t]*:[^\n]*\n")
# Hop-by-hop fields, which a proxy must not forward. Source: RFC 9110, section 7.6.1.
_HOP_BY_HOP = re.compile(rb"(?im)^(?:proxy-[\w-]+|connection|keep-alive):[^\n]*\n")


class _Refused(Exception):  # noqa: N818 - it becomes an answer
    """A request that is refused."""

    def __init__(self, status: str, why: str) -> None:
        super().__init__(why)
        self.status = status


class _Target(NamedTuple):
    """The target of a request."""

    method: bytes
    scheme: str
    host: str
    port: int
    uri: bytes


class _Route(NamedTuple):
    """The connection on which a request is forwarded."""

    server: socket.socket
    header: bytes = b""
    """The header to send first."""
    body_bytes: int | None = None
    """How many more bytes of the client to forward; `None`: all, as the server is one host."""


@contextlib.contextmanager
def opened(path: Path) -> Iterator[None]:
    """Serve an HTTP proxy on a Unix socket for as long as the context lasts.

    It forwards requests to other machines, directly or through the proxy in the environment.
    Requests for addresses of this machine are refused.

    Args:
        path: of the socket; must not exist.

    Source: RFC 9110, 9.3.6 and 9.3.8; RFC 9112, 3.2.2.
    """
    with socket.socket(socket.AF_UNIX) as server:
        # Through a descriptor: the path of a socket is limited to 107 bytes. Source: unix(7).
        directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
        try:
            server.bind(f"/proc/self/fd/{directory}/{path.name}")
        finally:
            os.close(directory)
        server.listen()
        gateway = _Gateway(server)
        serving = threading.Thread(target=gateway.serve, daemon=True)
        serving.start()
        try:
            yield
        finally:
            gateway.close()
            serving.join()


class _Gateway:
    def __init__(self, server: socket.socket) -> None:
        self._server = server
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._closed = threading.Event()
        self._free = threading.BoundedSemaphore(_CONNECTIONS)

    def serve(self) -> None:
        """Accept connections until the gateway is closed."""
        while not self._closed.is_set():
            # Further connections wait in the backlog.
            if not self._free.acquire(timeout=_POLL_S):
                continue
            try:
                client, _ = self._server.accept()
            except OSError:  # closed, or out of descriptors
                self._free.release()
                self._closed.wait(_POLL_S)
                continue
            threading.Thread(target=self._handle, args=(client,), daemon=True).start()

    def close(self) -> None:
        """Close all connections."""
        # `shutdown`, and not `close`: only it wakes threads that wait in `accept` or `recv`.
        with self._lock:
            self._closed.set()
            for connection in (self._server, *self._open):
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def _handle(self, client: socket.socket) -> None:
        with contextlib.ExitStack() as stack:
            stack.callback(self._free.release)
            stack.enter_context(contextlib.suppress(OSError))
            self._register(client, stack)
            self._answer(client, stack)

    def _register(self, connection: socket.socket, stack: contextlib.ExitStack) -> None:
        """Close a connection at the end of its thread, or when the gateway is closed."""
        stack.enter_context(connection)
        with self._lock:
            # `close` has run since the connection was made, and would not see it.
            if self._closed.is_set():
                raise ConnectionAbortedError
            self._open.add(connection)
        stack.callback(self._forget, connection)

    def _forget(self, connection: socket.socket) -> None:
        with self._lock:
            self._open.discard(connection)

    def _answer(self, client: socket.socket, stack: contextlib.ExitStack) -> None:
        try:
            client.settimeout(_HEADER_TIMEOUT_S)
            header, rest = _read_header(client)
            client.settimeout(None)
            target = _target(header)
            route = _connect(target, header)
            self._register(route.server, stack)
            route.server.sendall(route.header)
            # With a header of its own the way is by a proxy, which answers for itself.
            reply = b""
            if target.method == b"CONNECT":
                established = b"HTTP/1.1 200 Connection established\r\n\r\n"
                reply = _reply_of_proxy(route.server) if route.header else established
        except _Refused as error:
            _log.debug("refused a request of a build: %s", error)
            body = f"{error}\n"
            client.sendall(
                f"HTTP/1.1 {error.status}\r\nContent-Type: text/plain\r\nConnection: close\r\n"
                f"Content-Length: {len(body.encode())}\r\n\r\n{body}".encode()
            )
            return
        client.sendall(reply)
        if route.body_bytes is None:
            route.server.sendall(rest)
            join(client, route.server)
        else:
            _exchange(client, route.server, rest, route.body_bytes)


def _exchange(client: socket.socket, server: socket.socket, rest: bytes, body_bytes: int) -> None:
    """Forward the body of one request and its answer."""
    # Exactly its length: anything behind it would be a second, unchecked request to the proxy.

    def send() -> None:
        part, left_bytes = rest, body_bytes
        with contextlib.suppress(OSError):
            while left_bytes > 0 and (part := (part or client.recv(65536))[:left_bytes]):
                server.sendall(part)
                left_bytes -= len(part)
                part = b""

    sending = threading.Thread(target=send, daemon=True)
    sending.start()
    carry(server, client)
    with contextlib.suppress(OSError):
        client.shutdown(socket.SHUT_RDWR)
    sending.join()


def _read_header(connection: socket.socket) -> tuple[bytes, bytes]:
    received = _received(connection)
    if received is None:
        raise _Refused("400 Bad Request", "no request, or its header is too long")
    header, _, rest = received.partition(b"\r\n\r\n")
    return header + b"\r\n\r\n", rest


def _received(connection: socket.socket) -> bytes | None:
    """Read until the end of a header; `None` if it is incomplete or too long."""
    received = b""
    while b"\r\n\r\n" not in received:
        part = connection.recv(4096)
        if not part or len(received) > _HEADER_BYTES:
            return None
        received += part
    return received


def _target(header: bytes) -> _Target:
    """Parse the target of a request."""
    match = _REQUEST.match(header)
    try:
        if match is None:
            raise ValueError
        method, uri = match.groups()
        url = urlsplit(("https://" if method == b"CONNECT" else "") + uri.decode("ascii"))
        port = url.port or {"http": 80, "https": 443}[url.scheme]
        if not url.hostname or (method != b"CONNECT" and url.scheme != "http"):
            raise ValueError
        # Raises UnicodeError, which is a ValueError, for an invalid host name.
        url.hostname.encode("idna")
    except (ValueError, KeyError) as error:
        raise _Refused("400 Bad Request", "not a valid request to an HTTP proxy") from error
    if method not in _METHODS:
        raise _Refused(
            "501 Not Implemented", f"builds may only use {b', '.join(_METHODS).decode()}"
        )
    _fields(header)  # raises for a malformed one, also where no field is needed
    return _Target(method, url.scheme, url.hostname, port, uri)


def _fields(header: bytes) -> list[tuple[bytes, bytes]]:
    """Parse the fields of a header; names are returned in lower case."""
    found = []
    for line in header.removesuffix(b"\r\n\r\n").split(b"\r\n")[1:]:
        match = _FIELD.fullmatch(line)
        if match is None:
            raise _Refused("400 Bad Request", "the header has a malformed line")
        found.append((match[1].lower(), match[2].strip()))
    return found


def _body_bytes(header: bytes) -> int:
    """Return the length of a request's body."""
    fields = _fields(header)
    sizes = [value for name, value in fields if name == b"content-length"]
    # Chunks would have to be parsed to find the end of the body, as the proxy parses them.
    if any(name == b"transfer-encoding" for name, _ in fields):
        raise _Refused("411 Length Required", "a request through a proxy needs a Content-Length")
    # Two lengths: the proxy might use the other one (request smuggling).
    if len(sizes) > 1 or not all(re.fullmatch(rb"[0-9]{1,18}", size) for size in sizes):
        raise _Refused("400 Bad Request", "the Content-Length is malformed")
    return int(sizes[0]) if sizes else 0


def _reply_of_proxy(proxy: socket.socket) -> bytes:
    """Wait for the answer of this machine's proxy to CONNECT; return it if it succeeded."""
    # Without a tunnel the proxy waits for another request on this connection, unchecked.
    proxy.settimeout(_CONNECT_TIMEOUT_S)
    received = _received(proxy)
    if received is None:
        raise _Refused("502 Bad Gateway", "the proxy of this machine does not answer")
    proxy.settimeout(None)
    match = _STATUS.match(received)
    if match is None or not match[1].startswith(b"2"):
        status = match[0].decode(errors="replace") if match else "something other than HTTP"
        raise _Refused("502 Bad Gateway", f"the proxy of this machine answers {status}")
    return received


def _connect(target: _Target, header: bytes) -> _Route:
    """Connect to the target of a request, or to a proxy."""
    # Before a proxy is chosen: through it, no address of this machine may be reached either.
    addresses = _addresses(target.host, target.port)
    for address in addresses:
        if is_own(address[0]):
            raise _Refused(
                "403 Forbidden", f"{target.host} is this machine, which builds may not reach"
            )
    proxies = getproxies_environment()
    proxy = proxies.get(target.scheme)
    if proxy and not proxy_bypass(f"{target.host}:{target.port}", proxies):
        return _by_proxy(proxy, target, addresses, header)
    if not addresses:
        raise _Refused("502 Bad Gateway", f"cannot resolve {target.host}")
    connection = _connected(addresses)
    if target.method == b"CONNECT":
        return _Route(connection)
    first = b"%s %s HTTP/1.1" % (target.method, _origin(target))
    return _Route(connection, _rewritten(header, first))


def _by_proxy(
    proxy: str, target: _Target, addresses: Sequence[tuple[str, int]], header: bytes
) -> _Route:
    """Connect to this machine's proxy, with the password from the environment."""
    url = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    if url.scheme != "http" or not url.hostname:
        raise _Refused("502 Bad Gateway", "the proxy of this machine is not an http:// URL")
    places = _addresses(url.hostname, url.port or 80)
    if not places:
        raise _Refused("502 Bad Gateway", f"cannot resolve {url.hostname}")
    first = header.partition(b"\r\n")[0]
    # A proxy on this machine gets the checked address: it would resolve the name again, and by
    # then the name could mean this machine (DNS rebinding).
    if any(is_own(place[0]) for place in places):
        if not addresses:
            raise _Refused("502 Bad Gateway", f"cannot resolve {target.host}")
        first = _addressed(target, addresses[0])
    # The build's own Host field could name another host, and some proxies prefer it. Source: RFC
    # 9112, section 3.2.2.
    header = _HOST.sub(b"", header)
    fields = [b"Host: " + _authority(target.host, target.port).encode()]
    credentials = f"{unquote(url.username or '')}:{unquote(url.password or '')}".encode()
    if url.username:
        fields.append(b"Proxy-Authorization: Basic %s" % b64encode(credentials))
    body_bytes = None if target.method == b"CONNECT" else _body_bytes(header)
    return _Route(_connected(places), _rewritten(header, first, *fields), body_bytes)


def _authority(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _addressed(target: _Target, address: tuple[str, int]) -> bytes:
    """Return a request line with an address; the Host field has the name."""
    place = _authority(*address).encode()
    if target.method == b"CONNECT":
        return b"CONNECT %s HTTP/1.1" % place
    return b"%s http://%s%s HTTP/1.1" % (target.method, place, _origin(target))


def _origin(target: _Target) -> bytes:
    """Return the path and query of a target."""
    url = urlsplit(target.uri)
    return (url.path or b"/") + (b"?" + url.query if url.query else b"")


def _rewritten(header: bytes, *first: bytes) -> bytes:
    """Replace the request line of a header, and remove hop-by-hop fields."""
    rest = _HOP_BY_HOP.sub(b"", header.partition(b"\r\n")[2])
    # A single request per connection: the next could be for another host.
    closing = () if header.startswith(b"CONNECT ") else (b"Connection: close",)
    return b"\r\n".join((*first, *closing, rest))


def _addresses(host: str, port: int) -> list[tuple[str, int]]:
    # Once per request: the addresses that are checked are those that are connected to.
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return [(str(item[4][0]), int(item[4][1])) for item in found]


def _connected(addresses: Sequence[tuple[str, int]]) -> socket.socket:
    why = ""
    for address in addresses:
        try:
            connection = socket.create_connection(address, timeout=_CONNECT_TIMEOUT_S)
        except OSError as error:
            why = error.strerror or str(error)
        else:
            connection.settimeout(None)
            return connection
    raise _Refused("502 Bad Gateway", f"cannot connect: {why}")


def is_own(address: str) -> bool:
    """Return whether an address is this machine's, link-local or multicast.

    Source: ip-route(8), the table `local`; udp(7), connect(2).
    """
    found = ip_address(address.partition("%")[0])
    mapped: IPv4Address | IPv6Address = getattr(found, "ipv4_mapped", None) or found
    if mapped.is_loopback or mapped.is_unspecified or mapped.is_link_local or mapped.is_multicast:
        return True
    family = socket.AF_INET if mapped.version == 4 else socket.AF_INET6
    # The kernel is asked instead of a list of interfaces: for a local address it chooses the same
    # address as the source. Connecting a datagram socket sends nothing.
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((str(mapped), 9))
        except OSError:
            return False  # no route
        return bool(ip_address(probe.getsockname()[0].partition("%")[0]) == mapped)
