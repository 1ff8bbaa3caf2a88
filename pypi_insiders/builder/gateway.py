"""Let builds reach other machines over HTTP, and nothing on this one."""

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

# Each takes two descriptors and two threads of ours, and there is a gateway for each build.
_CONNECTIONS = 64
_HEADER_BYTES = 32 * 1024
_LOOK_S = 0.1
_CONNECT_TIMEOUT_S = 60
_HEADER_TIMEOUT_S = 60
# Others send nothing of a build. TRACE would have the proxy of this machine tell our password.
_METHODS = (b"CONNECT", b"GET", b"HEAD", b"POST")
_REQUEST = re.compile(rb"([A-Z]+) ([\x21-\x7e]+) HTTP/1\.[01]\r\n")
# A line of a header as RFC 9112, 5 has it. For some who read others, such as one that ends with a
# line feed alone, the header ends there, and what follows is a request that nobody looked at.
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([\t\x20-\x7e\x80-\xff]*)")
_STATUS = re.compile(rb"HTTP/1\.[01] ([0-9]{3})[^\r\n]*")
# Those of a proxy, which are not for whom it asks. Source: RFC 9110, 7.6.1.
_HOST = re.compile(rb"(?im)^host[ \t]*:[^\n]*\n")
_OF_PROXY = re.compile(rb"(?im)^(?:proxy-[\w-]+|connection|keep-alive):[^\n]*\n")


class _Refused(Exception):  # noqa: N818 - it is an answer
    """What is asked for is not given.

    Args:
        status: as HTTP has it.
        why: one line.
    """

    def __init__(self, status: str, why: str) -> None:
        super().__init__(why)
        self.status = status


class _Target(NamedTuple):
    """What a request asks for."""

    method: bytes
    scheme: str
    host: str
    port: int
    uri: bytes


class _Way(NamedTuple):
    """How a request goes on."""

    server: socket.socket
    greeting: bytes = b""
    """What is said first."""
    body_bytes: int | None = None
    """How much more of the client is handed on; `None`: all, as it is for one host alone."""


@contextlib.contextmanager
def opened(path: Path) -> Iterator[None]:
    """Serve an HTTP proxy on a Unix socket for as long as the context lasts.

    It leads to other machines, directly or by the proxy that the environment names. Addresses of
    this machine are refused, however they are named: its loopback, and what it has of its own. A
    proxy on this machine is given addresses and no names, which it would resolve again: by then
    they could be names of this machine. A proxy gets one request on a connection, and no more.

    Args:
        path: of the socket, which is not there yet.

    Source: RFC 9110, 9.3.6 and 9.3.8; RFC 9112, 3.2.2.
    """
    with socket.socket(socket.AF_UNIX) as server:
        # The path of a socket may have 107 characters. Source: unix(7).
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
        self._room = threading.BoundedSemaphore(_CONNECTIONS)

    def serve(self) -> None:
        """Take connections until it is closed."""
        while not self._closed.is_set():
            if not self._room.acquire(timeout=_LOOK_S):
                continue  # more of them wait until one ends
            try:
                client, _ = self._server.accept()
            except OSError:  # closed, or no descriptor is left
                self._room.release()
                self._closed.wait(_LOOK_S)
                continue
            threading.Thread(target=self._attend, args=(client,), daemon=True).start()

    def close(self) -> None:
        """End all connections."""
        with self._lock:
            self._closed.set()
            for connection in (self._server, *self._open):
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def _attend(self, client: socket.socket) -> None:
        with contextlib.ExitStack() as stack:
            stack.callback(self._room.release)
            stack.enter_context(contextlib.suppress(OSError))
            self._keep(client, stack)
            self._answer(client, stack)

    def _keep(self, connection: socket.socket, stack: contextlib.ExitStack) -> None:
        """Close a connection at the end of its thread, or with all others."""
        stack.enter_context(connection)
        with self._lock:
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
            way = _reach(target, header)
            self._keep(way.server, stack)
            way.server.sendall(way.greeting)
            reply = b""
            if target.method == b"CONNECT":
                established = b"HTTP/1.1 200 Connection established\r\n\r\n"
                reply = _reply_of_proxy(way.server) if way.greeting else established
        except _Refused as error:
            _log.debug("a build was refused the network: %s", error)
            body = f"{error}\n"
            client.sendall(
                f"HTTP/1.1 {error.status}\r\nContent-Type: text/plain\r\nConnection: close\r\n"
                f"Content-Length: {len(body.encode())}\r\n\r\n{body}".encode()
            )
            return
        client.sendall(reply)
        if way.body_bytes is None:
            way.server.sendall(rest)
            join(client, way.server)
        else:
            _exchange(client, way.server, rest, way.body_bytes)


def _exchange(client: socket.socket, server: socket.socket, rest: bytes, body_bytes: int) -> None:
    """Carry the answer to one request, and of the client no more than the body of that."""

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
        raise _Refused("400 Bad Request", "no request, or too long a header")
    header, _, rest = received.partition(b"\r\n\r\n")
    return header + b"\r\n\r\n", rest


def _received(connection: socket.socket) -> bytes | None:
    """Read until a header has ended; `None`: it does not, or is too long."""
    received = b""
    while b"\r\n\r\n" not in received:
        part = connection.recv(4096)
        if not part or len(received) > _HEADER_BYTES:
            return None
        received += part
    return received


def _target(header: bytes) -> _Target:
    """Read whom a request is for."""
    match = _REQUEST.match(header)
    try:
        if match is None:
            raise ValueError
        method, uri = match.groups()
        url = urlsplit(("https://" if method == b"CONNECT" else "") + uri.decode("ascii"))
        port = url.port or {"http": 80, "https": 443}[url.scheme]
        if not url.hostname or (method != b"CONNECT" and url.scheme != "http"):
            raise ValueError
        url.hostname.encode("idna")
    except (ValueError, KeyError) as error:
        raise _Refused("400 Bad Request", "no request to a proxy for HTTP") from error
    if method not in _METHODS:
        raise _Refused(
            "501 Not Implemented", f"builds may use {b', '.join(_METHODS).decode()} and no other"
        )
    _fields(header)  # are fields
    return _Target(method, url.scheme, url.hostname, port, uri)


def _fields(header: bytes) -> list[tuple[bytes, bytes]]:
    """Read the fields of a header, the names in lower case."""
    found = []
    for line in header.removesuffix(b"\r\n\r\n").split(b"\r\n")[1:]:
        match = _FIELD.fullmatch(line)
        if match is None:
            raise _Refused("400 Bad Request", "a line of the header is none")
        found.append((match[1].lower(), match[2].strip()))
    return found


def _body_bytes(header: bytes) -> int:
    """Tell how long the body of a request is."""
    fields = _fields(header)
    sizes = [value for name, value in fields if name == b"content-length"]
    if any(name == b"transfer-encoding" for name, _ in fields):
        raise _Refused("411 Length Required", "a proxy is given only what says its length")
    if len(sizes) > 1 or not all(re.fullmatch(rb"[0-9]{1,18}", size) for size in sizes):
        raise _Refused("400 Bad Request", "no length of a body")
    return int(sizes[0]) if sizes else 0


def _reply_of_proxy(proxy: socket.socket) -> bytes:
    """Wait until another proxy leads to whom a request is for; return what it says.

    Unless it does, it may wait for another request, and nobody would look at that.
    """
    proxy.settimeout(_CONNECT_TIMEOUT_S)
    received = _received(proxy)
    if received is None:
        raise _Refused("502 Bad Gateway", "the proxy of this machine gives no answer")
    proxy.settimeout(None)
    match = _STATUS.match(received)
    if match is None or not match[1].startswith(b"2"):
        told = match[0].decode(errors="replace") if match else "nothing of HTTP"
        raise _Refused("502 Bad Gateway", f"the proxy of this machine answers {told}")
    return received


def _reach(target: _Target, header: bytes) -> _Way:
    """Connect to whom a request is for."""
    addresses = _addresses(target.host, target.port)
    for address in addresses:
        if is_own(address[0]):
            raise _Refused(
                "403 Forbidden", f"{target.host} is this machine, of which builds reach nothing"
            )
    proxies = getproxies_environment()
    proxy = proxies.get(target.scheme)
    if proxy and not proxy_bypass(f"{target.host}:{target.port}", proxies):
        return _by_proxy(proxy, target, addresses, header)
    if not addresses:
        raise _Refused("502 Bad Gateway", f"the name {target.host} cannot be resolved")
    connection = _connected(addresses)
    if target.method == b"CONNECT":
        return _Way(connection)
    first = b"%s %s HTTP/1.1" % (target.method, _origin(target))
    return _Way(connection, _rewritten(header, first))


def _by_proxy(
    proxy: str, target: _Target, addresses: Sequence[tuple[str, int]], header: bytes
) -> _Way:
    """Hand a request on to another proxy, with the password that only we know."""
    url = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    if url.scheme != "http" or not url.hostname:
        raise _Refused("502 Bad Gateway", "the proxy of this machine is not one for HTTP")
    places = _addresses(url.hostname, url.port or 80)
    if not places:
        raise _Refused("502 Bad Gateway", f"the name {url.hostname} cannot be resolved")
    first = header.partition(b"\r\n")[0]
    if any(is_own(place[0]) for place in places):
        if not addresses:
            raise _Refused("502 Bad Gateway", f"the name {target.host} cannot be resolved")
        first = _addressed(target, addresses[0])
    # A proxy may go by the name in the header, which may be another one. Source: RFC 9112, 3.2.2.
    header = _HOST.sub(b"", header)
    fields = [b"Host: " + _authority(target.host, target.port).encode()]
    words = f"{unquote(url.username or '')}:{unquote(url.password or '')}".encode()
    if url.username:
        fields.append(b"Proxy-Authorization: Basic %s" % b64encode(words))
    body_bytes = None if target.method == b"CONNECT" else _body_bytes(header)
    return _Way(_connected(places), _rewritten(header, first, *fields), body_bytes)


def _authority(host: str, port: int) -> str:
    """Write host and port as a URL has them."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _addressed(target: _Target, address: tuple[str, int]) -> bytes:
    """Write the request line to a proxy with an address; a field of the header has the name."""
    place = _authority(*address).encode()
    if target.method == b"CONNECT":
        return b"CONNECT %s HTTP/1.1" % place
    return b"%s http://%s%s HTTP/1.1" % (target.method, place, _origin(target))


def _origin(target: _Target) -> bytes:
    """Return path and query of what is asked for."""
    url = urlsplit(target.uri)
    return (url.path or b"/") + (b"?" + url.query if url.query else b"")


def _rewritten(header: bytes, *first: bytes) -> bytes:
    """Write another request line, without what concerned only us."""
    rest = _OF_PROXY.sub(b"", header.partition(b"\r\n")[2])
    # One request on a connection: the next may be for another host.
    closing = () if header.startswith(b"CONNECT ") else (b"Connection: close",)
    return b"\r\n".join((*first, *closing, rest))


def _addresses(host: str, port: int) -> list[tuple[str, int]]:
    """Resolve a name, once: what is looked at is what is connected to."""
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
    """Tell whether an address leads to this machine, or to what stands between it and others.

    To reach itself, the kernel sends from the address that it sends to. Nothing is sent here.

    Source: ip-route(8), the table `local`; udp(7), connect(2).
    """
    found = ip_address(address.partition("%")[0])
    mapped: IPv4Address | IPv6Address = getattr(found, "ipv4_mapped", None) or found
    if mapped.is_loopback or mapped.is_unspecified or mapped.is_link_local or mapped.is_multicast:
        return True
    family = socket.AF_INET if mapped.version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((str(mapped), 9))
        except OSError:
            return False  # there is no way to it
        return bool(ip_address(probe.getsockname()[0].partition("%")[0]) == mapped)
