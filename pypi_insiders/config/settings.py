"""Read `config.toml`, the settings of the person."""

import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pypi_insiders.config import schema, validators
from pypi_insiders.config.schema import BYTES, SECONDS, key
from pypi_insiders.config.validators import PYPI
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import read_text

NOTIFY_VARIABLE = "PYPI_INSIDERS_NOTIFY_COMMAND"
"""Has the `notify-command` as a shell would quote it, for when `config.toml` cannot be read."""


def addresses(host: str) -> tuple[str, ...]:
    """Tell which IP addresses a host stands for; the first must be had, others may be missing."""
    return ("127.0.0.1", "::1") if host == "localhost" else (host,)


def join(address: str, port: int) -> str:
    """Write an address and a port as URLs and systemd do."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _address(host: str) -> IPv4Address | IPv6Address | None:
    """Read the host of a URL as an IP address, also as `127.1` and `::ffff:127.0.0.1`."""
    try:
        address = ip_address(host)
    except ValueError:
        try:
            return IPv4Address(socket.inet_aton(host))  # what C programs read as an address
        except OSError:
            return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


_OWN_PATHS = ("", "/simple", "/insiders", "/insiders/simple")


@dataclass(frozen=True)
class ServerSettings:
    """The `[server]` table."""

    host: str = key(validators.parse_host, "localhost")
    port: int = key(validators.parse_port, 31411)
    fallback_url: str | None = key(validators.parse_fallback_url)
    """Where unknown names are redirected; `None` is pypiserver's own default, which is PyPI."""
    idle_timeout_s: int = key(validators.parse_timeout, 600, unit=SECONDS)
    """After how long without a request the service ends, to be started by the next; 0 is never."""
    names: tuple[str, ...] = key(validators.parse_names, ())
    """Host names by which clients may call it, beside `localhost`."""
    auth: bool = key(validators.parse_flag, False)
    """Whether readers must give a user and a password."""
    uploads: bool = key(validators.parse_flag, False)
    """Whether whoever has the token may upload."""

    @property
    def addresses(self) -> tuple[str, ...]:
        """Each address to listen on, such as `127.0.0.1:31411` or `[::1]:31411`."""
        return tuple(join(address, self.port) for address in addresses(self.host))

    @property
    def fallback(self) -> str:
        """Where unknown names are redirected."""
        return self.fallback_url or PYPI

    def is_own(self, url: str) -> bool:
        """Tell whether a URL leads back to the index, however it is spelled."""
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}[parts.scheme]
        host = (parts.hostname or "").rstrip(".")
        if port == self.port and (host in self.names or self._listens_at(host)):
            return True
        # Names may be those of a proxy before the index, where other paths can be somebody else's.
        path = re.sub("/+", "/", parts.path).rstrip("/").lower()
        return host in self.names and port in (80, 443) and path in _OWN_PATHS

    def _listens_at(self, host: str) -> bool:
        """Tell whether a host of a URL is one of the addresses; all of 127/8 is this machine."""
        own = [ip_address(address) for address in addresses(self.host)]
        if host == "localhost" or host.endswith(".localhost"):
            return any(address.is_loopback or address.is_unspecified for address in own)
        address = _address(host)
        if address is None:
            return False
        if address.is_unspecified:  # as a destination it is this machine
            return any(it.is_loopback or it.is_unspecified for it in own)
        return address in own or (address.is_loopback and any(it.is_unspecified for it in own))

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches it."""
        return all(ip_address(address).is_loopback for address in addresses(self.host))

    @property
    def url(self) -> str:
        """Where the index is found on this machine, up to the port."""
        address = ip_address(addresses(self.host)[0])
        if address.is_unspecified:
            address = ip_address("::1" if address.version == 6 else "127.0.0.1")
        return f"http://{join(str(address), self.port)}"


@dataclass(frozen=True)
class WatcherSettings:
    """The `[watcher]` table."""

    interval_s: int = key(validators.parse_interval, 1800, unit=SECONDS)
    """Time between two updates."""
    keep: int = key(validators.parse_keep, 0)
    """How many of a repository's newest versions the index keeps; 0 is all."""
    max_new: int = key(validators.parse_number, 5)
    """How many new tags of a repository one update builds at most, the newest first."""
    unreachable_grace_s: int = key(validators.parse_grace, 86400, unit=SECONDS)
    """For how long a host may be out of reach before that is a failure; 0 is at once."""
    verify_interval_s: int = key(validators.parse_timeout, 604800, unit=SECONDS)
    """Time between two updates that read all published files to compare them; 0 is never."""
    repository_timeout_s: int = key(validators.parse_timeout, 3600, unit=SECONDS)
    """How long one update fetches and builds a repository; 0 is without a limit."""
    public_versions: bool = key(validators.parse_flag, True)
    """Whether the fallback is asked, once a day, which releases it has of what is watched."""
    notify_command: tuple[str, ...] | None = key(validators.parse_command)
    """What gets a message about trouble to the person; `None` is the desktop, `()` is nothing."""


@dataclass(frozen=True)
class BuildSettings:
    """The `[build]` table."""

    sandbox: str = key(validators.parse_sandbox, "auto")
    """`required` refuses to build where no sandbox can be had, `off` uses none."""
    jobs: int = key(validators.parse_jobs, 0)
    """How many builds run at once; 0 is one a processor."""
    disk_reserve_bytes: int | None = key(validators.parse_reserve, unit=BYTES)
    """What builds leave free on the disk where they write; `None`: as much as suits the disk."""
    as_of_tag: bool = key(validators.parse_flag, True)
    """Whether build requirements are those of the time of the tag."""


@dataclass(frozen=True)
class PublishSettings:
    """The `[publish]` table."""

    index_url: str | None = key(validators.parse_index_url)
    """Where else what is built is uploaded to; `None` is nowhere."""
    user: str | None = key(validators.parse_user)
    """Who uploads; `None` is whoever netrc names, or else `__token__`."""
    local: bool = key(validators.parse_flag, True)
    """Whether the index of this machine has it too."""
    check_url: str | None = key(validators.parse_check_url)
    """Where that index tells what it has; `None` is what `index_url` lets one expect."""


@dataclass(frozen=True)
class Settings:
    """All of `config.toml`; a missing key has its default."""

    server: ServerSettings = ServerSettings()
    watcher: WatcherSettings = WatcherSettings()
    build: BuildSettings = BuildSettings()
    publish: PublishSettings = PublishSettings()


def load_settings(path: Path) -> Settings:
    """Read the settings; without a file, all defaults.

    Raises:
        InsidersError: the file cannot be read, is no TOML, or has unknown keys or wrong values,
            all of which are named at once.
    """
    text = read_text(path)
    return Settings() if text is None else parse_settings(path, text)


def parse_settings(path: Path, text: str) -> Settings:
    """Understand what `config.toml` says, or is to say.

    Raises:
        InsidersError: it is no TOML, or has unknown keys or wrong values, all named at once.
    """
    return _check(schema.parse_toml(path, text), path)


def template() -> str:
    """Give a `config.toml` that says nothing, with all keys and their defaults in comments."""
    return Path(__file__).with_name("config.toml").read_text(encoding="utf-8")


def _own_fallback(url: str) -> str:
    return f"must be another index than this one, which would redirect to itself, not {url!r}"


def refuse_own_fallback(settings: ServerSettings, bound: Iterable[ServerSettings]) -> None:
    """Check that the fallback is not the index itself, where it really listens.

    Args:
        settings: with the fallback and the names of the index.
        bound: each address on which it listens; a port of 0 has become one by now.

    Raises:
        InsidersError: it is.
    """
    url = settings.fallback_url
    for listening in bound:
        if url and replace(listening, names=settings.names).is_own(url):
            raise InsidersError(
                f"the fallback URL {_own_fallback(url)}",
                f'set another `fallback-url` under [server], such as "{PYPI}"',
            )


def _check(document: dict[str, Any], path: Path) -> Settings:
    tables = {item.name: type(getattr(Settings(), item.name)) for item in fields(Settings)}
    problems: list[str] = []
    values: dict[str, Any] = {}
    for name, content in document.items():
        is_table = isinstance(content, dict)
        if name not in tables:
            kind = "table" if is_table else "key"
            problems.append(f"unknown {kind} {name}{schema.did_you_mean(name, tables)}")
        elif not is_table:
            problems.append(f"{name} must be a table: [{name}]")
        else:
            found, wrong = schema.read(tables[name], content, f"{name}.")
            values[name] = tables[name](**found)
            problems += wrong
    server = values.get("server", ServerSettings())
    if server.fallback_url and server.is_own(server.fallback_url):
        problems.append(f"server.fallback-url {_own_fallback(server.fallback_url)}")
    if problems:
        raise schema.wrong(path, problems)
    return Settings(**values)


def as_document(settings: Settings) -> dict[str, dict[str, Any]]:
    """Write settings as `config.toml` does: table to key to value; `None`: there is no value."""
    return {item.name: schema.write(getattr(settings, item.name)) for item in fields(settings)}
