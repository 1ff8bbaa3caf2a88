"""Check settings against where the index really listens: who reaches it, and by which passwords."""

from collections.abc import Iterable
from pathlib import Path

from pypi_insiders.config import addresses, passwords
from pypi_insiders.config.settings import ServerSettings
from pypi_insiders.config.validators import PYPI
from pypi_insiders.util.errors import InsidersError


def demand_auth(auth: bool, bound: Iterable[ServerSettings]) -> None:
    """Refuse to be reached by others without passwords.

    Args:
        auth: whether readers must give one.
        bound: host and port of each socket.

    Raises:
        InsidersError: they need none, and an address is not of the loopback.
    """
    # By the sockets, not by the settings: a drop-in can make systemd listen anywhere.
    for item in bound:
        if not addresses.is_loopback(item.host) and not auth:
            raise InsidersError(
                f"whoever reaches {', '.join(item.addresses)} could read the index",
                "set `auth = true` under [server], and `pypi-insiders server password USER`",
            )


def refuse_own_fallback(settings: ServerSettings, bound: Iterable[ServerSettings]) -> None:
    """Check that the fallback is not the index itself, where it really listens.

    Args:
        settings: with the fallback and the names of the index.
        bound: each address on which it listens; a port of 0 has become one by now.

    Raises:
        InsidersError: it is.
    """
    url, names = settings.fallback_url, settings.names
    for item in bound:
        if problem := addresses.own_fallback(url, item.host, item.port, names):
            raise InsidersError(
                f"the fallback URL {problem}",
                f'set another `fallback-url` under [server], such as "{PYPI}"',
            )


def passwords_for(settings: ServerSettings, path: Path) -> passwords.Checker:
    """Make the checker of passwords.

    Args:
        settings: they say who is to have one.
        path: the file that has them, unless a systemd credential takes its place.

    Raises:
        InsidersError: there is none for anybody who is to have one, or they cannot be read.
    """
    path = passwords.source(path)
    users = passwords.load(path) if settings.auth or settings.uploads else {}
    if settings.auth and not users:
        raise InsidersError(
            f"auth is set, and {path} has no user", "`pypi-insiders server password USER`"
        )
    if settings.uploads and passwords.UPLOADER not in users:
        raise InsidersError(
            f"uploads are on, and {path} has no token", "`pypi-insiders server token`"
        )
    return passwords.Checker(path)
