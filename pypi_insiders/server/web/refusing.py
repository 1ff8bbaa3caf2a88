"""Answer every request with the reason why the index cannot serve."""

from collections.abc import Iterable
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from pypi_insiders.server.web import error_pages, installer_errors
from pypi_insiders.server.web.guard import RequestGuard
from pypi_insiders.server.web.installer_errors import Stop
from pypi_insiders.server.web.request import Request
from pypi_insiders.server.web.responses import Response, wsgi_app
from pypi_insiders.util.errors import InsidersError


def make_app(error: InsidersError, guard: RequestGuard | None) -> WSGIApplication:
    """Make an application that stops installers and shows them an error.

    Args:
        error: why the index cannot serve.
        guard: who may read the reason, which can name what is in the settings; `None`: nobody.
    """
    told = Stop(f"the index cannot serve: {error.message}", error.hint, 503)
    untold = Stop("the index cannot serve", "run `pypi-insiders status` on its machine", 503)

    def refuse(request: Request) -> Response:
        is_told = guard is not None and guard.check(request) is None
        stop = told if is_told else untold
        response = installer_errors.answer(stop, request, is_page=request.path != "/health")
        response = error_pages.shown(response, request)
        response.headers = [it for it in response.headers if it[0] != "Content-Length"]
        return response

    answer = wsgi_app(refuse)

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        # Without a length the connection ends with the answer: what the client asks next comes
        # through the socket, where the next process that can serve takes it. waitress would add the
        # length of a body that tells how many parts it has.
        return iter(answer(environ, start_response))

    return app
