"""Answer every request with the reason why the index cannot serve."""

from collections.abc import Iterable
from typing import Any, cast
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from pypi_insiders.server.web import stop
from pypi_insiders.server.web.guard import Guard
from pypi_insiders.server.web.replies import Headers
from pypi_insiders.server.web.stop import Stop
from pypi_insiders.util.errors import InsidersError


def make_app(error: InsidersError, guard: Guard | None) -> WSGIApplication:
    """Make an application that stops installers and shows them an error.

    Args:
        error: why the index cannot serve.
        guard: who may read the reason, which can name what is in the settings; `None`: nobody.
    """
    told = Stop(f"the index cannot serve: {error.message}", error.hint, 503)
    untold = Stop("the index cannot serve", "see `pypi-insiders status` where it runs", 503)

    def refuse(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        is_told = guard is not None and guard.check(environ) is None
        answered = told if is_told else untold
        is_page = environ["PATH_INFO"] != "/health"

        def start(status: str, headers: Headers) -> Any:
            # Without a length the connection ends with the answer: what the client asks next comes
            # through the socket, where whoever can serve by then takes it.
            return start_response(status, [it for it in headers if it[0] != "Content-Length"])

        return stop.answer(answered, environ, cast("StartResponse", start), is_page=is_page)

    return refuse
