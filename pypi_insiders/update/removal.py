"""Stop watching repositories, and remove what they published."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from pypi_insiders.config.paths import Paths
from pypi_insiders.index import store
from pypi_insiders.repositories import (
    comparison,
    held_names,
    registry,
    releases,
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
    """What it published, which stays in the index."""
    projects: tuple[str, ...]
    """The names that are held for it."""


def stop_watching(paths: Paths, names: Iterable[str]) -> list[Removed]:
    """Remove repositories from `repos.toml`, and remember that a user did so.

    Repositories that were removed before, and of which something is published or held, count as
    removed again.

    Raises:
        UsageError: a name is malformed.
        InsidersError: a repository is neither watched nor remembered; nothing is removed.
    """
    with registry.edit(paths) as watched:
        gone = _find(paths, watched, names)
        for item in gone:
            watched.pop(item.name, None)
        # Before the notes: what is noted as removed is so.
        registry.save(paths.repositories, watched.values())
        removed = state.load_removed(paths.state)
        state.save_removed(paths.state, {*removed, *(item.name.casefold() for item in gone)})
    return gone


def published(paths: Paths, names: Iterable[str]) -> list[Removed]:
    """Return what `stop_watching` would.

    Raises:
        UsageError: a name is malformed.
        InsidersError: a repository is neither watched nor remembered.
    """
    return _find(paths, registry.load(paths.repositories), names)


def _find(paths: Paths, watched: Mapping[str, Repository], names: Iterable[str]) -> list[Removed]:
    """Find repositories that are watched, or were."""
    wanted = [registry.meant(watched, name) for name in names]
    held = held_names.load(paths).repositories
    projects: dict[str, list[str]] = {}
    for project, name in held.items():
        projects.setdefault((name or "").casefold(), []).append(project)
    known = {name.casefold() for name, _ in state.everything(paths.state)}
    remembered = {
        name: Repository(name)
        for name in wanted
        if name.casefold() in projects or name.casefold() in known
    }
    # Watched ones first: a name may be typed in another case than in the file.
    gone = [item.name for item in registry.select({**watched, **remembered}, wanted)]
    return [
        Removed(name, tuple(_published(paths, name)), tuple(projects.get(name.casefold(), ())))
        for name in gone
    ]


def _published(paths: Paths, name: str) -> list[str]:
    return store.present(paths.distributions, state.load(paths.state, name).files)


def unlisted(paths: Paths, watched: Collection[str]) -> list[str]:
    """Name the repositories that nobody removed, where `repos.toml` lists none at all.

    Args:
        paths: where everything is.
        watched: what it lists.
    """
    if watched:
        return []
    removed = state.load_removed(paths.state)
    known = (name for name, found in state.everything(paths.state) if found.builds)
    return [name for name in known if name.casefold() not in removed]


def prune(paths: Paths, name: str, keep: int, *, dry_run: bool) -> list[str]:
    """Remove from the index what is older than a repository's newest versions.

    Waits for an update that is under way.

    Args:
        paths: where everything is.
        name: of the repository.
        keep: how many versions stay; 0 is all.
        dry_run: only tell.

    Returns:
        The removed files.

    Raises:
        InsidersError: a file cannot be removed.
    """
    with running.updates_stopped(paths):
        builds = state.load(paths.state, name).builds
        names = retention.superfluous(paths.distributions, builds, keep)
        return names if dry_run else unpublish.remove_files(paths, names, releases.PRUNED)


def withdraw(paths: Paths, name: str) -> list[str]:
    """Remove from the index what a repository published, and forget the repository.

    If it is watched again, it starts from scratch. Waits for an update that is under way.

    Returns:
        The removed files.

    Raises:
        InsidersError: a file cannot be removed; what is known of the repository stays.
    """
    with running.updates_stopped(paths):
        files = state.load(paths.state, name).files
        removed = unpublish.remove_files(paths, files)
        state.forget(paths.state, name)
        releases.forget_taken_back(paths, files)
        remove_tree(paths.mirror(name))
        remove_tree(paths.build_logs(name))
    return removed


def let_go(paths: Paths, projects: Iterable[str]) -> list[str]:
    """Release the held names of projects that are not watched, and of which nothing is published.

    What is lost, and was not unpublished, counts as published. What an update that runs publishes
    meanwhile is held again at its end.

    Args:
        paths: where everything is.
        projects: normalized names.

    Returns:
        The names that installers get from the fallback index now.

    Raises:
        InsidersError: it cannot be read what is watched or published.
    """
    wanted = set(projects)
    watched = registry.load(paths.repositories)
    lost = {item.project for item in comparison.compare(paths)}
    former = releases.former_projects(paths)
    free = wanted - lost - former.keys() - releases.projects(paths.distributions)
    held_names.hold(paths, former)  # the state may be all that knows them
    # A list, for the files are removed while they are gone through.
    for name, known in list(state.everything(paths.state)):
        if known.project in free and registry.find(watched, name) is None:
            state.forget(paths.state, name)
    return held_names.release(paths, free)
