"""Look at everything, from the ground up."""

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from pypi_insiders import config, reach, repositories, systemctl
from pypi_insiders.config import Settings
from pypi_insiders.doctor import (
    access,
    builds,
    clients,
    disk,
    installation,
    lockfiles,
    network,
    program,
    services,
    system,
)
from pypi_insiders.doctor.client_settings import Place
from pypi_insiders.doctor.finding import Finding, Verdict, ok, problem, warning
from pypi_insiders.doctor.services import Server
from pypi_insiders.errors import InsidersError
from pypi_insiders.paths import Paths
from pypi_insiders.process import Containment
from pypi_insiders.systemctl import Manager

if TYPE_CHECKING:
    from pypi_insiders.repository import Repository

_T = TypeVar("_T")


def examine(paths: Paths, now: datetime) -> Iterator[Finding]:
    """Look at everything at the same time, and tell in order what was found.

    Args:
        paths: where everything lies.
        now: for "12 min ago"; with a time zone, in which times are told.
    """
    settings, found = _read(config.load, paths.settings, Settings())
    yield found
    nothing: dict[str, Repository] = {}
    watched, found = _read(repositories.load, paths.repositories, nothing)
    yield found
    is_known = found.verdict == Verdict.OK
    manager = _manager()
    has_manager = isinstance(manager, Manager)
    fallback_url = settings.server.fallback
    containment = Containment()
    server = _begin(lambda: services.server(settings.server, now, has_manager=has_manager))
    checks: tuple[Callable[[], Iterable[Finding]], ...] = (
        lambda: system.look(manager),
        lambda: disk.look(paths),
        lambda: installation.look(manager, paths, settings) if isinstance(manager, Manager) else (),
        lambda: program.look(has_manager=has_manager),
        lambda: services.look(server.result(), settings, now, has_manager=has_manager),
        lambda: [builds.look(paths, settings, containment)],
        lambda: network.look(fallback_url, network.ask(fallback_url)),
        lambda: _clients(server.result(), paths, settings),
        lambda: access.look(paths, watched, has_manager=has_manager) if is_known else (),
    )
    running = [_begin(partial(_all, check)) for check in checks]
    try:
        for findings in running:
            yield from findings.result()
    except BaseException:
        containment.end()
        reach.end()
        raise


def _all(check: Callable[[], Iterable[Finding]]) -> list[Finding]:
    return list(check())


def _begin(work: Callable[[], _T]) -> "Future[_T]":
    """Do something in a thread that does not keep the process from ending."""
    future: Future[_T] = Future()

    def do() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # raised where the result is wanted
            future.set_exception(error)

    threading.Thread(target=do, daemon=True).start()
    return future


def _read(load: Callable[[Path], _T], path: Path, otherwise: _T) -> tuple[_T, Finding]:
    """Read a file of the person; where that fails, go on with something else."""
    try:
        content = load(path)
    except InsidersError as error:
        return otherwise, problem(path.name, error.message, error.hint)
    return content, ok(path.name, "can be read" if path.exists() else "not there, nothing is set")


def _manager() -> Manager | InsidersError:
    try:
        return systemctl.manager()
    except InsidersError as error:
        return error


def _clients(server: Server, paths: Paths, settings: Settings) -> Iterator[Finding]:
    """Look at what is called from here, and at what it has written here."""
    port = urlsplit(server.url or "").port
    if port is None:
        return
    try:
        directory = Path.cwd()
    except OSError:
        hint = "`cd` to one that is there"
        yield warning("lock files", "the current directory is gone", hint)
        return
    place = Place(os.environ, Path.home(), directory)
    index = clients.Index(settings.server, port)
    yield from clients.look(place, index)
    yield from lockfiles.look(place, index, paths.distributions)
