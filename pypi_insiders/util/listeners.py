"""Find out who listens on a TCP port of this machine."""

import contextlib
import os
import pwd
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

_LISTEN = "0A"  # Source: the kernel's include/net/tcp_states.h


@dataclass(frozen=True)
class Listener:
    """A socket that takes connections."""

    address: IPv4Address | IPv6Address
    user_id: int
    inode: str

    @property
    def is_own(self) -> bool:
        """Whether a process of this user listens, also the user's own service manager."""
        return self.user_id == os.getuid()

    @property
    def user(self) -> str:
        """The name of the user who listens, or the number where there is no name."""
        try:
            return pwd.getpwuid(self.user_id).pw_name
        except KeyError:
            return str(self.user_id)

    @property
    def holder(self) -> str:
        """Say in words whose it is, as far as that can be seen."""
        found = [
            f"{_name(process)} (process {process.name})"
            for process in Path("/proc").glob("[0-9]*")
            if _has(process, f"socket:[{self.inode}]")
        ]
        if found:
            return " and ".join(sorted(found))
        return f"a process of the user {self.user} that cannot be looked at"


def on(port: int, addresses: tuple[str, ...]) -> list[Listener]:
    """Find who listens on a port at one of these addresses, or at all addresses."""
    wanted = {ip_address(address) for address in addresses}
    return [
        listener
        for listener in _all(port)
        if listener.address in wanted
        or listener.address.is_unspecified
        or any(address.is_unspecified for address in wanted)
    ]


def strangers(port: int, addresses: tuple[str, ...]) -> list[Listener]:
    """Find which of those who listen there are other users: what they serve is not ours."""
    found = {it.user_id: it for it in on(port, addresses) if not it.is_own}
    return list(found.values())


def _all(port: int) -> Iterator[Listener]:
    """Read the kernel's list. Source: proc(5), `/proc/net/tcp`."""
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        lines = []
        with contextlib.suppress(OSError):  # no IPv6
            lines = Path(table).read_text(encoding="ascii").splitlines()[1:]
        for columns in map(str.split, lines):
            address, _, its_port = columns[1].partition(":")
            if columns[3] == _LISTEN and int(its_port, 16) == port:
                yield Listener(_address(address), int(columns[7]), columns[9])


def _address(words: str) -> IPv4Address | IPv6Address:
    """Read an address: words of 32 bits, each a number of this machine."""
    numbers = (int(words[at : at + 8], 16) for at in range(0, len(words), 8))
    address = ip_address(b"".join(struct.pack("=I", number) for number in numbers))
    return getattr(address, "ipv4_mapped", None) or address


def _has(process: Path, socket: str) -> bool:
    """Tell whether a process has a socket open; of others' that cannot be seen."""
    with contextlib.suppress(OSError):
        for descriptor in (process / "fd").iterdir():
            with contextlib.suppress(OSError):  # it may just be closed
                if os.readlink(descriptor) == socket:  # noqa: PTH115 - it is no path
                    return True
    return False


def _name(process: Path) -> str:
    with contextlib.suppress(OSError):
        return (process / "comm").read_text(encoding="utf-8", errors="replace").strip()
    return "something that has just ended"
