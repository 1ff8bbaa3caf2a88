"""Change what is watched: `repos.toml`, checked against the owners of projects, and held names."""

from collections.abc import Iterable, Mapping

from pypi_insiders.config.paths import Paths
from pypi_insiders.repositories import held_names, ownership, registry
from pypi_insiders.repositories.repository import Repository


def add(
    paths: Paths, new: Iterable[Repository]
) -> tuple[dict[str, Repository], dict[str, Repository]]:
    """Add repositories; of those that are watched already, the given keys change.

    Returns:
        The watched repositories by name, before and after.

    Raises:
        InsidersError: as of `registry.add`, or another repository has built a project; nothing
            changed.
    """
    with registry.edit(paths) as watched:
        before = dict(watched)
        watched.update(registry.add(before, new))
        ownership.check(paths, watched.values())
    # At once, not by the next update: from now on an installer must not get a public package of
    # that name.
    held_names.sync(paths)
    return before, watched


def change(paths: Paths, name: str, texts: Mapping[str, str]) -> tuple[Repository, Repository]:
    """Change keys of a watched repository, all or none.

    Args:
        paths: where everything is.
        name: of the repository.
        texts: key to what a user typed; an empty text unsets the key.

    Returns:
        The repository before and after.

    Raises:
        UsageError: the name, a key or a value is wrong.
        InsidersError: the repository is not watched, or its project is another repository's.
    """
    with registry.edit(paths) as watched:
        (old,) = registry.select(watched, [name])
        new = registry.change(watched, name, texts)[old.name]
        others = [item for item in watched.values() if item.name != old.name]
        # Last, so that a repository that has built a project before is its owner.
        ownership.check(paths, (*others, new))
        watched[old.name] = new
    held_names.sync(paths)
    return old, new
