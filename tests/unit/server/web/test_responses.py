"""responses: what becomes of an answer on its way to the client."""

from io import FileIO
from pathlib import Path
from typing import Any
from wsgiref.util import FileWrapper

import pytest

from pypi_insiders.server.web.request import Request
from pypi_insiders.server.web.responses import Response, precondition, text, wsgi_app


def environment(method: str = "GET", **headers: str) -> dict[str, Any]:
    """A request, as a WSGI server hands it on."""
    common = {"REQUEST_METHOD": method, "PATH_INFO": "/", "wsgi.file_wrapper": FileWrapper}
    return common | {f"HTTP_{name}": value for name, value in headers.items()}


@pytest.mark.parametrize(("method", "body"), [("GET", b"hello\n"), ("HEAD", b"")])
def test_head_has_the_headers_of_get_and_no_body(method: str, body: bytes) -> None:
    """Or else the next answer on the connection would begin with it."""
    started: list[tuple[Any, ...]] = []
    app = wsgi_app(lambda _request: text("200 OK", "hello"))
    assert b"".join(app(environment(method), lambda *it: started.append(it))) == body  # type: ignore[arg-type]
    assert [(status, dict(headers)["Content-Length"]) for status, headers in started] == [
        ("200 OK", "6")
    ]


@pytest.mark.parametrize(("method", "body"), [("GET", b"hello"), ("HEAD", b"")])
def test_a_file_is_sent_from_where_it_is(tmp_path: Path, method: str, body: bytes) -> None:
    """And closed if it is not sent."""
    path = tmp_path / "file"
    path.write_bytes(b"..hello")
    file = FileIO(path)
    file.seek(2)
    app = wsgi_app(lambda _request: Response("200 OK", [], file=file))
    sent = app(environment(method), lambda *_: None)  # type: ignore[arg-type]
    assert b"".join(sent) == body
    assert file.closed is (method == "HEAD")
    file.close()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, None),
        ({"IF_MATCH": '"a"'}, None),
        ({"IF_MATCH": '"b"'}, "412 Precondition Failed"),
        ({"IF_MATCH": 'W/"a"'}, "412 Precondition Failed"),
        ({"IF_NONE_MATCH": '"b"'}, None),
        ({"IF_NONE_MATCH": 'W/"a"'}, "304 Not Modified"),
        ({"IF_MATCH": '"b"', "IF_NONE_MATCH": '"a"'}, "412 Precondition Failed"),
    ],
)
def test_precondition(headers: dict[str, str], status: str | None) -> None:
    """Source: RFC 9110, section 13.2.2, for their order."""
    request = Request(environment(**headers))
    found = precondition(request, "a", [("ETag", '"a"'), ("Content-Length", "5")])
    assert (found and found.status) == status
    if found and status == "304 Not Modified":
        assert found.headers == [("ETag", '"a"')]
