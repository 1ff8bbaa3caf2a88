"""What a server answers that cannot serve."""

import re
import threading
from http.client import HTTPConnection
from wsgiref.types import WSGIApplication

import waitress

from pypi_insiders.server.web.guard import RequestGuard
from pypi_insiders.server.web.refusing import make_app
from pypi_insiders.util.errors import InsidersError


def _serving(app: WSGIApplication) -> tuple[str, int]:
    server = waitress.create_server(app, host="127.0.0.1", port=0)
    threading.Thread(target=server.run, daemon=True).start()
    host, port = server.socket.getsockname()[:2]
    return str(host), int(port)


def test_a_connection_ends_with_the_answer() -> None:
    """What its client asks next is answered by whoever serves then."""
    app = make_app(InsidersError("no password", "set one"), RequestGuard())
    connection = HTTPConnection(*_serving(app), timeout=60)
    connection.request("GET", "/simple/probe/", headers={"User-Agent": "uv/0.13"})
    answer = connection.getresponse()
    assert (answer.status, answer.getheader("Connection")) == (503, "close")
    assert b"no password" in answer.read()


def test_a_browser_is_shown_why() -> None:
    """On a page that loads nothing, for there is nothing else."""
    app = make_app(InsidersError("no <password>", "`pypi-insiders server password USER`"), None)
    told = make_app(
        InsidersError("no <password>", "`pypi-insiders server password USER`"), RequestGuard()
    )
    for one, shown in (
        (app, "run <code>pypi-insiders status</code> on its machine"),
        (told, "the index cannot serve: no &lt;password&gt;"),
        (told, "<p><code>pypi-insiders server password USER</code></p>"),
    ):
        connection = HTTPConnection(*_serving(one), timeout=60)
        connection.request("GET", "/", headers={"Accept": "text/html,*/*;q=0.8"})
        answer = connection.getresponse()
        assert (answer.status, answer.getheader("Connection")) == (503, "close")
        page = answer.read().decode()
        assert shown in page
        assert re.findall(r'(?:href|src)="((?!data:)[^"]*)"', page) == ["./", ""]
