"""The WSGI application of the index: pypiserver, read-only."""

import logging
from collections.abc import Iterable
from pathlib import Path
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import pypiserver
from pypiserver.backend import listdir


class Inventory:
    """Count what a directory of distributions holds; look again only when it has changed."""

    def __init__(self, distributions: Path) -> None:
        self._directory = distributions
        self._changed_ns = -1
        self._words = ""

    def __call__(self) -> str:
        """Tell projects and files: `12 projects, 57 files`."""
        try:
            changed_ns = self._directory.stat().st_mtime_ns
        except OSError as error:
            return f"{self._directory}: {error.strerror}"
        if changed_ns != self._changed_ns:
            files = [file.pkgname_norm for file in listdir(self._directory)]
            self._changed_ns = changed_ns
            self._words = f"{len(set(files))} projects, {len(files)} files"
        return self._words


def make_app(distributions: Path, fallback_url: str | None = None) -> WSGIApplication:
    """Make the index of a directory of distributions.

    `/simple/`, `/simple/NAME/` and `/packages/FILE` are pypiserver's; names that the directory
    does not hold are redirected (303) to the fallback. Every method but GET and HEAD is refused.

    Args:
        distributions: an existing directory.
        fallback_url: the index for all other names; by default pypiserver's own, which is PyPI.

    Source: PEP 503.
    """
    overrides = {} if fallback_url is None else {"fallback_url": fallback_url}
    # Without a password file and with `update` to be authenticated, pypiserver lets nobody upload.
    index: WSGIApplication = pypiserver.app(
        roots=[distributions.resolve()], authenticate=["update"], password_file=None, **overrides
    )
    logging.getLogger("pypiserver").setLevel(logging.WARNING)

    def read_only(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] in ("GET", "HEAD"):
            return index(environ, start_response)
        body = b"this index is read-only\n"
        start_response(
            "405 Method Not Allowed",
            [
                ("Allow", "GET, HEAD"),
                ("Content-Type", "text/plain"),
                ("Content-Length", str(len(body))),
            ],
        )
        return [body]

    return read_only
