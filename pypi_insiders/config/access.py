"""Check settings against the addresses of the real sockets."""

from collections.abc import Iterable
from pathlib import Path

from pypi_insiders.config import addresses, passwords
from pypi_insiders.config.settings import ServerSettings
from pypi_insiders.config.validators import PYPI
from pypi_insiders.util.errors import InsidersError


def demand_auth(auth: bool, bound: Iterable[ServerSettings]) -> None:
    """Require passwords if the index is reachable from other machines.

    Args:
        auth: whether readers need a password.
        bound: host and port of each socket.

    Raises:
        InsidersError: no password is required, and an address is not on the loopback interface.
    """
    # The sockets and not the settings: a drop-in can make systemd listen anywhere.
    for item in bound:
        if not addresses.is_loopback(item.host) and not auth:
            raise InsidersError(
                f"{', '.join(item.addresses)} is reachable from other machines without a password",
                "set `auth = true` under [server], and run `pypi-insiders server password USER`",
            )


def refuse_own_fallback(settings: ServerSettings, bound: Iterable[ServerSettings]) -> None:
    """Require a fallback index other than this index.

    Args:
        settings: contain the fallback URL and the host names of the index.
        bound: host and port of each socket.

    Raises:
        InsidersError: the fallback URL leads to this index.
    """
    # Checked again here, after the settings: port 0 has become a real one, and a drop-in may have
    # changed the addresses.
    url, names = settings.fallback_url, settings.names
    for item in bound:
        if problem := addresses.own_fallback(url, item.host, item.port, names):
            raise InsidersError(
                f"the fallback URL {problem}",
                f'set another `fallback-url` under [server], such as "{PYPI}"',
            )


def passwords_for(settings: ServerSettings, path: Path) -> passwords.Checker:
    """Create the password checker.

    Args:
        settings: say whether readers and uploaders need a password.
        path: the password file, unless a systemd credential replaces it.

    Raises:
        InsidersError: a required password or token is missing, or the file cannot be read.
    """
    path = passwords.source(path)
    # Only if used: a damaged file that nothing needs must not stop the index.
    users = passwords.load(path) if settings.auth or settings.uploads else {}
    # Fail closed, and at the start, where the user sees it, not with 401 for each client.
    if settings.auth and not users:
        raise InsidersError(
            f"`auth` is set, but {path} has no user", "`pypi-insiders server password USER`"
        )
    if settings.uploads and passwords.UPLOADER not in users:
        raise InsidersError(
            f"`uploads` is set, but {path} has no token", "`pypi-insiders server token`"
        )
    return passwords.Checker(path)
