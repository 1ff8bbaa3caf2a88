"""Take a snapshot of everything that `status`, `doctor`, notifications and the page judge."""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from pypi_insiders.config.paths import Paths
from pypi_insiders.config.settings import Settings, load_settings
from pypi_insiders.index import distribution, yanks
from pypi_insiders.index.metadata_cache import Entry, MetadataCache
from pypi_insiders.index.release_lists import TAKEN_BACK, Releases
from pypi_insiders.reporting.directory import Files, list_files, rejected
from pypi_insiders.repositories import (
    comparison,
    held_names,
    new_releases,
    no_release,
    public_versions,
    recovery,
    removals,
    running,
    sandbox_state,
    state,
    status,
)
from pypi_insiders.repositories.comparison import Comparison, Difference, Kind, Strangers
from pypi_insiders.repositories.new_releases import NewRelease
from pypi_insiders.repositories.no_release import NoRelease
from pypi_insiders.repositories.public_versions import Public
from pypi_insiders.repositories.repository import Repository
from pypi_insiders.repositories.sandbox_state import Sandboxing
from pypi_insiders.repositories.state import Check, RepositoryState
from pypi_insiders.repositories.status import RepositoryStatus, StatusContext
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import is_there

if TYPE_CHECKING:
    from pypi_insiders.reporting.index_check import Fetched
    from pypi_insiders.reporting.observation import Observed
    from pypi_insiders.systemd.index_address import Elsewhere
    from pypi_insiders.systemd.service_status import Services
    from pypi_insiders.systemd.unit_state import UnitState

_T = TypeVar("_T")

Observe = Callable[[Paths, datetime, Settings | InsidersError, Files], Callable[[], "Observed"]]
"""Begins to observe what runs, and returns a function that waits for the result."""


_STARTED_AFTER_S = 60
"""Far more than it takes systemd to start a unit."""


class Snapshot(NamedTuple):
    """Everything as it was at one moment; a part that cannot be read is the error why."""

    now: datetime
    paths: Paths
    settings: Settings | InsidersError
    watched: Mapping[str, Repository] | InsidersError
    files: Files | InsidersError
    services: "Services | InsidersError | None" = None
    """`None`: not observed."""
    units: "tuple[UnitState, ...]" = ()
    passwords: InsidersError | None = None
    """Why no password is accepted, though the settings require one."""
    hooks: InsidersError | None = None
    """Why no hook is accepted, though the settings say so."""
    fetched: "Fetched | None" = None
    """`None`: nothing was fetched from the index."""
    elsewhere: "Elsewhere | None" = None
    """The index listens at another address than config.toml sets; `None`: it does not."""
    standings: tuple[RepositoryStatus, ...] = ()
    """In the order of `repos.toml`."""
    closed: Mapping[Path, str] = MappingProxyType({})
    """Directory in which updates cannot write, to a hint."""
    removed: frozenset[str] = frozenset()
    """The repositories that the user removed, in lower case."""
    held: Mapping[str, str | None] = MappingProxyType({})
    """Every project name that belongs to this index, to its repository if one is known."""
    remotes: Mapping[str, str | None] = MappingProxyType({})
    """Repository with a state, watched or not, to the URL it was built from."""
    pending: frozenset[str] = frozenset()
    """Repositories that a running update has still to finish."""
    differences: tuple[Difference, ...] = ()
    strangers: tuple[Strangers, ...] = ()
    missing: Mapping[str, NoRelease] = MappingProxyType({})
    """Project without a release, to why, in the words that clients get."""
    yanked: Mapping[str, frozenset[str]] = MappingProxyType({})
    """Project to yanked versions, in their canonical form."""
    public: Mapping[str, Public] = MappingProxyType({})
    set_aside: tuple[Path, ...] = ()
    """Damaged files that were moved away."""
    sandboxing: Sandboxing = Sandboxing()
    unannounced: tuple[NewRelease, ...] = ()
    """Releases for which `release-command` has failed."""
    unbegun: tuple[NewRelease, ...] = ()
    """Releases for which it should run by now, and has neither succeeded nor failed."""
    errors: tuple[InsidersError, ...] = ()
    """Why other parts could not be read."""


def take(paths: Paths, now: datetime, observe: Observe | None = None) -> Snapshot:
    """Take a snapshot; whatever cannot be read is an error in its place.

    Args:
        paths: where everything is.
        now: its time zone is that of all times.
        observe: observes what runs; `None`: only files are read.
    """
    errors: list[InsidersError] = []

    def read(load: Callable[[], _T], otherwise: _T) -> _T:
        try:
            return load()
        except InsidersError as error:
            errors.append(error)
            return otherwise

    settings = _tried(lambda: load_settings(paths.settings))
    # Each file is read once: with a thousand repositories that is most of the time.
    entries = _entries(paths)
    files = _tried(lambda: list_files(paths.distributions, entries))
    there = Files() if isinstance(files, InsidersError) else files
    # First, so that systemd and the index answer while the files are read.
    observed = observe(paths, now, settings, there) if observe else None
    known = dict(state.load_each(paths.state))
    readable = [
        (it.name or name, it) for name, it in known.items() if not isinstance(it, InsidersError)
    ]
    published = {it.project for it in entries.values() if it.project and it.sha256}
    names = held_names.load(
        paths, held_names.Records({*there.projects, *there.odd}, published, readable)
    )
    watched = names.unread or names.watched
    # The latter is reported as that of repos.toml.
    if names.error is not None and names.error is not names.unread:
        errors.append(names.error)
    yanked = status.canonical(read(lambda: yanks.load(paths.distributions, paths.state), {}))
    taken_back: Releases = read(lambda: TAKEN_BACK.load(paths.distributions, paths.state), {})
    known_public = public_versions.load(paths.state)
    checks: Mapping[str, Check] = read(lambda: state.load_checks(paths.state), {})
    listed = {} if isinstance(watched, InsidersError) else watched
    sandboxing = read(lambda: sandbox_state.load(paths.state), Sandboxing())
    announced: list[NewRelease] = read(lambda: new_releases.ready(paths), [])
    folded = {name.casefold() for name in listed}
    states: dict[str, RepositoryState | InsidersError] = {
        # One that was not found may be in a directory that cannot be read.
        name: known[key]
        if (key := name.casefold()) in known
        else _tried(partial(state.load, paths.state, name))
        for name in listed
    }
    # Those that are no longer watched, too: what they published stays in the index.
    states |= {name: it for name, it in readable if name.casefold() not in folded}
    # The state of a repository may be lost while its files are still known: a look at it must show
    # what the next update restores, and not a project without releases.
    for item in listed.values():
        states[item.name] = _recovered(item, states[item.name], entries, taken_back)
    compared = Comparison(paths.distributions, dict(entries), taken_back, statuses=there.statuses)
    differences = _compare(compared, states)
    # A file that differs from what was published is left out by the index, as a broken one is.
    problems = {name: entry.problem for name, entry in entries.items() if entry.problem}
    problems |= {item.file: item.text for item in differences if item.kind != Kind.MISSING}
    view = StatusContext(
        frozenset(there.sizes.keys() - problems.keys()), yanked, known_public, checks
    )
    standings = tuple(status.of(item, states[item.name], view) for item in listed.values())
    seen = observed() if observed else None
    held = {**dict.fromkeys((*there.projects, *there.odd)), **names.repositories}
    # The name that a build found counts at once, before the next update stores it.
    named = {item.project: item.name for item in standings if item.project}
    names = names._replace(repositories={**held, **named})
    # A project is served as long as one of its files is as it was published: installers get that
    # one, and the others are problems of their own.
    served = {
        project for project, files in there.projects.items() if not problems.keys() >= set(files)
    }
    fetched = seen.of_this(served) if seen else None
    if fetched is not None and fetched.projects is not None:
        # What clients get counts: a running index may lag behind the directory, or serve another.
        served = set(fetched.projects)

    def look(_paths: Paths, name: str) -> tuple[RepositoryState, Check]:
        found = known.get(name.casefold())
        own = found if isinstance(found, RepositoryState) else RepositoryState()
        return own, checks.get(name, Check())

    missing = {
        project: found
        for project in sorted(names.repositories.keys() - served)
        if (
            found := no_release.find(
                paths, names, project, rejected(project, there, problems) or None, look
            )
        )
    }
    return Snapshot(
        now=now,
        paths=paths,
        settings=settings,
        watched=watched,
        files=files,
        services=seen.services if seen else None,
        units=seen.units if seen else (),
        passwords=seen.passwords if seen else None,
        hooks=seen.hooks if seen else None,
        fetched=fetched,
        elsewhere=seen.elsewhere if seen else None,
        standings=standings,
        closed=_closed(paths.distributions, paths.state),
        removed=frozenset(removals.load(paths.state)),
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
                {item.project: item.name for item in standings if item.project},
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
        unannounced=tuple(item for item in announced if item.error is not None),
        unbegun=tuple(
            item
            for item in announced
            if item.error is None
            and new_releases.ready_at(paths, item) < now.timestamp() - _STARTED_AFTER_S
        ),
        errors=tuple(errors),
    )


def _closed(*directories: Path) -> dict[Path, str]:
    """Return the directories in which updates cannot write, each with a hint."""
    found = {}
    for path in directories:
        # A broken link as well, as it is where the directory would be made. To create or rename a
        # file takes both permissions of its directory.
        if os.path.lexists(path) and not os.access(path, os.W_OK | os.X_OK):
            is_link = path.is_symlink() and not is_there(path)
            found[path] = (
                f"restore {path.readlink()}, or remove the link: `rm {path}`"
                if is_link
                else f"`chmod u+rwx {path}`"
                if path.is_dir()
                else "move that file or directory away"
            )
    return found


def _tried(load: Callable[[], _T]) -> _T | InsidersError:
    try:
        return load()
    except InsidersError as error:
        return error


def _entries(paths: Paths) -> dict[str, Entry]:
    """Return the recorded facts of each file."""
    # To open a missing database would create it, and a snapshot writes nothing.
    if not is_there(paths.record):
        return {}
    with contextlib.closing(MetadataCache(paths.record, paths.distributions)) as record:
        return record.entries()


def _recovered(
    item: Repository,
    known: RepositoryState | InsidersError,
    entries: Mapping[str, Entry],
    taken_back: Releases,
) -> RepositoryState | InsidersError:
    """Return the state of a repository, restored from the records if it is lost, as updates do."""
    # A state that cannot be read is not lost: an update refuses to overwrite it.
    if isinstance(known, InsidersError) or known.builds or known.project:
        return known
    builds = recovery.recorded(entries.values(), taken_back, item)
    if not builds:
        return known
    project = distribution.release_of(next(iter(builds[-1].files)))[0]
    return replace(known, project=project, builds=builds, remote=item.remote)


def _compare(
    compared: Comparison, states: Mapping[str, RepositoryState | InsidersError]
) -> tuple[Difference, ...]:
    found: list[Difference] = []
    built: set[str] = set()
    for name, known in states.items():
        if not isinstance(known, InsidersError):
            found += compared.of(known.name or name, known)
            built.update(known.files)
    # Files that were published by hand or by upload have no repository, but a recorded hash.
    return (*found, *compared.of_others(built))


def _set_aside(paths: Paths) -> Iterator[Path]:
    """Yield the damaged files that were moved away."""
    for directory in (
        paths.state,
        *paths.state.glob("repositories/*"),
        # Of a parent, as a directory that cannot be read has none, and itself would raise.
        *paths.state.glob(f"{paths.new_releases.name}/*"),
        paths.distributions,
    ):
        with contextlib.suppress(OSError):
            yield from sorted(directory.glob("*.damaged*"))
            # `*` leaves out names with a leading dot, which lists beside the distributions have.
            yield from sorted(directory.glob(".*.damaged*"))
