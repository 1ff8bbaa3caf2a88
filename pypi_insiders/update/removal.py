"""Stop watching repositories, and remove their published files."""

import contextlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from pypi_insiders.config.paths import Paths, build_logs
from pypi_insiders.config.settings import WatcherSettings
from pypi_insiders.index import store
from pypi_insiders.repositories import (
    comparison,
    held_names,
    lookup,
    registry,
    releases,
    removals,
    running,
    state,
    unpublish,
)
from pypi_insiders.repositories.repository import Repository
from pypi_insiders.update import retention
from pypi_insiders.util.trees import remove_tree


@dataclass(frozen=True)
class Removed:
    """A repository that is no longer watched."""

    name: str
    files: tuple[str, ...]
    """Its published files, which stay in the index."""
    projects: tuple[str, ...]
    """The project names that are held for it."""
    is_watched: bool = True
    """Whether it was watched until now; `False`: only its state or a held name was left."""


def stop_watching(paths: Paths, names: Iterable[str]) -> list[Removed]:
    """Remove repositories from `repos.toml`, and record that a user did so.

    Repositories that were removed before, but still have a state or a held name, are accepted too.

    Raises:
        UsageError: a name is malformed.
        InsidersError: a repository is neither watched nor known; nothing is removed.
    """
    with registry.edit(paths) as watched:
        # Read before the removal, after which the names from repos.toml would be missing.
        gone = _find(paths, watched, names)
        for item in gone:
            # A repository that is only remembered is not in the list any more.
            watched.pop(item.name, None)
        # In this order, so that a repository that is recorded as removed really is.
        registry.save(paths.repositories, watched.values())
        removed = removals.load(paths.state)
        removals.save(paths.state, {*removed, *(item.name.casefold() for item in gone)})
    return gone


def published(paths: Paths, names: Iterable[str]) -> list[Removed]:
    """Return what `stop_watching` would; `is_watched` tells those that are only remembered.

    Raises:
        UsageError: a name is malformed.
        InsidersError: a repository is neither watched nor remembered.
    """
    return _find(paths, registry.load(paths.repositories), names)


def _find(paths: Paths, watched: Mapping[str, Repository], names: Iterable[str]) -> list[Removed]:
    """Find repositories that are watched, or were."""
    held = held_names.load(paths).repositories
    projects: dict[str, list[str]] = {}
    for project, name in held.items():
        projects.setdefault((name or "").casefold(), []).append(project)
    known = held_names.with_removed(paths, watched, held)
    gone = [item.name for item in lookup.select(known, names)]
    return [
        Removed(
            name,
            tuple(_published(paths, name)),
            tuple(projects.get(name.casefold(), ())),
            lookup.find(watched, name) is not None,
        )
        for name in gone
    ]


def _published(paths: Paths, name: str) -> list[str]:
    return store.present(paths.distributions, state.load(paths.state, name).files)


def unlisted(paths: Paths, watched: Collection[str]) -> list[str]:
    """Return the known repositories that nobody removed, if `repos.toml` lists none at all.

    Args:
        paths: all paths of the program.
        watched: the repositories in `repos.toml`.
    """
    # An empty list was probably lost, or emptied by an accident; a shorter one was edited.
    if watched:
        return []
    removed = removals.load(paths.state)
    known = (name for name, found in state.everything(paths.state) if found.builds)
    return [name for name in known if name.casefold() not in removed]


def prune(
    paths: Paths, repository: Repository, settings: WatcherSettings, *, dry_run: bool
) -> list[str]:
    """Remove the files of a repository's old versions from the index, as updates do.

    Waits for a running update, unless it is a dry run.

    Args:
        paths: all paths of the program.
        repository: with its `keep`, if any.
        settings: for repositories without.
        dry_run: only return the files.

    Returns:
        The removed files.

    Raises:
        InsidersError: a file cannot be removed.
    """
    # Read under the lock: a running update may be publishing a version.
    with contextlib.nullcontext() if dry_run else running.updates_stopped(paths):
        builds = state.load(paths.state, repository.name).builds
        names = [
            name
            for of_kind, keep in retention.groups(repository, settings, builds)
            for name in retention.superfluous(paths.distributions, of_kind, keep)
        ]
        return names if dry_run else unpublish.remove_files(paths, names, releases.PRUNED)


def purge(paths: Paths, name: str) -> list[str]:
    """Remove the published files of a repository, its state and its mirror.

    If it is watched again, it starts from scratch. Waits for a running update.

    Returns:
        The removed files.

    Raises:
        InsidersError: a file cannot be removed; the state stays.
    """
    with running.updates_stopped(paths):
        files = state.load(paths.state, name).files
        # The state after the files: with it, an interrupted purge can be repeated.
        removed = unpublish.remove_files(paths, files)
        state.forget(paths.state, name)
        # `remove_files` has listed them as taken back, which would exclude them from a new start.
        releases.forget_taken_back(paths, files)
        remove_tree(paths.mirror(name))
        remove_tree(build_logs(paths, name))
    return removed


def let_go(paths: Paths, projects: Iterable[str]) -> list[str]:
    """Release the held names of projects that are neither watched nor published.

    A lost file counts as published unless it was unpublished. If an update is running, it holds
    the names of what it publishes again at its end.

    Args:
        paths: all paths of the program.
        projects: normalized names.

    Returns:
        The released names, which are now redirected to the fallback index.

    Raises:
        InsidersError: `repos.toml`, the state or the index cannot be read.
    """
    wanted = set(projects)
    watched = registry.load(paths.repositories)
    lost = {item.project for item in comparison.compare(paths)}
    former = releases.former_projects(paths, state.everything(paths.state))
    free = wanted - lost - former.keys() - releases.projects(paths.distributions)
    # Before states are deleted below: former names may be recorded there only.
    held_names.hold(paths, former)
    # A list, as the files are deleted while iterating.
    for name, known in list(state.everything(paths.state)):
        if known.project in free and lookup.find(watched, name) is None:
            state.forget(paths.state, name)
    return held_names.release(paths, free)
