"""Read `config.toml`, the settings of the person."""

import difflib
import json
import re
import socket
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import Field, dataclass, field, fields, replace
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import read_text
from pypi_insiders.util.urls import without_credentials


def parse_host(value: object) -> str:
    """Check a host: an IP address, or `localhost` for both loopback addresses.

    Raises:
        ValueError: it is neither; the message says what it must be.
    """
    if value == "localhost":
        return "localhost"
    try:
        if isinstance(value, str) and "%" not in value:  # no zone of a link-local address
            return str(ip_address(value))
    except ValueError:
        pass
    raise ValueError(f'must be "localhost" or an IP address, not {value!r}')


def parse_port(value: object) -> int:
    """Check a TCP port, 1 to 65535."""
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 65535:
        return value
    raise ValueError(f"must be a port from 1 to 65535, not {value!r}")


PYPI = "https://pypi.org/simple/"


def parse_fallback_url(value: object) -> str:
    """Check the URL of a package index: http or https, without credentials, query and fragment.

    Credentials would be sent to every client, in the `Location` of a redirect; after a query or a
    fragment the name of a project would be no part of the path.
    """
    return _parse_prefix(value, PYPI)


def parse_index_url(value: object) -> str:
    """Check the URL of an index to upload to: http or https, without credentials.

    They would be stored in the clear.
    """
    return _parse_web_url(value, "https://packages.example/legacy/")


def parse_check_url(value: object) -> str:
    """Check the URL of the simple API of an index, as `parse_fallback_url` does."""
    return _parse_prefix(value, "https://packages.example/simple/")


def _parse_prefix(value: object, example: str) -> str:
    """Check a URL to which names of projects are appended."""
    url = _parse_web_url(value, example)
    if "?" in url or "#" in url:
        raise ValueError(
            f'must not have a query or a fragment, as names are appended to it: "{example}"'
        )
    return url


def _parse_web_url(value: object, example: str) -> str:
    if isinstance(value, str) and _is_web_url(value):
        parts = urlsplit(value)
        if parts.username or parts.password:
            raise ValueError("must not contain credentials")
        return value
    shown = without_credentials(value) if isinstance(value, str) else value
    raise ValueError(f'must be the URL of an index such as "{example}", not {shown!r}')


def _is_web_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return bool(
            parts.scheme in ("http", "https")
            and parts.hostname
            and parts.port != 0
            and not re.search(r"[\s\x00-\x1f]", text)
        )
    except ValueError:
        return False


_UNITS_S = {"s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "hr": 3600, "d": 86400, "day": 86400}


def parse_timeout(value: object) -> int:
    """Read a time span, or 0 for never; return seconds."""
    if value == 0 and not isinstance(value, bool):
        return 0
    span_s = _span_s(value)
    if span_s is None:
        raise ValueError(
            f'must be 0 for never, or a time such as "90s", "10min" or "2h", not {value!r}'
        )
    return span_s


def _span_s(value: object) -> int | None:
    if isinstance(value, str) and (match := re.fullmatch(r"(\d{1,5}) ?([a-z]+)", value)):
        return int(match[1]) * _UNITS_S.get(match[2], 0) or None
    return None


def parse_interval(value: object) -> int:
    """Read a span of seconds, minutes or hours that divides the next larger unit; in seconds.

    Only such spans can be written as a calendar event, and only calendar events are made up for
    after the machine slept or was off.

    Source: systemd.time(7), systemd.timer(5) on `Persistent=`.
    """
    if span_s := _span_s(value):
        for smaller_s, larger_s in ((1, 60), (60, 3600), (3600, 86400)):
            if smaller_s <= span_s <= larger_s and not (span_s % smaller_s or larger_s % span_s):
                return span_s
    raise ValueError(
        f'must divide an hour or a day evenly, such as "5min", "30min", "6h" or "1d", not {value!r}'
    )


def parse_grace(value: object) -> int:
    """Read a time span, or 0 for none; return seconds."""
    if value == 0 and not isinstance(value, bool):
        return 0
    span_s = _span_s(value)
    if span_s is None:
        raise ValueError(
            f'must be 0 for none, or a time such as "30min", "6h" or "1d", not {value!r}'
        )
    return span_s


def parse_reserve(value: object) -> int:
    """Read a size in bytes, or 0 for none."""
    match = re.fullmatch(r"([0-9]+)\s*([KMGT]i?B)", value) if isinstance(value, str) else None
    if value == 0 and not isinstance(value, bool):
        return 0
    if match is None:
        raise ValueError(f'must be 0 for none, or a size such as "500MB" or "2GiB", not {value!r}')
    base = 1024 if "i" in match[2] else 1000
    size_bytes: int = int(match[1]) * base ** ("KMGT".index(match[2][0]) + 1)
    return size_bytes


def parse_flag(value: object) -> bool:
    """Check a switch: true or false."""
    if isinstance(value, bool):
        return value
    raise ValueError(f"must be true or false, not {value!r}")


def parse_names(value: object) -> tuple[str, ...]:
    """Check a list of host names."""
    if isinstance(value, list | tuple) and all(
        isinstance(name, str) and re.fullmatch(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?", name)
        for name in value
    ):
        return tuple(name.lower() for name in value)
    raise ValueError(f'must be a list of host names such as ["packages.example"], not {value!r}')


def parse_keep(value: object) -> int:
    """Check a number of versions, or 0 for all."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise ValueError(f"must be 0 for all or a number of versions, not {value!r}")


def parse_number(value: object) -> int:
    """Check a number of which one is the least."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
        return value
    raise ValueError(f"must be 1 or more, not {value!r}")


def parse_jobs(value: object) -> int:
    """Check how many builds run at once, or 0 for as many as there are processors."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise ValueError(f"must be 0 for one a processor, or a number, not {value!r}")


NOTIFY_VARIABLE = "PYPI_INSIDERS_NOTIFY_COMMAND"
"""Has the `notify-command` as a shell would quote it, for when `config.toml` cannot be read."""


def parse_command(value: object) -> tuple[str, ...]:
    """Check a program and its arguments, or an empty list for none; they may hold a secret."""
    if (
        isinstance(value, list | tuple)
        and all(isinstance(word, str) and word.isprintable() for word in value)
        and (not value or value[0])
    ):
        return tuple(value)
    raise ValueError('must be a list of words such as ["mail", "-s", "{subject}", "me"], or []')


SANDBOX = ("auto", "required", "off")


def parse_sandbox(value: object) -> str:
    """Check in what builds run: a sandbox if one can be had, always, or never."""
    if isinstance(value, str) and value in SANDBOX:
        return value
    raise ValueError(f'must be "auto", "required" or "off", not {value!r}')


def parse_user(value: object) -> str:
    """Check the name of a user of an index. Source: RFC 7617, section 2."""
    if isinstance(value, str) and value.isprintable() and value and ":" not in value:
        return value
    raise ValueError(f"must be the name of a user, not {value!r}")


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


def _setting(parse: Callable[[object], Any], default: Any) -> Any:
    return field(default=default, metadata={"parse": parse})


@dataclass(frozen=True)
class ServerSettings:
    """The `[server]` table."""

    host: str = _setting(parse_host, "localhost")
    port: int = _setting(parse_port, 31411)
    fallback_url: str | None = _setting(parse_fallback_url, None)
    """Where unknown names are redirected; `None` is pypiserver's own default, which is PyPI."""
    idle_timeout_s: int = _setting(parse_timeout, 600)
    """After how long without a request the service ends, to be started by the next; 0 is never."""
    names: tuple[str, ...] = _setting(parse_names, ())
    """Host names by which clients may call it, beside `localhost`."""
    auth: bool = _setting(parse_flag, False)
    """Whether readers must give a user and a password."""
    uploads: bool = _setting(parse_flag, False)
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

    interval_s: int = _setting(parse_interval, 1800)
    """Time between two updates."""
    keep: int = _setting(parse_keep, 0)
    """How many of a repository's newest versions the index keeps; 0 is all."""
    max_new: int = _setting(parse_number, 5)
    """How many new tags of a repository one update builds at most, the newest first."""
    unreachable_grace_s: int = _setting(parse_grace, 86400)
    """For how long a host may be out of reach before that is a failure; 0 is at once."""
    verify_interval_s: int = _setting(parse_timeout, 604800)
    """Time between two updates that read all published files to compare them; 0 is never."""
    repository_timeout_s: int = _setting(parse_timeout, 3600)
    """How long one update fetches and builds a repository; 0 is without a limit."""
    public_versions: bool = _setting(parse_flag, True)
    """Whether the fallback is asked, once a day, which releases it has of what is watched."""
    notify_command: tuple[str, ...] | None = _setting(parse_command, None)
    """What gets a message about trouble to the person; `None` is the desktop, `()` is nothing."""


@dataclass(frozen=True)
class BuildSettings:
    """The `[build]` table."""

    sandbox: str = _setting(parse_sandbox, "auto")
    """`required` refuses to build where no sandbox can be had, `off` uses none."""
    jobs: int = _setting(parse_jobs, 0)
    """How many builds run at once; 0 is one a processor."""
    disk_reserve_bytes: int | None = _setting(parse_reserve, None)
    """What builds leave free on the disk where they write; `None`: as much as suits the disk."""
    as_of_tag: bool = _setting(parse_flag, True)
    """Whether build requirements are those of the time of the tag."""


@dataclass(frozen=True)
class PublishSettings:
    """The `[publish]` table."""

    index_url: str | None = _setting(parse_index_url, None)
    """Where else what is built is uploaded to; `None` is nowhere."""
    user: str | None = _setting(parse_user, None)
    """Who uploads; `None` is whoever netrc names, or else `__token__`."""
    local: bool = _setting(parse_flag, True)
    """Whether the index of this machine has it too."""
    check_url: str | None = _setting(parse_check_url, None)
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
    return _check(parse_toml(path, text), path)


def template() -> str:
    """Give a `config.toml` that says nothing, with all keys and their defaults in comments."""
    return Path(__file__).with_name("config.toml").read_text(encoding="utf-8")


def parse_toml(path: Path, text: str) -> dict[str, Any]:
    """Parse TOML; say where it breaks.

    Raises:
        InsidersError: it is no TOML.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message = str(error).replace("\n", " ")
        raise InsidersError(f"{path} is not valid TOML: {message}", f"edit {path}") from error


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
    tables = {
        "server": ServerSettings,
        "watcher": WatcherSettings,
        "build": BuildSettings,
        "publish": PublishSettings,
    }
    problems: list[str] = []
    values: dict[str, Any] = {}
    for name, content in document.items():
        if name not in tables:
            problems.append(f"unknown {_kind(content)} {name}{did_you_mean(name, tables)}")
        elif not isinstance(content, dict):
            problems.append(f"{name} must be a table: [{name}]")
        else:
            parsed = dict(_check_table(name, tables[name], content, problems))
            values[name] = tables[name](**parsed)
    server = values.get("server", ServerSettings())
    if server.fallback_url and server.is_own(server.fallback_url):
        problems.append(f"server.fallback-url {_own_fallback(server.fallback_url)}")
    if problems:
        raise InsidersError(f"{path}: {'; '.join(problems)}", f"edit {path}")
    return Settings(**values)


def _check_table(
    name: str, table: type, content: dict[str, Any], problems: list[str]
) -> Iterator[tuple[str, Any]]:
    keys = {_key(item): item for item in fields(table)}
    for key, value in content.items():
        if key not in keys:
            problems.append(f"unknown key {name}.{key}{did_you_mean(key, keys)}")
            continue
        try:
            yield keys[key].name, keys[key].metadata["parse"](value)
        except ValueError as error:
            problems.append(f"{name}.{key} {error}")


def _key(item: "Field[Any]") -> str:
    return item.name.removesuffix("_s").removesuffix("_bytes").replace("_", "-")


def as_document(settings: Settings) -> dict[str, dict[str, Any]]:
    """Say settings as `config.toml` does: table to key to value of TOML; `None`: there is none."""
    return {
        table.name: {
            _key(item): _as_written(item.name, getattr(getattr(settings, table.name), item.name))
            for item in fields(getattr(settings, table.name))
        }
        for table in fields(settings)
    }


def _as_written(name: str, value: Any) -> Any:
    if name.endswith("_s") and value:
        units = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))
        return next(f"{value // size_s}{unit}" for size_s, unit in units if value % size_s == 0)
    if name.endswith("_bytes") and value:
        sizes = ((1024**4, "TiB"), (1024**3, "GiB"), (1024**2, "MiB"), (1024, "KiB"), (1000, "KB"))
        return next(f"{value // size}{unit}" for size, unit in sizes if value % size == 0)
    return list(value) if isinstance(value, tuple) else value


def as_toml(value: bool | int | str | list[str]) -> str:
    """Write a value on one line as TOML does, which is as JSON does."""
    return json.dumps(value, ensure_ascii=False)


def _kind(content: object) -> str:
    return "table" if isinstance(content, dict) else "key"


def did_you_mean(word: str, known: Mapping[str, object]) -> str:
    """Tell the nearest of the known words, or all of them."""
    close = difflib.get_close_matches(word.replace("_", "-"), known, n=1)
    return f" (did you mean {close[0]}?)" if close else f" (known: {', '.join(known)})"
