"""web.guard: how the index is called."""

from base64 import b64encode

import pytest

from pypi_insiders.config.passwords import UPLOADER, Single
from pypi_insiders.server.web.guard import Refusal, RequestGuard
from pypi_insiders.server.web.request import Request


@pytest.mark.parametrize(
    ("addresses", "expected"),
    [
        (["127.0.0.1", "::1"], "127.0.0.1"),
        (["::1", "127.0.0.1"], "127.0.0.1"),
        (["::1"], "[::1]"),
        (["127.0.0.7"], "127.0.0.7"),
        (["0.0.0.0"], "127.0.0.1"),
        (["::"], "[::1]"),
        (["192.0.2.1"], None),
        (["192.0.2.1", "127.0.0.1"], "127.0.0.1"),
        ([], None),
    ],
)
def test_this_machine_has_one_name_in_urls(addresses: list[str], expected: str | None) -> None:
    """The one that `env` prints, for a lock file names the index by it."""
    assert RequestGuard((), addresses).loopback == expected


RIGHT = Single("right")


def request(protocol: str = "HTTP/1.1", **headers: str | None) -> Request:
    """Make a request with a host, unless other headers are given."""
    given = {"Host": "localhost", **headers}
    fields = {f"HTTP_{name.upper()}": text for name, text in given.items() if text is not None}
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "SERVER_PROTOCOL": protocol, **fields}
    return Request(environ)


def status(refusal: Refusal | None) -> int | None:
    return None if refusal is None else int(refusal.status.split()[0])


def basic(user: str, password: str = "right") -> str:
    return f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}"


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("Index.Example.:80", None), ("127.0.0.7", None), ("[::1]:8080", None),
        ("192.0.2.1", None), ("192.0.2.2", 421), ("other.example", 421), ("[::2]", 421),
        (None, 400), ("", 400), ("localhost, localhost", 400), ("localhost:x", 400),
        ("[localhost]", 400), ("user@localhost", 400),
    ],
)  # fmt: skip
def test_the_host_is_this_index(host: str | None, expected: int | None) -> None:
    """Whoever may read; other hosts are told apart from what is no host at all."""
    guard = RequestGuard(["index.example"], ["192.0.2.1"])
    assert status(guard.check_host(request(Host=host))) == expected
    assert status(guard.check(request(Host=host))) == expected


def test_an_old_client_has_no_host() -> None:
    """Source: RFC 9112, section 3.2."""
    assert RequestGuard().check(request("HTTP/1.0", Host=None)) is None


@pytest.mark.parametrize(
    ("user", "password", "expected"),
    [("me", "right", None), (UPLOADER, "right", None), ("me", "wrong", 401), ("", "", 401)],
)
def test_a_private_index_has_readers(user: str, password: str, expected: int | None) -> None:
    guard = RequestGuard(users=RIGHT)
    asked = request(Authorization=basic(user, password))
    assert status(guard.check(asked)) == expected
    assert status(guard.check(request())) == 401
    assert status(guard.check(request(Host="x", Authorization=basic("me")))) == 421


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None), ({"Sec_Fetch_Site": "none"}, None), ({"Sec_Fetch_Site": "same-origin"}, None),
        ({"Origin": "http://localhost:8080"}, None), ({"Sec_Fetch_Site": "same-site"}, 403),
        ({"Sec_Fetch_Site": "cross-site"}, 403), ({"Origin": "https://x.example"}, 403),
        ({"Origin": "null"}, 403), ({"Origin": "http://[x"}, 403),
        ({"Authorization": basic(UPLOADER, "wrong")}, 401), ({"Authorization": basic("me")}, 401),
    ],
)  # fmt: skip
def test_uploads_come_from_no_page_of_others(headers: dict[str, str], expected: int | None) -> None:
    """And by the user that uploads: a reader is none."""
    asked = request(**{"Authorization": basic(UPLOADER), **headers})
    assert status(RequestGuard(uploaders=RIGHT).check_upload(asked)) == expected
    assert status(RequestGuard(users=RIGHT).check_upload(asked)) == (expected or 401)
