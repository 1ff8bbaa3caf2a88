"""Read the headers of requests; what cannot be understood asks for nothing."""

import base64
import re
from collections.abc import Iterable

# A quality, or nothing. Source: RFC 9110, section 12.4.2.
_QUALITY = re.compile(r"0(?:\.\d{0,3})?|1(?:\.0{0,3})?")
_ENTITY_TAG = re.compile(r'(W/)?"([^"]*)"')
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_RANGE = re.compile(r"bytes=[ \t]*(\d*)-(\d*)[ \t]*", re.IGNORECASE | re.ASCII)
# Python refuses to read numbers of more than 4300 digits (CVE-2020-10735), with a ValueError.
_MOST_DIGITS = 18
_BEYOND_ANY_FILE = 10**18


def best_media_type(accept: str, offered: Iterable[str]) -> str | None:
    """Choose what the client likes best; of equals the first; `None` where it takes none.

    Args:
        accept: the header `Accept`.
        offered: media types, without parameters.

    Source: RFC 9110, section 12.5.1.
    """
    wanted: dict[str, float] = {}
    for item in accept.lower().split(","):
        media_type, *parameters = (part.strip() for part in item.split(";"))
        given = next((part[2:].strip() for part in parameters if part.startswith("q=")), "1")
        # A type with a wrong quality counts as not named.
        if _QUALITY.fullmatch(given):
            wanted.setdefault(media_type, float(given))
    best, most = None, 0.0
    for media_type in offered:
        kind = media_type.partition("/")[0]
        names = (media_type, f"{kind}/*", "*/*")  # the most specific counts
        quality = next((wanted[name] for name in names if name in wanted), 0.0)
        if quality > most:
            best, most = media_type, quality
    return best


def has_entity_tag(header: str, tag: str, *, is_strong: bool = False) -> bool:
    """Return whether `If-None-Match`, or `If-Match`, names this tag.

    Args:
        header: its value.
        tag: without the quotation marks.
        is_strong: whether a weak tag is another one.

    Source: RFC 9110, sections 13.1.1 and 13.1.2.
    """
    if header.strip() == "*":
        return True
    return any(
        found == tag and not (weak and is_strong) for weak, found in _ENTITY_TAG.findall(header)
    )


def byte_range(header: str, size: int) -> tuple[int, int] | None:
    """Read which bytes are wanted: the first, and the one after the last; `None` is all of them.

    Several ranges at once are answered with all, which is allowed. Where the first is not before
    the other, none of the bytes exist.

    Source: RFC 9110, section 14.
    """
    match = _RANGE.fullmatch(header)
    if match is None:
        return None
    first, last = (_number(digits) for digits in match.groups())
    if first is None:  # so many from the end
        return None if last is None else (max(0, size - last), size)
    if last is not None and last < first:
        return None
    return first, size if last is None else min(last + 1, size)


def _number(digits: str) -> int | None:
    """Read a number that may be longer than Python reads; all beyond any file are alike."""
    significant = digits.lstrip("0")
    if len(significant) > _MOST_DIGITS:
        return _BEYOND_ANY_FILE
    return None if not digits else int(significant or "0")


def basic_credentials(authorization: str) -> tuple[str, str] | None:
    """Read user and password, without control characters. Source: RFC 7617."""
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        text = base64.b64decode(encoded.strip(), validate=True).decode()
    except ValueError:
        return None
    user, colon, password = text.partition(":")
    # To the hash of a password, a NUL at its end would be nothing.
    return None if not colon or _CONTROL.search(text) else (user, password)
