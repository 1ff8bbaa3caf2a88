"""Resolve where the index listens, and which hosts and URLs lead there."""

import re
from collections.abc import Collection
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlsplit

_OWN_PATHS = ("", "/simple", "/insiders", "/insiders/simple")


def of_host(host: str) -> tuple[str, ...]:
    """Return the IP addresses of a host; the first is required, others may be missing."""
    return ("127.0.0.1", "::1") if host == "localhost" else (host,)


def join(address: str, port: int) -> str:
    """Write an address and a port as URLs and systemd do."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def url(host: str, port: int) -> str:
    """Return the URL, up to the port, that reaches on this machine what listens at a host."""
    address = ip_address(of_host(host)[0])
    # 0.0.0.0 is where it listens, and no address that a client can be told.
    if address.is_unspecified:
        address = ip_address("::1" if address.version == 6 else "127.0.0.1")
    return f"http://{join(str(address), port)}"


def is_loopback(host: str) -> bool:
    """Check whether a host, as URLs name it, is this machine whoever asks.

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
    """Return what is wrong with a fallback URL that leads back to the index; `None`: nothing.

    Args:
        fallback_url: however it is spelled; `None`: the default.
        host: where the index listens.
        port: where it listens.
        names: host names by which clients call the index.
    """
    if fallback_url is None or not _leads_to(fallback_url, host, port, names):
        return None
    problem = "must be another index than this one, which would redirect to itself"
    return f"{problem}, not {fallback_url!r}"


def _leads_to(url: str, own_host: str, own_port: int, names: Collection[str]) -> bool:
    parts = urlsplit(url)
    port = parts.port or {"http": 80, "https": 443}[parts.scheme]
    host = (parts.hostname or "").rstrip(".")
    if port == own_port and (host in names or _listens_at(own_host, host)):
        return True
    # Names may be those of a proxy before the index, where other paths can be somebody else's.
    # Spelled otherwise, a fallback that is the index itself would redirect in a circle, which pip
    # follows until it gives up.
    path = re.sub("/+", "/", parts.path).rstrip("/").lower()
    return host in names and port in (80, 443) and path in _OWN_PATHS


def _listens_at(own_host: str, host: str) -> bool:
    own = [ip_address(address) for address in of_host(own_host)]
    # All of 127/8 is this machine, as is the unspecified address as a destination.
    is_here = any(it.is_loopback or it.is_unspecified for it in own)
    address = _address(host)
    if address is None:
        return is_here and is_loopback(host)
    if address.is_unspecified:
        return is_here
    return address in own or (address.is_loopback and any(it.is_unspecified for it in own))


def _address(host: str) -> IPv4Address | IPv6Address | None:
    """Read the host of a URL as an IP address, also `127.1` and `::ffff:127.0.0.1`."""
    try:
        address = ip_address(host)
    except ValueError:
        import socket

        try:
            return IPv4Address(socket.inet_aton(host))  # what C programs read as an address
        except OSError:
            return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
