"""Validate the values of settings.

Each function returns the validated value, or raises ValueError with a message that continues the
name of the key: `must be ...`.
"""

import contextlib
import re
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import PurePosixPath
from typing import Any, Literal
from urllib.parse import urlsplit

from pypi_insiders.config import credential_files
from pypi_insiders.util.without_credentials import without_credentials

PYPI = "https://pypi.org/simple/"


def parse_host(value: object) -> str:
    """Validate a host: an IP address, or `localhost` for both loopback addresses."""
    if value == "localhost":
        return "localhost"
    try:
        # ip_address() accepts a zone (fe80::1%eth0), which URLs and ListenStream= do not.
        if isinstance(value, str) and "%" not in value:
            return str(ip_address(value))
    except ValueError:
        pass
    raise ValueError(f'must be "localhost" or an IP address, not {value!r}')


def _number(expected: str, least: int, most: float = float("inf")) -> Callable[[object], int]:
    def parse(value: object) -> int:
        if type(value) is int and least <= value <= most:  # not isinstance: True is an int
            return value
        raise ValueError(f"must be {expected}, not {value!r}")

    return parse


parse_port = _number("a port from 1 to 65535", 1, 65535)
parse_number = _number("1 or more", 1)
parse_keep = _number("0 for all or a number of versions", 0)
parse_jobs = _number("0 for one per processor, or a number", 0)


def _index_url(example: str, *, is_prefix: bool) -> Callable[[object], str]:
    """Return a validator for the http or https URL of an index.

    Args:
        example: a valid URL for messages.
        is_prefix: whether project names are appended to it.
    """

    def parse(value: object) -> str:
        if not isinstance(value, str) or not _is_web_url(value):
            shown = without_credentials(value) if isinstance(value, str) else value
            raise ValueError(f'must be the URL of an index such as "{example}", not {shown!r}')
        parts = urlsplit(value)
        # Those of a fallback would be sent to every client in the `Location` of a redirect, and
        # others would be stored in clear text.
        if parts.username or parts.password:
            raise ValueError("must not contain credentials")
        # A name appended to a query or a fragment would not be part of the path.
        if is_prefix and ("?" in value or "#" in value):
            raise ValueError(
                f'must not have a query or a fragment, as names are appended to it: "{example}"'
            )
        return value

    return parse


_parse_fallback_url = _index_url(PYPI, is_prefix=True)
parse_index_url = _index_url("https://packages.example/legacy/", is_prefix=False)
parse_check_url = _index_url("https://packages.example/simple/", is_prefix=True)


def parse_fallback_url(value: object) -> str:
    """Check the URL of the fallback index; an empty one stands for none.

    Raises:
        ValueError: it is no URL of an index, or contains credentials.
    """
    return "" if value == "" else _parse_fallback_url(value)


def _is_web_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return bool(
            parts.scheme in ("http", "https")
            and parts.hostname
            and parts.port != 0
            # urlsplit() silently removes tabs and line ends, which would stay in a header or in an
            # exported nginx.conf.
            and not re.search(r"[\s\x00-\x1f]", text)
        )
    except ValueError:
        return False


_UNITS_S = {"s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "hr": 3600, "d": 86400, "day": 86400}


def _span_s(value: object) -> int | None:
    if isinstance(value, str) and (match := re.fullmatch(r"(\d{1,5}) ?([a-z]+)", value)):
        return int(match[1]) * _UNITS_S.get(match[2], 0) or None
    return None


def _is_zero(value: object) -> bool:
    # False == 0 in Python.
    return value == 0 and not isinstance(value, bool)


def _span(zero: str, examples: str) -> Callable[[object], int]:
    """Return a validator for a time span or 0; the validator returns seconds."""

    def parse(value: object) -> int:
        span_s = 0 if _is_zero(value) else _span_s(value)
        if span_s is None:
            raise ValueError(f"must be 0 for {zero}, or a time such as {examples}, not {value!r}")
        return span_s

    return parse


parse_timeout = _span("never", '"90s", "10min" or "2h"')
parse_grace = _span("none", '"30min", "6h" or "1d"')


def parse_interval(value: object) -> int:
    """Validate a time span that divides a minute, an hour or a day; return seconds.

    Source: systemd.time(7), systemd.timer(5) on `Persistent=`.
    """
    # Only such spans can be expressed as OnCalendar=, and Persistent=, which catches up after the
    # machine slept or was off, works with OnCalendar= only.
    if span_s := _span_s(value):
        for smaller_s, larger_s in ((1, 60), (60, 3600), (3600, 86400)):
            if smaller_s <= span_s <= larger_s and not (span_s % smaller_s or larger_s % span_s):
                return span_s
    raise ValueError(
        f'must divide an hour or a day evenly, such as "5min", "30min", "6h" or "1d", not {value!r}'
    )


def parse_reserve(value: object) -> int:
    """Validate a size, or 0 for none; return bytes."""
    if _is_zero(value):
        return 0
    match = re.fullmatch(r"([0-9]+)\s*([KMGT]i?B)", value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f'must be 0 for none, or a size such as "500MB" or "2GiB", not {value!r}')
    # Decimal and binary units as in IEC 80000-13. A plain `K` is refused: it is 1024 in systemd.
    base = 1024 if "i" in match[2] else 1000
    size_bytes: int = int(match[1]) * base ** ("KMGT".index(match[2][0]) + 1)
    return size_bytes


def parse_flag(value: object) -> bool:
    """Validate a flag."""
    if isinstance(value, bool):
        return value
    raise ValueError(f"must be true or false, not {value!r}")


def parse_user(value: object) -> str:
    """Validate a user name of HTTP. Source: RFC 7617, section 2."""
    # A colon ends the user name in the Authorization header.
    if isinstance(value, str) and value.isprintable() and value and ":" not in value:
        return value
    raise ValueError(f"must be a user name without a colon, not {value!r}")


def _words(
    expected: str, pattern: str, *, may_be_empty: bool = False
) -> Callable[[object], tuple[str, ...]]:
    """Return a validator for a list of printable words of a pattern; it removes duplicates."""

    def parse(value: Any) -> tuple[str, ...]:
        is_list = isinstance(value, list | tuple) and (value or may_be_empty)
        if is_list and all(
            isinstance(word, str) and re.fullmatch(pattern, word) and word.isprintable()
            for word in value
        ):
            return tuple(dict.fromkeys(value))
        raise ValueError(f"must be a list {expected}, not {value!r}")

    return parse


parse_pythons = _words('of versions such as ["3.12", "3.13"]', r"3\.\d{1,2}t?")
# Where submodules may come from: `NS`, `NS/PROJ`, or either with `HOST/` before it.
_parse_places = _words('such as ["other-namespace", "HOST/NS/PROJ"]', r"[^\s/,][^\s,]*")
_parse_names = _words(
    'of host names such as ["packages.example"]',
    r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?",
    may_be_empty=True,
)


def parse_submodules(value: object) -> tuple[str, ...] | Literal[False]:
    """Validate a list of places of submodules, or `False`: there are to be none."""
    return False if value is False else _parse_places(value)


def parse_history(text: str) -> str:
    """Validate how much of the history a build finds beside commits and tags: `full`, the files."""
    if text != "full":
        raise ValueError(f'must be "full", not {text!r}')
    return text


def _one_of(*words: str) -> Callable[[Any], str]:
    listed = ", ".join(f'"{word}"' for word in words[:-1])

    def parse(text: Any) -> str:
        if text not in words:
            raise ValueError(f'must be {listed} or "{words[-1]}", not {text!r}')
        return str(text)

    return parse


ASSETS = ("never", "prefer", "only")
"""Whether files of releases on a forge are published."""
FORGES = ("github", "gitlab", "gitea")
"""The programs of forges; Forgejo answers as Gitea does."""
parse_assets = _one_of(*ASSETS)
parse_forge = _one_of(*FORGES)
parse_sandbox = _one_of("auto", "required", "off")


def parse_branch(text: str) -> str:
    """Validate the name of a branch. Source: git-check-ref-format(1)."""
    name = text.removeprefix("refs/heads/")
    part = r"(?![.-])(?:(?!\.\.|@\{)[^\s\x00-\x1f\x7f~^:?*\[\\/])+(?<!\.lock)(?<!\.)"
    if name == "@" or not name.isprintable() or re.fullmatch(f"{part}(?:/{part})*", name) is None:
        raise ValueError(f"must be the name of a branch, not {text!r}")
    return name


def parse_names(value: object) -> tuple[str, ...]:
    """Validate a list of host names; return them in lower case."""
    return tuple(name.lower() for name in _parse_names(value))


def parse_command(value: object) -> tuple[str, ...]:
    """Validate a program and its arguments, or an empty list for none."""
    # The message does not quote the value, as a command may contain a token.
    if (
        isinstance(value, list | tuple)
        and all(isinstance(word, str) and word.isprintable() for word in value)
        and (not value or value[0])
    ):
        return tuple(value)
    raise ValueError('must be a list of words such as ["mail", "-s", "{subject}", "me"], or []')


def parse_token_command(value: object) -> tuple[str, ...]:
    """Validate a program that prints a token, and its arguments."""
    if value and isinstance(value, list | tuple):
        with contextlib.suppress(ValueError):
            return parse_command(value)
    # Without the value, as in `parse_command`.
    raise ValueError('must be a list of words such as ["gh", "auth", "token"]')


def parse_token_commands(value: object) -> dict[str, tuple[str, ...]]:
    """Validate a table of hosts and the programs that print the token for each."""
    # Of hosts, and not one program for all: a token must go to no other host than it is of.
    form = 'such as {"github.com" = ["gh", "auth", "token"]}'
    if not isinstance(value, dict):
        raise ValueError(f"must be a table of hosts and commands, {form}")
    found = {}
    for host, command in value.items():
        if not re.fullmatch(r"([A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?", host):
            raise ValueError(f"must name a host, or HOST:PORT, {form}: not {host!r}")
        try:
            # As git's URL of the host has it, without the port of https.
            found[host.casefold().removesuffix(":443")] = parse_token_command(command)
        except ValueError as error:
            raise ValueError(f"of {host} {error}") from error
    return found


def parse_subdirectory(text: str) -> str:
    """Validate and normalize a project's directory within its repository."""
    path = PurePosixPath(text)
    if not text or not text.isprintable() or path.is_absolute() or ".." in path.parts:
        raise ValueError(f"must be a path below the repository, not {text!r}")
    # As `PurePosixPath` writes it: `./pkg//sub/` is `pkg/sub`.
    return str(path)


def parse_path(text: str) -> str:
    """Validate the path of a user's file: absolute or relative to the home directory (`~/`)."""
    # Other relative paths would depend on the working directory, which units and shells do not
    # share.
    if text.startswith(("/", "~/")) and text.isprintable():
        return text
    raise ValueError(f'must be an absolute path or start with "~/", not {text!r}')


def parse_paths(value: Any) -> tuple[str, ...]:
    """Validate a list of paths that builds may read."""
    if not value:
        raise ValueError('must be a list of paths such as ["~/data"], not []')
    for text in value:
        if not isinstance(text, str):
            raise ValueError(f'must be a list of paths such as ["~/data"], not {value!r}')
        # Links are followed only when a build starts: what is wrong by then does not make the whole
        # file invalid.
        if credential_files.is_credential(PurePosixPath(parse_path(text))):
            raise ValueError(f"must not have {text}, which may contain credentials")
    return tuple(dict.fromkeys(value))


def parse_program_paths(value: Any) -> tuple[str, ...]:
    """Validate a list of directories for the `PATH` of builds."""
    if colon := next((text for text in value if ":" in str(text)), None):
        raise ValueError(f"must not have {colon!r}: a colon separates directories in PATH")
    return parse_paths(value)


def parse_credential(text: str) -> str:
    """Validate the name of a systemd credential. Source: systemd.exec(5), `LoadCredential=`."""
    if re.fullmatch(r"(?!\.{1,2}$)[A-Za-z0-9_.-]{1,255}", text):
        return text
    raise ValueError(f"must be the name of a systemd credential, not {text!r}")
