"""Change `repos.toml` and the held names, and check the owners of projects."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from pypi_insiders.builder import user_files
from pypi_insiders.builder.user_files import UserFiles
from pypi_insiders.config.paths import Paths
from pypi_insiders.repositories import held_names, lookup, ownership, registry
from pypi_insiders.repositories.repository import Repository
from pypi_insiders.util.errors import InsidersError


def add(
    paths: Paths, new: Iterable[Repository]
) -> tuple[dict[str, Repository], dict[str, Repository]]:
    """Add repositories; for watched ones, change the given keys.

    Returns:
        The watched repositories by name, before and after.

    Raises:
        InsidersError: see `registry.add`; or another repository has built a project. Nothing is
            changed. Or the held names cannot be written, and all is added.
    """
    new = list(new)
    with registry.edit(paths) as watched:
        before = dict(watched)
        watched.update(registry.add(before, new))
        ownership.check(paths, watched.values())
    # Now, not by the next update: from this moment, installers must not get a public project of
    # that name.
    try:
        held_names.sync(paths)
    except InsidersError as error:
        # repos.toml holds the name, and the next update writes the lists.
        names = ", ".join(item.name for item in new)
        raise InsidersError(f"{names}: watched, but {error.message}", error.hint) from error
    return before, watched


def change(paths: Paths, name: str, texts: Mapping[str, str]) -> tuple[Repository, Repository]:
    """Change keys of a watched repository, all or none.

    Args:
        paths: all paths of the program.
        name: the repository.
        texts: key to the text that the user typed; an empty text resets the key.

    Returns:
        The repository before and after.

    Raises:
        UsageError: the name, a key or a value is not valid.
        InsidersError: the repository is not watched, or its project belongs to another one; or its
            builds may not read a file.
    """
    with registry.edit(paths) as watched:
        (old,) = lookup.select(watched, [name])
        new = registry.change(watched, name, texts)[old.name]
        if not texts.keys().isdisjoint(("readable", "path")):
            user_files_of(paths, new)
        others = [item for item in watched.values() if item.name != old.name]
        # The changed one last, so that a repository that has built the project is its owner.
        ownership.check(paths, (*others, new))
        watched[old.name] = new
    held_names.sync(paths)
    return old, new


def user_files_of(paths: Paths, repository: Repository) -> UserFiles:
    """Return the files of the user that the builds of a repository may read.

    Raises:
        InsidersError: one of them is missing or may contain credentials.
    """
    own = [paths.config, paths.data, paths.state, paths.cache]
    if repository.token_file:
        own.append(Path(repository.token_file).expanduser())
    return user_files.select(repository.name, repository.readable or (), repository.path or (), own)
