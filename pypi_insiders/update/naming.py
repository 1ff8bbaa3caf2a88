"""Read the project names of repositories before their first build."""

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from pypi_insiders import git
from pypi_insiders.config.paths import Paths
from pypi_insiders.git import SignatureError
from pypi_insiders.remote_index import public_versions
from pypi_insiders.repositories import (
    access_check,
    heads,
    held_names,
    ownership,
    tags,
    token_commands,
)
from pypi_insiders.repositories.git_access import access_to
from pypi_insiders.repositories.repository import Repository
from pypi_insiders.update import project_name
from pypi_insiders.update.project_name import UnknownNameError
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import list_names
from pypi_insiders.util.trees import remove_foreign_tree

# Each only waits for its host: ten at once take as long as one.
_AT_ONCE = 16
# Reading a name takes seconds: a directory of this age was left by a killed process.
_LEFT_AFTER_S = 3600
# Each further tag is another fetch from the host, for which `repos add` waits.
_MOST_UNSIGNED = 3
_TIMEOUT_S = 10


@dataclass(frozen=True)
class Naming:
    """The project name of a repository, or why it is unknown."""

    project: str | None = None
    """Normalized."""
    reason: str | None = None
    claimed: str | None = None
    """The name in its files, if the index has files of that project from elsewhere."""


def learn(paths: Paths, repositories: Sequence[Repository], index_url: str | None) -> None:
    """Read the project names that were not read when the repositories were added, and hold them.

    Args:
        paths: all paths of the program.
        repositories: the repositories without a known name.
        index_url: the fallback index; `None`: it must not be queried.

    Raises:
        InsidersError: the held names cannot be written.
    """
    if not repositories:
        return
    commands = token_commands.configured(paths)
    # By each update anew: until a name is known, installers get a public project of that name.
    replies = access_check.ask(repositories, commands, timeout_s=_TIMEOUT_S)
    newest = {name: reply.newest for name, reply in replies.items() if reply.newest}
    readable = [item for item in repositories if item.name in newest]
    found = read(paths, newest, readable, timeout_s=_TIMEOUT_S)
    named = {item.project: name for name, item in found.items() if item.project}
    hold_private(paths, named, index_url)


def hold_private(paths: Paths, named: Mapping[str, str], index_url: str | None) -> None:
    """Hold the names of projects that are not public.

    Args:
        paths: all paths of the program.
        named: normalized project to `NS/PROJ`.
        index_url: the fallback index; `None`: it must not be queried.

    Raises:
        InsidersError: the held names cannot be written.
    """
    # Without the names of public projects: holding them blocks the public project for installers,
    # and the user has not confirmed that.
    # If the index does not answer, the name is held: a private name must not be redirected.
    public = public_versions.existing(index_url, named) if index_url else set()
    held_names.hold(paths, {project: named[project] for project in named.keys() - public})


def hold_renamed(
    paths: Paths, repository: Repository, commit: str, known: str, index_url: str | None
) -> None:
    """Hold the name that the files of a fetched commit state, if it is not the known one.

    Args:
        paths: all paths of the program.
        repository: the repository, whose mirror has the commit.
        commit: of a release that does not build, so that no metadata tell its project.
        known: the normalized project of the repository.
        index_url: the fallback index; `None`: it must not be queried.

    Raises:
        InsidersError: the mirror cannot be read, or the held names cannot be written.
    """
    places = _places(repository)
    files = git.read_fetched(paths.mirror(repository.name), commit, list(places))
    try:
        project = project_name.read({places[place]: text for place, text in files.items()})
    except UnknownNameError:
        return
    if project != known:
        hold_private(paths, {project: repository.name}, index_url)


def read(
    paths: Paths, newest: Mapping[str, str], repositories: Sequence[Repository], *, timeout_s: float
) -> dict[str, Naming]:
    """Read the project names of repositories from the files of one tag each, concurrently.

    Args:
        paths: all paths of the program.
        newest: repository to the tag that is built first.
        repositories: the repositories to read; all are in `newest`.
        timeout_s: the limit for each repository.

    Returns:
        Repository to its project name, in the order of `repositories`.
    """
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        found = pool.map(
            lambda item: _read(paths, item, newest[item.name], timeout_s), repositories
        )
        named = {item.name: naming for item, naming in zip(repositories, found, strict=True)}
    _sweep(paths.glances)
    return named


def _read(paths: Paths, repository: Repository, tag: str, timeout_s: float) -> Naming:
    places = _places(repository)
    try:
        files = _fetch(paths, repository, tag, list(places), timeout_s)
        project = project_name.read({places[place]: text for place, text in files.items()})
        foreign = ownership.foreign_files(paths, project, repository.name)
    except InsidersError as error:
        return Naming(reason=error.message)
    # With files from elsewhere in the index, the user has to confirm the name.
    return Naming(claimed=project) if foreign else Naming(project)


def _fetch(
    paths: Paths, repository: Repository, tag: str, places: Sequence[str], timeout_s: float
) -> dict[str, str]:
    # One limit for all candidates together.
    until_s, unsigned = time.monotonic() + timeout_s, list[SignatureError]()
    access = access_to(repository, token_commands.configured(paths))
    for candidate in _candidates(repository, access, tag, timeout_s):
        branch = heads.branch_of(candidate)
        wanted = git.Wanted(repository.remote, candidate, places, repository.signers, branch)
        try:
            return git.read_files(
                wanted, paths.glances, access, timeout_s=until_s - time.monotonic()
            )
        except SignatureError as error:
            unsigned.append(error)
    raise unsigned[-1]


def _candidates(
    repository: Repository, access: git.Access, tag: str, timeout_s: float
) -> Iterator[str]:
    """Yield the tag that is built first, then those that are built if it is not signed."""
    yield tag
    refs = git.list_tags(repository.remote, access, timeout_s=timeout_s)
    for _ in range(_MOST_UNSIGNED):
        refs.pop(tag, None)
        if not (chosen := tags.choose(refs, {}, repository.rules(1)).build):
            return
        yield (tag := chosen[0])


def _sweep(directory: Path) -> None:
    """Remove the directories of killed processes, and `directory` itself if it is empty."""
    with contextlib.suppress(InsidersError, OSError):
        for name in list_names(directory):
            # Newer ones may belong to another process that is reading names.
            if (directory / name).stat().st_mtime < time.time() - _LEFT_AFTER_S:
                remove_foreign_tree(directory / name)
        directory.rmdir()


def _places(repository: Repository) -> dict[str, str]:
    """Return where the files are that may state the project name: path to file name."""
    directory = repository.subdirectory
    prefix = f"{directory}/" if directory and directory != "." else ""
    return {f"{prefix}{name}": name for name in project_name.FILES}
