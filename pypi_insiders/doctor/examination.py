"""Look at everything, from the ground up."""

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from pypi_insiders.config.paths import Paths
from pypi_insiders.config.settings import Settings
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
from pypi_insiders.doctor.client_settings import ClientContext
from pypi_insiders.doctor.finding import Finding, Verdict, ok, problem, warning
from pypi_insiders.reporting import observation, snapshot
from pypi_insiders.reporting.judgement import judge
from pypi_insiders.reporting.snapshot import Snapshot
from pypi_insiders.reporting.verdict import CONFIG, INDEX, REPOSITORIES, Judgement
from pypi_insiders.repositories import access_check, comparison, registry
from pypi_insiders.systemd.service_status import Services
from pypi_insiders.systemd.systemctl import Manager
from pypi_insiders.systemd.unit_names import PARTS
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import is_there
from pypi_insiders.util.formatting import counted
from pypi_insiders.util.process_group import ProcessGroup

_T = TypeVar("_T")


def examine(paths: Paths, now: datetime, *, verify: bool = False) -> Iterator[Finding]:
    """Look at everything at the same time, and tell in order what was found.

    Args:
        paths: where everything is.
        now: for "12 min ago"; with a time zone, in which times are told.
        verify: whether every published file is read.
    """
    # First, for what it finds is in the snapshot then.
    verified = list(_verify(paths)) if verify else []
    seen = snapshot.take(paths, now, observation.AS_CLIENT)
    judged = judge(seen)
    settings = seen.settings if isinstance(seen.settings, Settings) else Settings()
    yield from _file(paths.settings, CONFIG, judged)
    yield from _file(paths.repositories, REPOSITORIES, judged)
    yield from former_keys(paths.repositories)
    watched = {} if isinstance(seen.watched, InsidersError) else seen.watched
    both = seen.services if isinstance(seen.services, Services) else None
    manager = _manager(seen)
    has_manager = isinstance(manager, Manager)
    fallback_url = settings.server.fallback
    processes = ProcessGroup()
    checks: tuple[Callable[[], Iterable[Finding]], ...] = (
        lambda: system.look(manager),
        lambda: disk.look(paths),
        lambda: installation.look(both, seen.units, judged) if both else (),
        lambda: program.look(has_manager=has_manager),
        lambda: services.look(seen, judged),
        lambda: (*verified, *_rest(seen, judged)),
        lambda: [builds.look(paths, settings, processes)],
        lambda: network.look(fallback_url, network.ask(fallback_url)),
        lambda: _clients(services.url(seen), paths, settings),
        lambda: (
            access.look(paths, watched, has_manager=has_manager)
            if not isinstance(seen.watched, InsidersError)
            else ()
        ),
    )
    # All at once, and told in order: repositories, fallback and sandbox take seconds each.
    running = [_begin(partial(_all, check)) for check in checks]
    try:
        for findings in running:
            yield from findings.result()
    except BaseException:
        processes.end()
        access_check.end()
        raise


def _manager(seen: Snapshot) -> Manager | InsidersError:
    if isinstance(seen.services, Services):
        return seen.services.manager
    return seen.services or InsidersError("nobody looked")


def _file(path: Path, name: str, judged: Judgement) -> Iterator[Finding]:
    found = [services.of_item(item) for item in judged.about((name,))]
    yield from found
    if not any(item.verdict == Verdict.PROBLEM for item in found):
        yield ok(path.name, "can be read" if is_there(path) else "not found, using the defaults")


def former_keys(path: Path) -> Iterator[Finding]:
    """Warn of keys of `repos.toml` by names that a later version will refuse."""
    try:
        found = registry.former_keys(path)
    except InsidersError:  # reported as a problem of the file
        return
    for former, name in sorted({pair for keys in found.values() for pair in keys.items()}):
        yield warning(
            path.name,
            f"`{former}` is the former name of `{name}`, and will be refused in a later version",
            f"replace it in {path}",
        )


def _verify(paths: Paths) -> Iterator[Finding]:
    """Compare the hash of each published file with the recorded one."""
    try:
        differences = comparison.compare(paths, verify=True)
    except InsidersError as error:
        yield problem("files", error.message, error.hint)
    else:
        if not differences:
            yield ok("files", "the hash of each is the recorded one")


def _rest(seen: Snapshot, judged: Judgement) -> Iterator[Finding]:
    """Tell what else the judgement says: of repositories, projects and the state."""
    told = {CONFIG, REPOSITORIES, INDEX, *(part.name for part in PARTS)}
    told |= {f"{part.name} units" for part in PARTS}
    found = [services.of_item(item) for item in judged.items if item.subject not in told]
    yield from found
    if not found and seen.held:
        served = counted(len(seen.held), "project")
        yield ok("releases", f"{served}, each with a release that is served as it was published")


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

    # Not a ThreadPoolExecutor, whose threads Python waits for at its end, also after Ctrl-C.
    threading.Thread(target=do, daemon=True).start()
    return future


def _clients(url: str | None, paths: Paths, settings: Settings) -> Iterator[Finding]:
    port = urlsplit(url or "").port
    if port is None:
        return
    try:
        directory = Path.cwd()
    except OSError:
        hint = "`cd` to one that is there"
        yield warning("lock files", "the current directory is gone", hint)
        return
    place = ClientContext(os.environ, Path.home(), directory)
    index = clients.Index(settings.server, port)
    yield from clients.look(place, index)
    yield from lockfiles.look(place, index, paths.distributions)
