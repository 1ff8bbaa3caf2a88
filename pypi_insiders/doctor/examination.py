"""Run all checks, in the order in which one rests on another."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, wait
from datetime import datetime
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from pypi_insiders import git
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
from pypi_insiders.systemd import systemctl
from pypi_insiders.systemd.service_status import Services
from pypi_insiders.systemd.systemctl import Manager
from pypi_insiders.systemd.unit_names import PARTS
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import is_there
from pypi_insiders.util.formatting import counted
from pypi_insiders.util.process_group import ProcessGroup
from pypi_insiders.util.threads import begin

_TIDYING_S = 5


def examine(paths: Paths, now: datetime, *, verify: bool = False) -> Iterator[Sequence[Finding]]:
    """Run all checks at the same time, and yield the findings of each in order.

    Args:
        paths: where everything is.
        now: for "12 min ago"; its time zone is that of all times.
        verify: whether every published file is read and its hash compared.
    """
    # First: it records what differs, and so the snapshot has it in its place.
    verified = list(_verify(paths)) if verify else []
    processes = ProcessGroup()
    with_files: list[Future[list[Finding]]] = []
    try:
        # The hosts answer meanwhile.
        accessible = begin(partial(_all, partial(_access, paths)))
        with_files.append(accessible)
        yield from _examine(paths, now, verified, processes, with_files)
        yield accessible.result()
    # Ctrl-C too: a probe in its unit and a git that waits for a host would outlive this process.
    except BaseException:
        processes.end()
        # Threads that wait for git would delay the exit until their hosts answer.
        git.end()
        access_check.end()
        # Their threads remove their temporary directories, unless this process is gone before.
        wait(with_files, _TIDYING_S)
        raise


def _examine(
    paths: Paths,
    now: datetime,
    verified: Iterable[Finding],
    processes: ProcessGroup,
    with_files: list[Future[list[Finding]]],
) -> Iterator[Sequence[Finding]]:
    seen = snapshot.take(paths, now, observation.AS_CLIENT)
    judged = judge(seen)
    # With a broken config.toml the other checks still help, with the defaults for what it lacks.
    settings = seen.settings if isinstance(seen.settings, Settings) else Settings()
    yield [
        *_file(paths.settings, CONFIG, judged),
        *_file(paths.repositories, REPOSITORIES, judged),
        *former_keys(paths.repositories),
    ]
    both = seen.services if isinstance(seen.services, Services) else None
    manager = _manager(seen)
    has_manager = isinstance(manager, Manager)
    fallback_url = settings.server.fallback
    build_check = begin(lambda: [builds.look(paths, settings, processes)])
    with_files.append(build_check)
    checks: tuple[Callable[[], Iterable[Finding]], ...] = (
        lambda: system.look(manager),
        lambda: disk.look(paths),
        lambda: installation.look(both, seen.units, judged) if both else (),
        lambda: program.look(has_manager=has_manager),
        lambda: services.look(seen, judged),
        lambda: (*verified, *_rest(seen, judged)),
        build_check.result,
        lambda: (
            network.look(fallback_url, network.ask(fallback_url))
            if fallback_url
            else network.without_fallback()
        ),
        lambda: _clients(services.url(seen), paths, settings),
    )
    # All at once, and printed in order: fallback and sandbox take seconds each.
    for findings in [begin(partial(_all, check)) for check in checks]:
        yield findings.result()


def _access(paths: Paths) -> Iterable[Finding]:
    try:
        watched = registry.load(paths.repositories)
    except InsidersError:  # reported as a problem of the file
        return ()
    try:
        systemctl.manager()
    except InsidersError:
        return access.look(paths, watched, has_manager=False)
    return access.look(paths, watched, has_manager=True)


def _manager(seen: Snapshot) -> Manager | InsidersError:
    if isinstance(seen.services, Services):
        return seen.services.manager
    return seen.services or InsidersError("the services were not checked")


def _file(path: Path, name: str, judged: Judgement) -> Iterator[Finding]:
    found = [services.of_item(item) for item in judged.about((name,))]
    yield from found
    if not any(item.verdict == Verdict.PROBLEM for item in found):
        yield ok(path.name, "valid" if is_there(path) else "not found, using the defaults")


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
            yield ok("files", "all hashes match the recorded ones")


def _rest(seen: Snapshot, judged: Judgement) -> Iterator[Finding]:
    """Return what else is in the judgement: of repositories, projects and the state."""
    # These have their place further up or down, between the checks that they rest on.
    elsewhere = {CONFIG, REPOSITORIES, INDEX, *(part.name for part in PARTS)}
    elsewhere |= {f"{part.name} units" for part in PARTS}
    found = [services.of_item(item) for item in judged.items if item.subject not in elsewhere]
    yield from found
    if not found and seen.held:
        served = counted(len(seen.held), "project")
        yield ok("releases", f"{served}, all served as published")


def _all(check: Callable[[], Iterable[Finding]]) -> list[Finding]:
    return list(check())


def _clients(url: str | None, paths: Paths, settings: Settings) -> Iterator[Finding]:
    port = urlsplit(url or "").port
    # Behind a socket of another kind no URL of a client is recognized as that of the index.
    if port is None:
        return
    # Another shell may have removed the directory in which this one is.
    try:
        directory = Path.cwd()
    except OSError:
        hint = "`cd` to another directory"
        yield warning("lock files", "the current directory no longer exists", hint)
        return
    place = ClientContext(os.environ, Path.home(), directory)
    index = clients.Index(settings.server, port)
    yield from clients.look(place, index)
    yield from lockfiles.look(place, index, paths.distributions)
