"""Decide whether a request may be answered: its host, its origin, its user."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address
from urllib.parse import urlsplit
from wsgiref.types import WSGIEnvironment

from pypi_insiders.passwords import UPLOADER, Checker
from pypi_insiders.web.headers import basic_credentials

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
    "user and password, please",
    (("WWW-Authenticate", 'Basic realm="pypi-insiders", charset="UTF-8"'),),
)


class Guard:
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
        users: Checker | None = None,
        uploaders: Checker | None = None,
    ) -> None:
        self._names = {"localhost", *(name.lower().rstrip(".") for name in names)}
        self._addresses = {ip_address(address) for address in addresses}
        self._any_address = any(address.is_unspecified for address in self._addresses)
        self._users = users
        self._uploaders = uploaders
        self.is_private = users is not None
        self._is_ours = lru_cache(maxsize=64)(self._check_host)

    def check(self, environ: WSGIEnvironment) -> Refusal | None:
        """Say why a request for something to read is refused; `None`: it is not.

        Source: RFC 9112, section 3.2, on what is no `Host`, such as two of them.
        """
        host = environ.get("HTTP_HOST")
        if host is None:
            if environ["SERVER_PROTOCOL"] != "HTTP/1.0":
                return Refusal("400 Bad Request", "the Host header is missing")
        elif not _HOST.fullmatch(host):
            return Refusal("400 Bad Request", "the Host header is none")
        elif not self._is_ours(host):
            # A web page whose name was made to lead here (DNS rebinding) would send its own.
            return Refusal("421 Misdirected Request", "this index has another name")
        if self._users is not None and not self._is_user(environ, self._users):
            return _WHO_ARE_YOU
        return None

    def check_upload(self, environ: WSGIEnvironment) -> Refusal | None:
        """Say why a request that changes something is refused, after `check`; `None`: it is not.

        Source: https://web.dev/articles/fetch-metadata
        """
        site = environ.get("HTTP_SEC_FETCH_SITE", "none")
        origin = environ.get("HTTP_ORIGIN")
        if site not in ("none", "same-origin") or (
            origin is not None and not self._is_ours(_authority(origin))
        ):
            return Refusal("403 Forbidden", "a page of another site asks for this")
        user, password = _credentials(environ)
        if (
            self._uploaders is None
            or user != UPLOADER
            or not self._uploaders.is_right(user, password)
        ):
            return _WHO_ARE_YOU
        return None

    def _check_host(self, host: str) -> bool:
        match = _HOST.fullmatch(host)
        if match is None:
            return False
        try:
            address = ip_address(match["six"] or match["name"])
        except ValueError:
            return match["name"] is not None and match["name"].lower().rstrip(".") in self._names
        # No name leads to an address by rebinding: whoever asks so knows whom they ask.
        return self._any_address or address.is_loopback or address in self._addresses

    @staticmethod
    def _is_user(environ: WSGIEnvironment, users: Checker) -> bool:
        user, password = _credentials(environ)
        return bool(user) and users.is_right(user, password)


def _credentials(environ: WSGIEnvironment) -> tuple[str, str]:
    """Read user and password; both empty where there are none. Source: RFC 7617."""
    return basic_credentials(environ.get("HTTP_AUTHORIZATION", "")) or ("", "")


def _authority(origin: str) -> str:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""
