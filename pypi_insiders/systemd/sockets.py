"""Inherit listening sockets from systemd, or bind new ones."""

import errno
import os
import socket
from ipaddress import ip_address

from pypi_insiders.config import addresses
from pypi_insiders.util.errors import InsidersError

_FIRST_INHERITED = 3
# A kernel with `ipv6.disable=1` lacks the address family; with IPv6 switched off by sysctl the
# address is missing.
_NO_SUCH_ADDRESS = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


def inherited() -> list[socket.socket]:
    """Return the sockets that systemd passes to this process; empty without socket activation.

    Raises:
        InsidersError: a socket is not TCP.

    Source: sd_listen_fds(3).
    """
    # Removed from the environment: a child would take its own descriptors from 3 on for sockets.
    process, count, _ = (
        os.environ.pop(name, "") for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")
    )
    # Set for another process, such as a shell that started this one: then descriptors from 3 on
    # are something else.
    if process != str(os.getpid()) or not count.isdecimal():
        return []
    taken = [socket.socket(fileno=_FIRST_INHERITED + number) for number in range(int(count))]
    if any(item.family not in (socket.AF_INET, socket.AF_INET6) for item in taken):
        raise InsidersError(
            "systemd passes a socket that is not TCP", "set ListenStream=ADDRESS:PORT"
        )
    return taken


def bind_host(host: str, port: int) -> list[socket.socket]:
    """Listen on a host of the settings.

    Args:
        host: an IP address, or `localhost` for both loopback addresses; ::1 is optional.
        port: 0 chooses a free port, the same for both addresses.

    Raises:
        InsidersError: the port is in use, or the address does not belong to this machine.
    """
    first, *others = addresses.of_host(host)
    sockets = [bind(first, port)]
    for address in others:
        try:
            # The same port on ::1, because `localhost` in a URL may mean either address.
            sockets.append(bind(address, port or sockets[0].getsockname()[1]))
        except InsidersError as error:
            # Ignored if the address is missing, or if a free port of 127.0.0.1 is in use on ::1.
            if port and getattr(error.__cause__, "errno", None) not in _NO_SUCH_ADDRESS:
                raise
    return sockets


def bind(address: str, port: int) -> socket.socket:
    """Listen on one IP address.

    Raises:
        InsidersError: the port is in use, or the address does not belong to this machine.
    """
    # create_server() sets SO_REUSEADDR, so closed connections of the last server do not block the
    # port, and IPV6_V6ONLY, so ::1 does not include mapped IPv4 addresses.
    family = socket.AF_INET6 if ip_address(address).version == 6 else socket.AF_INET
    try:
        # Resolvers open many connections at once; the kernel limits this to net.core.somaxconn.
        return socket.create_server((address, port), family=family, backlog=1024)
    except OSError as error:
        where = addresses.join(address, port)
        if error.errno == errno.EADDRINUSE:
            raise InsidersError(
                f"cannot listen on {where}: the port is taken",
                f"find its process: `ss -ltnp 'sport = :{port}'`; or choose another port",
            ) from error
        reason = os.strerror(error.errno) if error.errno else str(error)
        hints = {
            errno.EADDRNOTAVAIL: "list the addresses of this machine: `ip address`",
            errno.EACCES: "choose a port above 1023; lower ones are reserved for root",
        }
        hint = hints.get(error.errno) if error.errno else None
        raise InsidersError(f"cannot listen on {where}: {reason}", hint) from error
