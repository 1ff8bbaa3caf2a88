"""Take a snapshot of everything that `status`, `doctor`, notifications and the page judge."""

import errno
import gc
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from pypi_insiders.config.paths import Paths
from pypi_insiders.config.settings import Settings, load_settings
from pypi_insiders.index import distribution
from pypi_insiders.index.metadata_cache import Entry
from pypi_insiders.index.release_lists import TAKEN_BACK, YANKED, Releases
from pypi_insiders.reporting import directory
from pypi_insiders.reporting.directory import Files, Survey, rejected, survey
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
from pypi_insiders.util.errors import InsidersError, tried
from pypi_insiders.util.files import hint_for, is_there, list_names

if TYPE_CHECKING:
    from pypi_insiders.reporting.index_check import Fetched
    from pypi_insiders.reporting.observation import Observed
    from pypi_insiders.systemd.index_address import Elsewhere
    from pypi_insiders.systemd.service_status import Services
    from pypi_insiders.systemd.unit_state import UnitState

_T = TypeVar("_T")

Observe = Callable[
    [Paths, datetime, Settings | InsidersError, Callable[[], Files]], Callable[[], "Observed"]
]
"""Begins to observe what runs, and returns a function that waits for the result.

The function that it gets waits for the list of files.
"""


_STARTED_AFTER_S = 60
"""Far more than it takes systemd to start a unit."""


class Snapshot(NamedTuple):
    """Everything as it was at one moment; a part that cannot be read is the error why."""

    now: datetime
    paths: Paths
    settings: Settings | InsidersError
    watched: Mapping[str, Repository] | InsidersError
    files: Files | InsidersError
    listed_at: float = 0
    """When `repos.toml` was last written, in seconds of the epoch; 0: unknown."""
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
    unserved: Mapping[str, str] = MappingProxyType({})
    """Sdist or wheel that was never served to why; published files are in `differences`."""
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
    files: Future[Files] = Future()
    is_collecting = gc.isenabled()
    # What is read stays until the end: to look for garbage in it takes a quarter of the time.
    gc.disable()
    try:
        return _take(paths, now, observe, files)
    finally:
        if is_collecting:
            gc.enable()
        # A thread that still waits for it would never end.
        if not files.done():
            files.set_result(Files())


def _take(paths: Paths, now: datetime, observe: Observe | None, listing: Future[Files]) -> Snapshot:
    errors: list[InsidersError] = []

    def read(load: Callable[[], _T], otherwise: _T) -> _T:
        part = tried(load)
        if isinstance(part, InsidersError):
            errors.append(part)
            return otherwise
        return part

    settings = tried(lambda: load_settings(paths.settings))
    # First, so that systemd and the index answer while the files are read.
    observed = observe(paths, now, settings, listing.result) if observe else None
    # Before the states: an update writes there what it is about to publish.
    files = tried(lambda: list_names(paths.distributions))
    file_names = [] if isinstance(files, InsidersError) else files
    # Each file is read once: with a thousand repositories that is most of the time.
    known = dict(state.load_each(paths.state))
    readable = [
        (it.name or name, it) for name, it in known.items() if not isinstance(it, InsidersError)
    ]
    found = _survey(paths, file_names, readable)
    there = found.files
    listing.set_result(there)
    names = held_names.load(
        paths, held_names.Records({*there.projects, *there.odd}, found.published, readable)
    )
    watched = names.unread or names.watched
    # The latter is reported as that of repos.toml.
    if names.error is not None and names.error is not names.unread:
        errors.append(names.error)
    yanked = status.canonical(read(lambda: YANKED.load(paths.distributions, paths.state), {}))
    taken_back: Releases = read(lambda: TAKEN_BACK.load(paths.distributions, paths.state), {})
    known_public = public_versions.load(paths.state)
    checks: Mapping[str, Check] = read(lambda: state.load_checks(paths.state), {})
    listed = {} if isinstance(watched, InsidersError) else watched
    sandboxing = read(lambda: sandbox_state.load(paths.state), Sandboxing())
    announced: list[NewRelease] = read(lambda: new_releases.seen(paths), [])
    folded = {name.casefold() for name in listed}
    states: dict[str, RepositoryState | InsidersError] = {
        # One that was not found may be in a directory that cannot be read.
        name: known[key]
        if (key := name.casefold()) in known
        else tried(partial(state.load, paths.state, name))
        for name in listed
    }
    # Those that are no longer watched, too: what they published stays in the index.
    states |= {name: it for name, it in readable if name.casefold() not in folded}
    # The state of a repository may be lost while its files are still known: a look at it must show
    # what the next update restores, and not a project without releases.
    for item in listed.values():
        states[item.name] = _recovered(item, states[item.name], found.entries, taken_back)
    stated = {
        file for it in states.values() if not isinstance(it, InsidersError) for file in it.files
    }
    compared = Comparison(paths.distributions, found.entries, taken_back, unchanged=found.unchanged)
    differences = _compare(compared, states, stated)
    # A file that differs from what was published is left out by the index, as a broken one is.
    unserved = directory.unserved(found, stated)
    problems = {
        **{name: entry.problem for name, entry in found.entries.items() if entry.problem},
        **{item.file: item.text for item in differences if item.kind != Kind.MISSING},
        **unserved,
    }
    well = there.sizes.keys() - problems.keys() if problems else there.sizes.keys()
    view = StatusContext(well, yanked, known_public, checks)
    standings = tuple(status.of(item, states[item.name], view) for item in listed.values())
    seen = observed() if observed else None
    held = {**dict.fromkeys((*there.projects, *there.odd)), **names.repositories}
    # The name that a build found counts at once, before the next update stores it.
    named = {item.project: item.name for item in standings if item.project}
    names = names._replace(repositories={**held, **named})
    # A project is served as long as one of its files is as it was published: installers get that
    # one, and the others are problems of their own.
    served = {project for project, own in there.projects.items() if not problems.keys() >= set(own)}
    fetched = seen.of_this(served) if seen else None
    if fetched is not None and fetched.projects is not None:
        # What clients get counts: a running index may lag behind the directory, or serve another.
        served = set(fetched.projects)

    def look(_paths: Paths, name: str) -> tuple[RepositoryState, Check]:
        its = known.get(name.casefold())
        own = its if isinstance(its, RepositoryState) else RepositoryState()
        return own, checks.get(name, Check())

    missing = {
        project: why
        for project in sorted(names.repositories.keys() - served)
        if (
            why := no_release.find(
                paths, names, project, rejected(project, there, problems) or None, look
            )
        )
    }
    return Snapshot(
        now=now,
        paths=paths,
        settings=settings,
        watched=watched,
        files=files if isinstance(files, InsidersError) else there,
        listed_at=_written_at(paths.repositories),
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
                {file for name in named for file in there.projects.get(name, ())} - stated,
                named,
                ((name, it) for name, it in states.items() if isinstance(it, RepositoryState)),
                found.entries,
                taken_back,
            )
        ),
        unserved=unserved,
        missing=missing,
        yanked=yanked,
        public=known_public,
        set_aside=tuple(_set_aside(paths, file_names)),
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


def _written_at(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0


def _closed(*directories: Path) -> dict[Path, str]:
    """Return the directories in which updates cannot write, each with a hint."""
    found = {}
    for path in directories:
        # A broken link as well, as it is where the directory would be made. To create or rename a
        # file takes both permissions of its directory.
        if os.path.lexists(path) and not os.access(path, os.W_OK | os.X_OK):
            found[path] = _opening(path)
    return found


def _opening(path: Path) -> str:
    """Return the hint of a directory in which updates cannot write."""
    if path.is_symlink() and not is_there(path):
        return f"restore {path.readlink()}, or remove the link: `rm {path}`"
    if not path.is_dir():
        return "move that file or directory away"
    # No mode helps there.
    is_read_only = os.statvfs(path).f_flag & os.ST_RDONLY
    return hint_for(OSError(errno.EROFS, "")) or "" if is_read_only else f"`chmod u+rwx {path}`"


def _survey(
    paths: Paths, names: Iterable[str], states: Iterable[tuple[str, RepositoryState]]
) -> Survey:
    """Compare the files of these names with the metadata cache, for these states."""
    stated: dict[str, str] = {}
    built: set[str] = set()
    for name, known in states:
        for build in known.builds:
            stated |= build.files
        # Of any other the builds are recovered from the cache.
        if known.builds or known.project:
            built.add(name.casefold())
    return survey(paths, names, stated, built)


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
    compared: Comparison,
    states: Mapping[str, RepositoryState | InsidersError],
    stated: Collection[str],
) -> tuple[Difference, ...]:
    found: list[Difference] = []
    for name, known in states.items():
        if not isinstance(known, InsidersError):
            found += compared.of(known.name or name, known)
    # Files that were published by hand or by upload have no repository, but a recorded hash.
    return (*found, *compared.of_others(stated))


def _set_aside(paths: Paths, distributions: Iterable[str]) -> Iterator[Path]:
    """Yield the damaged files that were moved away, from these names of distributions too."""
    # Not Path.glob(), which compares each of many files with two patterns.
    places = (
        paths.state,
        *paths.state.glob("repositories/*"),
        # Of a parent, as a directory that cannot be read has none, and itself would raise.
        *paths.state.glob(f"{paths.new_releases.name}/*"),
    )
    listed = [(place, _names(place)) for place in places]
    for place, names in (*listed, (paths.distributions, distributions)):
        found = [name for name in names if ".damaged" in name[1:]]
        yield from (place / name for name in sorted(found, key=lambda it: (it[0] == ".", it)))


def _names(place: Path) -> list[str]:
    found = tried(lambda: list_names(place))
    return [] if isinstance(found, InsidersError) else found
