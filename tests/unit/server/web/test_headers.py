"""web.headers: what clients may send, and what it asks for."""

import base64

import pytest

from pypi_insiders.server.web.headers import (
    basic_credentials,
    best_media_type,
    byte_range,
    has_entity_tag,
)

HTML, V1_HTML, JSON = (
    "text/html",
    "application/vnd.pypi.simple.v1+html",
    "application/vnd.pypi.simple.v1+json",
)


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ("*/*", HTML),
        ("text/*", HTML),
        ("application/*", V1_HTML),
        (JSON, JSON),
        (JSON.upper(), JSON),
        (f"{JSON}, {V1_HTML};q=0.2, {HTML};q=0.01", JSON),  # uv
        (f"{JSON}, {V1_HTML}; q=0.1, {HTML}; q=0.01", JSON),  # pip
        (f"{HTML};q=0.9, {JSON};q=0.8", HTML),
        (f"{HTML};q=0.8, {JSON};q=0.9", JSON),
        (f"*/*;q=0.5, {HTML};q=0.1", V1_HTML),
        (f"*/*, {HTML};q=0", V1_HTML),
        (f"{HTML};level=1;q=0.4, {JSON};q=0.5", JSON),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", HTML),  # a browser
        (f"{HTML}; Q=0.1, {JSON};q=0.2", JSON),
        (f"{HTML};q=abc, {JSON}", JSON),
        (f"{HTML};q=2", None),
        (f"{HTML};q=0.0001", None),
        ("*/*;q=0", None),
        ("image/png", None),
        (",;,", None),
        ("text", None),
    ],
)
def test_the_media_type_that_the_client_likes_best(accept: str, chosen: str | None) -> None:
    """By quality; the more specific range counts; of equals our first."""
    assert best_media_type(accept, (HTML, V1_HTML, JSON)) == chosen


@pytest.mark.parametrize(
    ("header", "span"),
    [
        ("bytes=0-0", (0, 1)),
        ("bytes=0-", (0, 100)),
        ("bytes=10-19", (10, 20)),
        ("bytes=90-1000", (90, 100)),
        ("bytes=-1", (99, 100)),
        ("bytes=-1000", (0, 100)),
        ("Bytes= 5-6 ", (5, 7)),
        ("bytes=99-99", (99, 100)),
        ("bytes=100-", (100, 100)),
        ("bytes=100-200", (100, 100)),
        ("bytes=-0", (100, 100)),
        ("bytes=999999999999999999-", (999999999999999999, 100)),
        ("bytes=" + "9" * 5000 + "-", (10**18, 100)),
        ("bytes=0-" + "9" * 5000, (0, 100)),
        ("bytes=" + "0" * 5000 + "1-", (1, 100)),
        ("bytes=2-1", None),
        ("bytes=-", None),
        ("bytes=--1", None),
        ("bytes=1-2-3", None),
        ("bytes=0-1,5-6", None),
        ("lines=0-1", None),
        ("bytes", None),
        ("bytes=\u0661-", None),
        ("", None),
    ],
)
def test_which_bytes_are_wanted(header: str, span: tuple[int, int] | None) -> None:
    """Of 100; what is malformed, and several ranges at once, are all of them."""
    assert byte_range(header, 100) == span


@pytest.mark.parametrize(
    ("header", "is_known"),
    [
        ('"tag"', True),
        ('W/"tag"', True),
        ('"other", "tag"', True),
        (" * ", True),
        ('"other"', False),
        ("tag", False),
        ('"tag', False),
        ("", False),
    ],
)
def test_what_the_client_has_already(header: str, is_known: bool) -> None:
    """Weak tags count, for nothing but reading depends on them."""
    assert has_entity_tag(header, "tag") is is_known


def _encoded(text: bytes) -> str:
    return base64.b64encode(text).decode()


@pytest.mark.parametrize(
    ("header", "credentials"),
    [
        (f"Basic {_encoded(b'me:secret')}", ("me", "secret")),
        (f"basic  {_encoded(b'me:se:cret')}", ("me", "se:cret")),
        (f"Basic {_encoded('ich:größe'.encode())}", ("ich", "größe")),
        (f"Basic {_encoded(b':')}", ("", "")),
        (f"Basic {_encoded(b'me')}", None),
        (f"Basic {_encoded(b'me:secret' + bytes(1))}", None),
        (f"Basic {_encoded(b'me:' + bytes([255]))}", None),
        ("Basic me:secret", None),
        ("Basic", None),
        ("Bearer x", None),
        ("", None),
    ],
)
def test_user_and_password(header: str, credentials: tuple[str, str] | None) -> None:
    """A password may have colons in it, a user may not."""
    assert basic_credentials(header) == credentials
