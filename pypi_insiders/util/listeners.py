"""Find the processes that listen on a TCP port of this machine."""

import contextlib
import os
import struct
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import NamedTuple

from pypi_insiders.util.users import user_name

_LISTEN = "0A"  # Source: the kernel's include/net/tcp_states.h


class Listener(NamedTuple):
    """A listening socket."""

    address: IPv4Address | IPv6Address
    user_id: int
    inode: str

    @property
    def is_own(self) -> bool:
        """Whether the socket belongs to this user, for example to the user manager."""
        return self.user_id == os.getuid()

    @property
    def user(self) -> str:
        """The name of the socket's user, or the number of a user without a name."""
        return user_name(self.user_id)

    @property
    def holder(self) -> str:
        """Describe the processes that have the socket open, or its user."""
        # A socket can be open in several: systemd passes it on and keeps it.
        found = [
            f"{_name(process)} (process {process.name})"
            for process in Path("/proc").glob("[0-9]*")
            if _has(process, f"socket:[{self.inode}]")
        ]
        if found:
            return " and ".join(sorted(found))
        return f"a process of user {self.user}"


def on(port: int, addresses: tuple[str, ...]) -> list[Listener]:
    """Find the listeners on a port at one of these addresses, or at the wildcard address."""
    wanted = {_as_ipv4(ip_address(address)) for address in addresses}
    return [
        listener
        for listener in _all(port)
        if listener.address in wanted
        or listener.address.is_unspecified
        or any(address.is_unspecified for address in wanted)
    ]


def holders(port: int, addresses: tuple[str, ...]) -> str:
    """Name the processes that listen on a port, each once; empty if none does."""
    return " and ".join(sorted({it.holder for it in on(port, addresses)}))


def strangers(port: int, addresses: tuple[str, ...]) -> list[Listener]:
    """Find the listeners of other users on a port, one per user."""
    found = {it.user_id: it for it in on(port, addresses) if not it.is_own}
    return list(found.values())


def _all(port: int) -> Iterator[Listener]:
    """Read the kernel's tables. Source: proc(5), `/proc/net/tcp`."""
    # Not ss(8): minimal systems have no iproute2.
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        lines = []
        with contextlib.suppress(OSError):  # tcp6 is missing on a kernel without IPv6
            lines = Path(table).read_text(encoding="ascii").splitlines()[1:]
        for columns in map(str.split, lines):
            address, _, its_port = columns[1].partition(":")
            if columns[3] == _LISTEN and int(its_port, 16) == port:
                yield Listener(_address(address), int(columns[7]), columns[9])


def _address(words: str) -> IPv4Address | IPv6Address:
    # The kernel prints each 32-bit word as a number in the byte order of this machine.
    numbers = (int(words[at : at + 8], 16) for at in range(0, len(words), 8))
    return _as_ipv4(ip_address(b"".join(struct.pack("=I", number) for number in numbers)))


def _as_ipv4(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    # An IPv6 socket also listens on IPv4, as ::ffff:127.0.0.1.
    return getattr(address, "ipv4_mapped", None) or address


def _has(process: Path, socket: str) -> bool:
    with contextlib.suppress(OSError):  # EACCES: the process belongs to another user
        for descriptor in (process / "fd").iterdir():
            with contextlib.suppress(OSError):  # closed since it was listed
                if os.readlink(descriptor) == socket:  # noqa: PTH115 - it is no path
                    return True
    return False


def _name(process: Path) -> str:
    with contextlib.suppress(OSError):
        return (process / "comm").read_text(encoding="utf-8", errors="replace").strip()
    return "a process that has just ended"
