"""What pypiserver answers: the list of packages, and redirects to the fallback."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import pypiserver
from pypiserver.backend import Backend, BackendProxy
from pypiserver.config import Config
from pypiserver.core import PkgFile

from pypi_insiders.index.catalog import Catalog
from pypi_insiders.index.metadata_cache import Entry
from pypi_insiders.server.web.request import Request
from pypi_insiders.server.web.responses import SAFE, Handler, Headers, Response


class _Backend(Backend):  # type: ignore[misc] # pypiserver has no types
    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def get_all_packages(self) -> Iterator[PkgFile]:
        for name in self._catalog.projects():
            yield from self.find_project_packages(name)

    def find_project_packages(self, project: str) -> Iterator[PkgFile]:
        found = self._catalog.project(project)
        return iter(()) if found is None else map(self._package, found.files)

    def _package(self, entry: Entry) -> PkgFile:
        root = self._catalog.directory
        path = str(root / entry.name)
        package = PkgFile(entry.project, entry.version, path, str(root), entry.name)
        package.digest = f"sha256={entry.sha256}"
        return package

    def get_projects(self) -> tuple[str, ...]:
        return self._catalog.projects()

    def exists(self, filename: str) -> bool:
        return self._catalog.find(filename) is not None

    def add_package(self, filename: str, stream: BinaryIO) -> NoReturn:
        raise NotImplementedError

    def remove_package(self, pkg: PkgFile) -> NoReturn:
        raise NotImplementedError


def make_handler(catalog: Catalog, fallback_url: str | None) -> Handler:
    """Make what answers as pypiserver does, which reads the catalog.

    Args:
        catalog: the published files.
        fallback_url: the index for all other names; `None`: pypiserver's own, which is PyPI;
            empty: none, and such names are answered with 404.
    """
    overrides: dict[str, Any] = {}
    if fallback_url is not None:
        overrides = {"fallback_url": fallback_url} if fallback_url else {"disable_fallback": True}
    # Without a password file and with `update` to be authenticated, it lets nobody upload.
    config = Config.default_with_overrides(
        roots=[Path(catalog.directory).absolute()],
        authenticate=["update"],
        password_file=None,
        backend_arg="simple-dir",
        **overrides,
    )
    config.backend = BackendProxy(_Backend(catalog))
    app = pypiserver.app_from_config(config)
    app.catchall = False  # what the catalog raises is answered by the index
    logging.getLogger("pypiserver").setLevel(logging.WARNING)

    def answer(request: Request) -> Response:
        response = Response("", [])

        def start(status: str, headers: Headers, *_error: Any) -> None:
            response.status, response.headers = status, [*headers, *SAFE]

        response.body = b"".join(app(request.environ, start))
        return response

    return answer
