"""Read and write the held names: the projects that are never redirected to the fallback index.

A name is held while its project is watched, published or recorded here. For a name that is not held
but private, an installer would get a public project instead.
"""

import contextlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from pypi_insiders.config.paths import Paths
from pypi_insiders.index import distribution
from pypi_insiders.index.metadata_cache import MetadataCache
from pypi_insiders.repositories import (
    held_name_files,
    registry,
    releases,
    removals,
    salvaged_names,
    state,
)
from pypi_insiders.repositories.repository import Repository, add_command
from pypi_insiders.repositories.state import RepositoryState
from pypi_insiders.util.errors import InsidersError, as_value
from pypi_insiders.util.files import is_there, list_names, locked


class Names(NamedTuple):
    """All recorded held names; files in the distributions directory may add more."""

    repositories: Mapping[str, str | None]
    """Normalized project to its repository; `None`: its file was copied into the directory."""
    watched: Mapping[str, Repository]
    """The watched repositories, by `NS/PROJ`; empty if `repos.toml` cannot be read."""
    unread: InsidersError | None = None
    """Why `repos.toml` cannot be read."""
    error: InsidersError | None = None
    """Why names are lost, so that any unknown name may be private."""


class Records(NamedTuple):
    """What was published, from which names are known as well as from the lists of them."""

    projects: Collection[str]
    """Normalized projects that have a file in the distributions directory."""
    published: Collection[str]
    """Normalized projects that have a published file by the metadata cache, also a missing one."""
    states: Sequence[tuple[str, RepositoryState]]
    """`NS/PROJ` and state of all known repositories, watched or not."""


def read_records(paths: Paths) -> Records:
    """Read all records; an unreadable one counts as empty."""
    published = set[str]()
    # Opening a missing cache would create an empty one.
    if is_there(paths.record):
        with contextlib.closing(MetadataCache(paths.record, paths.distributions)) as record:
            published = record.projects()
    states = list(state.everything(paths.state))
    return Records(in_directory(paths.distributions), published, states)


def load(paths: Paths, records: Records | None = None) -> Names:
    """Read all held names.

    `repos.toml` and the three files with held names replace each other if one is lost; a damaged
    file is set aside, and written again from the state.

    Args:
        paths: all paths of the program.
        records: for a caller that has read them (default: they are read).
    """
    records = records or read_records(paths)
    remembered, lost = held_name_files.load(paths)
    # Always all sources: an incomplete list cannot be told from a complete one.
    found: dict[str, str | None] = {**_recorded(paths, records), **(remembered or {})}
    watched: dict[str, Repository] = {}
    unread = error = None
    try:
        watched = registry.load(paths.repositories)
        # repos.toml wins: a project may have moved to another repository since it was recorded.
        found |= {
            name: item.name for item, name in _projects(watched.values(), records.states) if name
        }
    except InsidersError as broken:
        unread = as_value(broken)
        salvaged, tables = salvaged_names.read(paths.repositories)
        found = salvaged | found
        named = {repository.casefold() for repository in found.values() if repository}
        # Fail closed: an unreadable table may be about any project.
        if not tables or not {table.casefold() for table in tables} <= named:
            error = unread
    if remembered is None:
        error = unread or lost
    # An empty list counts as a lost one: the project name of a repository that was never built was
    # in that list only.
    if error is None and not watched:
        error = _nameless(paths, found, unread, records)
    return Names(found, watched, unread, error)


def are_any(paths: Paths) -> bool:
    """Return whether any name is held, or names are lost."""
    names = load(paths)
    return bool(names.repositories) or names.error is not None


def _nameless(
    paths: Paths,
    found: Mapping[str, str | None],
    unread: InsidersError | None,
    records: Records,
) -> InsidersError | None:
    """Return the error about known repositories whose project names are lost; `None`: none is."""
    named = {name.casefold() for name in found.values() if name}
    # A removed repository is missing from the list on purpose.
    named |= removals.load(paths.state)
    left = [
        (name, known)
        for name, known in records.states
        if name.casefold() not in named and known.project is None
    ]
    if not left:
        return None
    names = ", ".join(name for name, _ in left)
    why = f"{paths.repositories} lists no repositories" if unread is None else unread.message
    adds = " ".join(add_command(name, known.remote) for name, known in left)
    return InsidersError(
        f"project name of {names} lost: {why}, and {names} was not removed",
        f"restore the file, or {adds}, or `pypi-insiders repos remove {names.replace(',', '')}`",
    )


def with_removed(
    paths: Paths, watched: Mapping[str, Repository], held: Mapping[str, str | None]
) -> dict[str, Repository]:
    """Return the watched repositories, and those that are only remembered, with their URLs.

    So an address names a removed repository only if it was built from there.

    Args:
        paths: all paths of the program.
        watched: the watched repositories, by name.
        held: held names, to their repositories.
    """
    found = dict(watched)
    folded = {name.casefold() for name in found}
    urls = [(name, known.remote) for name, known in state.everything(paths.state)]
    for name, url in [*urls, *((name, None) for name in held.values() if name)]:
        if name.casefold() not in folded:
            folded.add(name.casefold())
            # Without a URL it would be one of GitHub; no address is at this one.
            found[name] = Repository(name, url=url or "unknown")
    return found


def _recorded(paths: Paths, records: Records) -> dict[str, str | None]:
    found: dict[str, str | None] = dict.fromkeys(records.projects)
    # A project whose releases were all yanked or taken back may have neither file nor build.
    found |= dict.fromkeys(releases.listed_projects(paths))
    found |= dict.fromkeys(records.published)
    found |= releases.former_projects(paths, records.states)
    for name, known in records.states:
        # Versions without a list of taken-back releases left given-up projects in the state.
        is_given_up = known.is_old and known.project not in found
        if known.project and not is_given_up:
            found[known.project] = name
    return found


def _projects(
    watched: Iterable[Repository], states: Iterable[tuple[str, RepositoryState]]
) -> Iterator[tuple[Repository, str | None]]:
    """Yield each repository with its project, which may be that of its first build."""
    built = {name.casefold(): known.project for name, known in states}
    for item in watched:
        yield item, item.project or built.get(item.name.casefold())


def in_directory(directory: Path) -> set[str]:
    """Return the projects that have a file in a directory; none if it is unreadable."""
    found: set[str] = set()
    with contextlib.suppress(InsidersError):
        for name in list_names(directory):
            if not name.startswith("."):
                found |= distribution.projects_of(name)
    return found


def sync(paths: Paths, *, in_state_only: bool = False) -> Names:
    """Write the names of all projects that are watched, published or recorded now.

    Args:
        paths: all paths of the program.
        in_state_only: not beside the distributions, where a server cannot write.

    Raises:
        InsidersError: the list cannot be written; the old one stays.
    """
    with locked(paths.locks.held_names):
        records = read_records(paths)
        found = load(paths, records)
        if found.error is not None:
            # A list without the lost names would look complete.
            return found
        held_name_files.save_changed(paths, dict(found.repositories), in_state_only=in_state_only)
    return found


def hold(paths: Paths, names: Mapping[str, str]) -> None:
    """Hold the project names of repositories that have published nothing yet.

    Args:
        paths: all paths of the program.
        names: normalized project to `NS/PROJ`; names that are held already do not change.

    Raises:
        InsidersError: the list cannot be read or written; the old one stays.
    """
    with locked(paths.locks.held_names):
        before = _listed(paths)
        if new := {project: name for project, name in names.items() if project not in before}:
            held_name_files.save(paths, {**before, **new})


def _listed(paths: Paths) -> Mapping[str, str | None]:
    """Return the names in the files with held names, to write them again with a change."""
    remembered, lost = held_name_files.load(paths)
    # As in `sync`: written again without the lost names, the list would look complete.
    if remembered is None and lost:
        raise lost
    return remembered or {}


def release(paths: Paths, names: Iterable[str]) -> list[str]:
    """Release names that are neither watched nor published: they are redirected from now on.

    Args:
        paths: all paths of the program.
        names: normalized project names.

    Returns:
        The released names, sorted.

    Raises:
        InsidersError: the list cannot be read or written, or `repos.toml` cannot be read.
    """
    with locked(paths.locks.held_names):
        records = read_records(paths)
        before = {**_recorded(paths, records), **_listed(paths)}
        listed = registry.load(paths.repositories).values()
        watched = {name for _, name in _projects(listed, records.states)}
        gone = sorted(before.keys() & set(names) - watched - set(records.projects))
        if gone:
            # Each of these files alone would hold the names again.
            releases.give_up(paths, set(gone))
            left = {name: value for name, value in before.items() if name not in gone}
            held_name_files.save(paths, left)
    return gone
