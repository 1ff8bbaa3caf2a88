"""Get the listening sockets: from systemd, or of our own."""

import errno
import os
import socket
from ipaddress import ip_address

from pypi_insiders.config import addresses
from pypi_insiders.util.errors import InsidersError

_FIRST_INHERITED = 3
# Without IPv6 in the kernel (`ipv6.disable=1`) there is no such family; with it switched off by
# sysctl there is no such address.
_NO_SUCH_ADDRESS = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


def inherited() -> list[socket.socket]:
    """Take over the sockets that systemd listens on for us; none when it does not.

    Raises:
        InsidersError: one is of another kind than TCP.

    Source: sd_listen_fds(3).
    """
    # Taken away, for what we start would take any of its file descriptors for sockets otherwise.
    process, count, _ = (
        os.environ.pop(name, "") for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")
    )
    # A shell or a wrapper between systemd and us would have that number, and the sockets; ours is
    # another, and the descriptors from 3 on are somebody else's.
    if process != str(os.getpid()) or not count.isdecimal():
        return []
    taken = [socket.socket(fileno=_FIRST_INHERITED + number) for number in range(int(count))]
    if any(item.family not in (socket.AF_INET, socket.AF_INET6) for item in taken):
        raise InsidersError(
            "systemd hands over a socket that is not TCP", "write ListenStream=ADDRESS:PORT"
        )
    return taken


def bind_host(host: str, port: int) -> list[socket.socket]:
    """Listen on a host of the settings.

    Args:
        host: an IP address, or `localhost` for both loopback addresses, of which ::1 may be
            missing on this machine.
        port: 0 picks a free one, the same for both addresses.

    Raises:
        InsidersError: the port is taken or the address is none of this machine's.
    """
    first, *others = addresses.of_host(host)
    sockets = [bind(first, port)]
    for address in others:
        try:
            # The same port on ::1, for `localhost` in a URL may be either: a free port for one of
            # them may be taken for the other, and then the other address is left out.
            sockets.append(bind(address, port or sockets[0].getsockname()[1]))
        except InsidersError as error:
            # A free port was wanted and one was found, or there is no such address here.
            if port and getattr(error.__cause__, "errno", None) not in _NO_SUCH_ADDRESS:
                raise
    return sockets


def bind(address: str, port: int) -> socket.socket:
    """Listen on one IP address.

    Raises:
        InsidersError: the port is taken or the address is none of this machine's.
    """
    # create_server() sets SO_REUSEADDR: connections of an index that has just ended hold no port.
    family = socket.AF_INET6 if ip_address(address).version == 6 else socket.AF_INET
    try:
        # Binds ::1 only, not the mapped IPv4 addresses too.
        # Resolvers open many connections at once; the kernel cuts this to net.core.somaxconn.
        return socket.create_server((address, port), family=family, backlog=1024)
    except OSError as error:
        where = addresses.join(address, port)
        if error.errno == errno.EADDRINUSE:
            raise InsidersError(
                f"cannot listen on {where}: the port is taken",
                f"see who has it: `ss -ltnp 'sport = :{port}'`; or choose another port",
            ) from error
        reason = os.strerror(error.errno) if error.errno else str(error)
        hints = {
            errno.EADDRNOTAVAIL: "see the addresses of this machine: `ip address`",
            errno.EACCES: "ports below 1024 are for root: choose a higher one",
        }
        hint = hints.get(error.errno) if error.errno else None
        raise InsidersError(f"cannot listen on {where}: {reason}", hint) from error
