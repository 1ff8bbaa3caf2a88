"""Take one look at everything that `status`, `doctor`, notifications and the page judge."""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import field, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

from pypi_insiders.config import access
from pypi_insiders.config.paths import Paths
from pypi_insiders.config.settings import Settings, load_settings
from pypi_insiders.index import distribution, yanks
from pypi_insiders.index.metadata_cache import Entry, MetadataCache
from pypi_insiders.index.release_lists import TAKEN_BACK, Releases
from pypi_insiders.reporting import index_check
from pypi_insiders.reporting.directory import Files, list_files, rejected, samples
from pypi_insiders.reporting.index_check import Fetched
from pypi_insiders.repositories import (
    comparison,
    held_names,
    no_release,
    public_versions,
    recovery,
    registry,
    running,
    state,
    status,
)
from pypi_insiders.repositories.comparison import Comparison, Difference, Kind, Strangers
from pypi_insiders.repositories.model import Repository
from pypi_insiders.repositories.no_release import NoRelease
from pypi_insiders.repositories.public_versions import Public
from pypi_insiders.repositories.state import Check, RepositoryState, Sandboxing
from pypi_insiders.repositories.status import RepositoryStatus, StatusContext
from pypi_insiders.systemd import control, service_status, unit_state
from pypi_insiders.systemd.service_status import Condition, Services
from pypi_insiders.systemd.unit_state import UnitState
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import is_there
from pypi_insiders.util.values import dataclass

_T = TypeVar("_T")

Fetch = Callable[["Files", Services | InsidersError, Settings | None], Fetched | None]
"""Asks the index, however that is done; `None`: it was not asked."""


@dataclass(frozen=True)
class Snapshot:
    """Everything as it was at one moment; a part that cannot be read is the error that says why."""

    now: datetime
    paths: Paths
    settings: Settings | InsidersError
    watched: Mapping[str, Repository] | InsidersError
    files: Files | InsidersError
    services: Services | InsidersError | None = None
    """`None`: nobody looked."""
    units: tuple[UnitState, ...] = ()
    passwords: InsidersError | None = None
    """Why nobody could log in or upload, though the settings demand it."""
    fetched: Fetched | None = None
    """`None`: nobody asked the index."""
    standings: tuple[RepositoryStatus, ...] = ()
    """In the order of `repos.toml`."""
    closed: tuple[Path, ...] = ()
    """The directories in which an update cannot write."""
    removed: frozenset[str] = frozenset()
    """The repositories that the user removed, in lower case."""
    held: Mapping[str, str | None] = field(default_factory=dict)
    """Every project name that belongs to this index, to its repository if one is known."""
    remotes: Mapping[str, str | None] = field(default_factory=dict)
    """Every repository of which something is known, to where it was built from."""
    pending: frozenset[str] = frozenset()
    """Repositories that a running update has still to finish."""
    differences: tuple[Difference, ...] = ()
    strangers: tuple[Strangers, ...] = ()
    missing: Mapping[str, NoRelease] = field(default_factory=dict)
    """Held name that has no release to why, in the words that clients get."""
    yanked: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Project to yanked versions, in their canonical form."""
    public: Mapping[str, Public] = field(default_factory=dict)
    set_aside: tuple[Path, ...] = ()
    """Damaged files that were moved out of the way."""
    sandboxing: Sandboxing = field(default_factory=Sandboxing)
    errors: tuple[InsidersError, ...] = ()
    """Why other parts could not be read."""


def take(
    paths: Paths, now: datetime, fetch: Fetch | None = None, *, with_services: bool = True
) -> Snapshot:
    """Look at everything; whatever cannot be read is told in its place.

    Args:
        paths: where everything is.
        now: with a time zone, in which times are told.
        fetch: asks the index.
        with_services: also look at the services and their units.
    """
    errors: list[InsidersError] = []

    def read(load: Callable[[], _T], otherwise: _T) -> _T:
        try:
            return load()
        except InsidersError as error:
            errors.append(error)
            return otherwise

    settings = _tried(lambda: load_settings(paths.settings))
    files = _tried(lambda: list_files(paths.distributions))
    there = Files() if isinstance(files, InsidersError) else files
    with ThreadPoolExecutor(1) as pool:
        # systemd and the index are waited for while the files are read.
        asking = pool.submit(_ask, paths, now, settings, there, fetch, with_services)
        watched = _tried(lambda: registry.load(paths.repositories))
        names = held_names.load(paths)
        if names.error is not None and names.error is not names.unread:
            errors.append(names.error)
        yanked = status.canonical(read(lambda: yanks.load(paths.distributions, paths.state), {}))
        taken_back: Releases = read(lambda: TAKEN_BACK.load(paths.distributions, paths.state), {})
        known_public = public_versions.load(paths.state)
        checks: Mapping[str, Check] = read(lambda: state.load_checks(paths.state), {})
        listed = {} if isinstance(watched, InsidersError) else watched
        sandboxing = read(lambda: state.load_sandbox(paths.state), Sandboxing())
        states = {
            name: _tried(partial(state.load, paths.state, name))
            for name in dict.fromkeys([*listed, *_others(paths, listed)])
        }
        entries = _entries(paths)
        for item in listed.values():
            states[item.name] = _recovered(item, states[item.name], entries, taken_back)
        differences = _compare(paths, states, entries, taken_back)
        problems = {name: entry.problem for name, entry in entries.items() if entry.problem}
        problems |= {item.file: item.text for item in differences if item.kind != Kind.MISSING}
        view = StatusContext(
            frozenset(there.sizes.keys() - problems.keys()), yanked, known_public, checks
        )
        standings = tuple(status.of(item, states[item.name], view) for item in listed.values())
        services, unit_states, fetched = asking.result()
    no_passwords = _passwords(paths, settings, services)
    held = {**dict.fromkeys((*there.projects, *there.odd)), **names.repositories}
    named = {item.distribution: item.name for item in standings if item.distribution}
    names = replace(names, repositories={**held, **named})
    served = {
        project for project, files in there.projects.items() if not problems.keys() >= set(files)
    }
    fetched = _of_this(fetched, services, served)
    if fetched is not None and fetched.projects is not None:
        served = set(fetched.projects)  # what clients get is what counts
    missing = {
        project: found
        for project in sorted(names.repositories.keys() - served)
        if (
            found := no_release.find(
                paths, names, project, rejected(project, there, problems) or None
            )
        )
    }
    return Snapshot(
        now=now,
        paths=paths,
        settings=settings,
        watched=watched,
        files=files,
        services=services,
        units=unit_states,
        passwords=no_passwords,
        fetched=fetched,
        standings=standings,
        closed=tuple(
            path
            for path in (paths.distributions, paths.state)
            if is_there(path) and not os.access(path, os.W_OK | os.X_OK)
        ),
        removed=frozenset(state.load_removed(paths.state)),
        held=names.repositories,
        remotes={
            name: known.remote
            for name, known in states.items()
            if not isinstance(known, InsidersError)
        },
        pending=running.pending(paths),
        differences=differences,
        strangers=tuple(
            comparison.strangers(
                there.sizes.keys(),
                {item.distribution: item.name for item in standings if item.distribution},
                ((name, it) for name, it in states.items() if isinstance(it, RepositoryState)),
                entries,
                taken_back,
            )
        ),
        missing=missing,
        yanked=yanked,
        public=known_public,
        set_aside=tuple(_set_aside(paths)),
        sandboxing=sandboxing,
        errors=tuple(errors),
    )


def _of_this(
    fetched: Fetched | None, services: Services | InsidersError | None, served: set[str]
) -> Fetched | None:
    """See whether an index that no unit of ours serves is this one: then it has what is here."""
    is_unit = isinstance(services, Services) and services.server.condition == Condition.RUNNING
    if fetched is None or fetched.projects is None or is_unit or served <= fetched.projects:
        return fetched
    if services is None or not fetched.url:
        return fetched
    lacks = min(served - fetched.projects)
    error = f"{fetched.url} belongs to another index, which does not list {lacks}"
    return replace(fetched, is_other=True, projects=None, file=None, error=error)


def _tried(load: Callable[[], _T]) -> _T | InsidersError:
    try:
        return load()
    except InsidersError as error:
        return error


def _ask(  # noqa: PLR0913, PLR0917  # one caller
    paths: Paths,
    now: datetime,
    settings: Settings | InsidersError,
    files: Files,
    fetch: Fetch | None,
    with_services: bool,
) -> tuple[Services | InsidersError | None, tuple[UnitState, ...], Fetched | None]:
    """Ask systemd, and then the index where that listens."""
    services: Services | InsidersError | None = None
    found: tuple[UnitState, ...] = ()
    known = None if isinstance(settings, InsidersError) else settings
    if with_services:
        services = _tried(lambda: service_status.observe(now))
        if isinstance(services, Services):
            found = unit_state.find(services, paths, known)
    fetched = None
    if fetch is not None:
        asked = services or InsidersError("nobody looked")
        fetched = fetch(files, asked, known)
    return services, found, fetched


def _passwords(
    paths: Paths, settings: Settings | InsidersError, services: Services | InsidersError | None
) -> InsidersError | None:
    """Read the passwords as the server does; a credential of its service takes their place."""
    if isinstance(settings, InsidersError):
        return None
    try:
        if isinstance(services, Services) and services.server.condition != Condition.NOT_INSTALLED:
            control.demand_passwords(settings, paths)
        else:
            access.passwords_for(settings.server, paths.passwords)
    except InsidersError as error:
        return error
    return None


def _others(paths: Paths, listed: Mapping[str, Repository]) -> Iterator[str]:
    """Name the repositories of which something is known, and that are not watched."""
    watched = {name.casefold() for name in listed}
    for name, _known in state.everything(paths.state):
        if name.casefold() not in watched:
            yield name


def _entries(paths: Paths) -> dict[str, Entry]:
    """Read what the record knows of each file; looking at it makes none."""
    if not is_there(paths.record):
        return {}
    record = MetadataCache(paths.record, paths.distributions)
    try:
        return record.entries()
    finally:
        record.close()


def _recovered(
    item: Repository,
    known: RepositoryState | InsidersError,
    entries: Mapping[str, Entry],
    taken_back: Releases,
) -> RepositoryState | InsidersError:
    """Find by the record what was built of a repository whose state is lost, as an update does."""
    if isinstance(known, InsidersError) or known.builds or known.distribution:
        return known
    builds = recovery.recorded(entries.values(), taken_back, item)
    if not builds:
        return known
    project = distribution.release_of(next(iter(builds[-1].files)))[0]
    return replace(known, distribution=project, builds=builds, remote=item.remote)


def _compare(
    paths: Paths,
    states: Mapping[str, RepositoryState | InsidersError],
    entries: Mapping[str, Entry],
    taken_back: Releases,
) -> tuple[Difference, ...]:
    """Compare what the state and the record say is published with the directory."""
    compared = Comparison(paths.distributions, dict(entries), taken_back)
    found: list[Difference] = []
    built: set[str] = set()
    for name, known in states.items():
        if not isinstance(known, InsidersError):
            found += compared.of(known.name or name, known)
            built.update(known.files)
    return (*found, *compared.of_others(built))


def _set_aside(paths: Paths) -> Iterator[Path]:
    """Find what was damaged, and is out of the way now."""
    for directory in (paths.state, *paths.state.glob("repositories/*"), paths.distributions):
        with contextlib.suppress(OSError):
            yield from sorted(directory.glob("*.damaged*"))
            yield from sorted(directory.glob(".*.damaged*"))


def fetch_as_client(
    files: Files, services: Services | InsidersError, settings: Settings | None
) -> Fetched | None:
    """Ask the index through the address on which it listens, as a client does.

    Where nothing should listen, what answers there all the same is known by its answer.
    """
    url, is_idle = settings.server.url if settings else None, False
    if isinstance(services, Services):
        server = services.server
        if server.has_failed and server.url is not None:
            return None  # each request waits until it is started once more
        if server.condition == Condition.RUNNING:
            url, is_idle = server.url, not server.is_working
    if url is None:
        return None
    return index_check.fetch(url, samples(files), is_idle=is_idle)
