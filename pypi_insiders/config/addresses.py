"""Resolve the addresses of the index, and recognize hosts and URLs that lead to it."""

import re
from collections.abc import Collection
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlsplit

_OWN_PATHS = ("", "/simple", "/insiders", "/insiders/simple")


def of_host(host: str) -> tuple[str, ...]:
    """Return the IP addresses to listen on; the first is required, others are optional."""
    # Clients try either address for localhost; ::1 is missing on a machine without IPv6.
    return ("127.0.0.1", "::1") if host == "localhost" else (host,)


def join(address: str, port: int) -> str:
    """Format an address and a port as in URLs and in systemd."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def url(host: str, port: int) -> str:
    """Return the URL, up to the port, of a server on this machine that listens on a host."""
    address = ip_address(of_host(host)[0])
    # 0.0.0.0 and :: are addresses to listen on, not to connect to.
    if address.is_unspecified:
        address = ip_address("::1" if address.version == 6 else "127.0.0.1")
    return f"http://{join(str(address), port)}"


def is_loopback(host: str) -> bool:
    """Return whether the host of a URL always means this machine.

    Source: RFC 6761, section 6.3.
    """
    name = host.rstrip(".")
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")


def own_fallback(
    fallback_url: str | None, host: str, port: int, names: Collection[str]
) -> str | None:
    """Return the problem of a fallback URL that leads to this index; `None` if it does not.

    Args:
        fallback_url: in any spelling; `None`: the default; empty: none.
        host: the host the index listens on.
        port: its port.
        names: host names by which clients call the index.
    """
    if not fallback_url or not _leads_to(fallback_url, host, port, names):
        return None
    return f"must not be this index itself, which would redirect in a loop: {fallback_url!r}"


def _leads_to(url: str, own_host: str, own_port: int, names: Collection[str]) -> bool:
    parts = urlsplit(url)
    port = parts.port or {"http": 80, "https": 443}[parts.scheme]
    host = (parts.hostname or "").rstrip(".")
    if port == own_port and (host in names or _listens_at(own_host, host)):
        return True
    # A name may belong to a reverse proxy in front of the index, which serves other programs at
    # other paths. The path is normalized: in another spelling the index would still redirect to
    # itself, and pip follows that loop until it gives up.
    path = re.sub("/+", "/", parts.path).rstrip("/").lower()
    return host in names and port in (80, 443) and path in _OWN_PATHS


def _listens_at(own_host: str, host: str) -> bool:
    own = [ip_address(address) for address in of_host(own_host)]
    # All of 127/8 is this machine, and so is the unspecified address as a destination.
    is_here = any(it.is_loopback or it.is_unspecified for it in own)
    address = _address(host)
    if address is None:
        return is_here and is_loopback(host)
    if address.is_unspecified:
        return is_here
    return address in own or (address.is_loopback and any(it.is_unspecified for it in own))


def _address(host: str) -> IPv4Address | IPv6Address | None:
    """Parse the host of a URL as an IP address, including `127.1` and `::ffff:127.0.0.1`."""
    try:
        address = ip_address(host)
    except ValueError:
        import socket

        try:
            # C programs also accept 127.1 and 0x7f000001.
            return IPv4Address(socket.inet_aton(host))
        except OSError:
            return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
