"""Decide whether a request may be answered: its host, its origin, its user."""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlsplit

from pypi_insiders.config import addresses as hosts
from pypi_insiders.config.passwords import UPLOADER, Checker, Single, TooManyGuessesError
from pypi_insiders.server.web.headers import basic_credentials
from pypi_insiders.server.web.request import Request

# Source: RFC 9110, section 7.2, and RFC 3986, section 3.2.2.
_HOST = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9_.-]+))(?::[0-9]*)?")


@dataclass(frozen=True)
class Refusal:
    """Why a request is not answered."""

    status: str
    message: str
    headers: tuple[tuple[str, str], ...] = ()


_WHO_ARE_YOU = Refusal(
    "401 Unauthorized",
    "a user and a password are required",
    (("WWW-Authenticate", 'Basic realm="pypi-insiders", charset="UTF-8"'),),
)
_TOO_MANY_GUESSES = Refusal(
    "429 Too Many Requests",
    "too many passwords are being checked; try again",
    (("Retry-After", "1"),),
)


class RequestGuard:
    """What is asked of a request before anything else looks at it.

    Args:
        names: host names by which clients call this index, beside those of the loopback.
        addresses: IP addresses on which it listens.
        users: who may read; `None` is everybody.
        uploaders: who may upload, which is the user `__token__`; `None` is nobody.
    """

    def __init__(
        self,
        names: Iterable[str] = (),
        addresses: Iterable[str] = (),
        users: Checker | Single | None = None,
        uploaders: Checker | Single | None = None,
    ) -> None:
        self._names = {"localhost", *(name.lower().rstrip(".") for name in names)}
        self._addresses = {ip_address(address) for address in addresses}
        self._any_address = any(address.is_unspecified for address in self._addresses)
        self._users = users
        self._uploaders = uploaders
        self.is_private = users is not None
        self.loopback = _loopback(self._addresses)
        # Each request has a host, nearly always the same.
        self._is_ours = lru_cache(maxsize=64)(self._is_own_host)

    def check(self, request: Request) -> Refusal | None:
        """Return why a request for something to read is refused; `None`: it is not.

        Source: RFC 9112, section 3.2, on what is no `Host`, such as two of them.
        """
        refusal = self.check_host(request)
        if refusal is not None or self._users is None:
            return refusal
        return _check_user(request, self._users)

    def check_host(self, request: Request) -> Refusal | None:
        """Return why a request is refused by its host; `None`: it is not."""
        host = request.header("Host")
        if host is None:
            if request.environ["SERVER_PROTOCOL"] != "HTTP/1.0":
                return Refusal("400 Bad Request", "the Host header is missing")
        elif not _HOST.fullmatch(host):
            return Refusal("400 Bad Request", "the Host header is not valid")
        elif not self._is_ours(host):
            # A web page whose name was made to lead here (DNS rebinding) would send its own.
            return Refusal("421 Misdirected Request", "the host name is not one of this index")
        return None

    def check_upload(self, request: Request) -> Refusal | None:
        """Return why a request for a change is refused, after `check`; `None`: it is not.

        Source: https://web.dev/articles/fetch-metadata
        """
        site, origin = request.header("Sec-Fetch-Site"), request.header("Origin")
        # Only browsers send these: uv and twine have neither. A form of another page could send a
        # file, with the password that the browser remembers.
        if site not in (None, "none", "same-origin") or (
            origin is not None and not self._is_ours(_authority(origin))
        ):
            return Refusal("403 Forbidden", "requests from pages of other sites are refused")
        if self._uploaders is None:
            return _WHO_ARE_YOU
        return _check_user(request, self._uploaders, {UPLOADER})

    def _is_own_host(self, host: str) -> bool:
        match = _HOST.fullmatch(host)
        if match is None:
            return False
        try:
            address = ip_address(match["six"] or match["name"])
        except ValueError:
            return match["name"] is not None and match["name"].lower().rstrip(".") in self._names
        # DNS rebinding needs a name: a client that uses the address itself knows the server.
        return self._any_address or address.is_loopback or address in self._addresses


def _check_user(
    request: Request, users: Checker | Single, only: Collection[str] | None = None
) -> Refusal | None:
    """Return why a client is refused; `None` if it is allowed. Source: RFC 7617."""
    user, password = basic_credentials(request.header("Authorization") or "") or ("", "")
    if not user or (only is not None and user not in only):
        return _WHO_ARE_YOU
    try:
        return None if users.is_right(user, password) else _WHO_ARE_YOU
    except TooManyGuessesError:
        return _TOO_MANY_GUESSES


def _loopback(addresses: Collection[IPv4Address | IPv6Address]) -> str | None:
    """Return the host of the URL that this machine uses; `None`: it has no way to the index."""
    # 127.0.0.1 where there is a choice, as `env` prints it: in a lock file, the same file by
    # another spelling is another one.
    here = [it for it in addresses if it.is_loopback or it.is_unspecified]
    first = min(here, key=lambda it: (it.version, int(it)), default=None)
    if first is None:
        return None
    return urlsplit(hosts.url(str(first), 0)).netloc.removesuffix(":0")


def _authority(origin: str) -> str:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""
