"""WSGI applications under waitress, as our index is: the least that one can do, and a peer.

`bench_apps.py page SIZE TYPE` answers everything with so many bytes, `bench_apps.py file PATH` with
a file, `bench_apps.py pypiserver DIRECTORY` is an index. Each prints its URL.
"""

import logging
import sys
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from socket import create_server
from typing import cast
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import waitress


def page(size: int, content_type: str) -> WSGIApplication:
    """Make an application that always gives the same bytes."""
    body = b"x" * size
    headers = [("Content-Type", content_type), ("Content-Length", str(size))]

    def app(_environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", headers)
        return [body]

    return app


def file(path: Path) -> WSGIApplication:
    """Make an application that always gives the same file, as WSGI servers like it best."""
    size = path.stat().st_size
    headers = [("Content-Type", "application/octet-stream"), ("Content-Length", str(size))]

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", headers)
        opened = path.open("rb")  # closed by the server
        return cast("Iterable[bytes]", environ["wsgi.file_wrapper"](opened, 32768))

    return app


def pypiserver(directory: Path) -> WSGIApplication:
    """Make pypiserver's application with its cache; its own command does not know waitress."""
    # Found in the environment of the peers only.
    made: WSGIApplication = import_module("pypiserver").app(
        roots=[directory], backend_arg="cached-dir", authenticate=["update"], password_file=None
    )
    return made


def main() -> None:
    """Serve until ended."""
    which, *arguments = sys.argv[1:]
    if which == "page":
        app = page(int(arguments[0]), arguments[1])
    else:
        app = {"file": file, "pypiserver": pypiserver}[which](Path(arguments[0]))
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    listening = create_server(("127.0.0.1", 0), backlog=1024)
    print(f"http://127.0.0.1:{listening.getsockname()[1]}/", flush=True)
    waitress.serve(app, sockets=[listening], threads=4, _quiet=True)


if __name__ == "__main__":
    main()
