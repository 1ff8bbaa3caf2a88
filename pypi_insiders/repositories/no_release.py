"""Explain why the index has no release of a held project."""

import contextlib
from collections.abc import Callable, Collection, Sequence
from enum import StrEnum
from typing import NamedTuple

from packaging.utils import canonicalize_version

from pypi_insiders.config.paths import Paths
from pypi_insiders.index import distribution, release_lists
from pypi_insiders.index.metadata_cache import MetadataCache
from pypi_insiders.index.release_lists import TAKEN_BACK
from pypi_insiders.repositories import (
    comparison,
    heads,
    ownership,
    registry,
    running,
    state,
    status,
)
from pypi_insiders.repositories.held_names import Names
from pypi_insiders.repositories.repository import Repository, add_command
from pypi_insiders.repositories.state import Check, RepositoryState
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import is_there, list_names


class Reason(StrEnum):
    """Why there is no release."""

    BUILDING = "building"
    UNBUILT = "unbuilt"
    WAITING = "waiting"
    UNTAGGED = "untagged"
    FAILING = "failing"
    UNREACHABLE = "unreachable"
    UNPUBLISHED = "unpublished"
    LOST = "lost"
    REJECTED = "rejected"
    ELSEWHERE = "elsewhere"
    OTHER = "other"
    UNKNOWN = "unknown"
    NOT_WATCHED = "not watched"


class NoRelease(NamedTuple):
    """A held project without a release in the index."""

    project: str
    """Normalized."""
    repository: str | None
    """Its repository, `NS/PROJ`; `None`: its file was copied into the directory."""
    reason: Reason
    text: str
    """The message, one line with the name of the project."""
    hint: str
    """The hint, with the next command."""

    @property
    def is_passing(self) -> bool:
        """Whether the running update or the next one fixes it."""
        return self.reason in (Reason.BUILDING, Reason.LOST)

    @property
    def is_damage(self) -> bool:
        """Whether a release was lost: it was published, and not taken back."""
        return self.reason in (Reason.LOST, Reason.REJECTED, Reason.NOT_WATCHED, Reason.UNKNOWN)


def read(paths: Paths, name: str) -> tuple[RepositoryState, Check]:
    """Read the state and the last check of a repository; empty if unreadable."""
    known = RepositoryState()
    with contextlib.suppress(InsidersError):
        known = state.load(paths.state, name)
    return known, state.load_checks(paths.state).get(name, Check())


def find(
    paths: Paths,
    names: Names,
    project: str,
    rejected: Sequence[str] | None,
    look: Callable[[Paths, str], tuple[RepositoryState, Check]] = read,
) -> NoRelease | None:
    """Return why a project without a served file has no release; `None`: its name is not held.

    A name is also not held while its repository is `public-until-built` and was never published.

    Args:
        paths: all paths of the program.
        names: all held names.
        project: normalized name.
        rejected: the problems of its files in the directory; `None`: it has no files.
        look: returns the state and the last check of a repository, for a caller that has read all.
    """
    # Files that cannot be read count as missing: clients get an answer in any case.
    # `rejected`: a file in the directory holds its name even if no list has it.
    if project not in names.repositories and rejected is None:
        return None
    name = names.repositories.get(project)
    watched = names.watched.get(name or "")
    is_public_now = watched is not None and watched.public_until_built and not rejected
    if watched and is_public_now and not _was_published(paths, project, watched.name):
        return None
    return _explain(paths, names, project, rejected or (), look)


def _was_published(paths: Paths, project: str, repository: str) -> bool:
    """Return whether a release was ever published, from the state, the lists or the cache."""
    if read(paths, repository)[0].files or _taken_back(paths, project):
        return True
    # Opening a missing cache would create it.
    if not is_there(paths.record):
        return False
    with contextlib.closing(MetadataCache(paths.record, paths.distributions)) as record:
        return any(entry.project == project for entry in record.entries().values())


def of_watched(paths: Paths) -> dict[str, bool]:
    """Return the watched repositories without an intact release in the directory.

    Returns:
        Repository to whether its project name is known, so that installers get an error.

    Raises:
        InsidersError: the directory or `repos.toml` cannot be read.
    """
    watched = registry.load(paths.repositories)
    # Changed files are in the directory, but are not served.
    differing = {item.file for item in comparison.compare(paths)}
    files = set(list_names(paths.distributions)) - differing
    served = {project for _, project, _ in distribution.releases(files)}
    owners = ownership.owners(paths, watched.values())
    found = {name for project, name in owners.items() if project in served}
    # Until their first release, installers get the public project, and no error.
    found |= {
        item.name
        for item in watched.values()
        if item.public_until_built and not read(paths, item.name)[0].files
    }
    named = set(owners.values())
    return {name: name in named for name in watched if name not in found}


def _explain(
    paths: Paths,
    names: Names,
    project: str,
    rejected: Sequence[str],
    look: Callable[[Paths, str], tuple[RepositoryState, Check]],
) -> NoRelease:
    name = names.repositories.get(project)
    watched = names.watched.get(name or "")
    # Before all other reasons, which the running update may fix.
    if name is not None and name in running.pending(paths):
        text = f"{project} has no release yet: an update of {name} is running"
        return NoRelease(
            project, name, Reason.BUILDING, text, "follow it: `pypi-insiders watcher logs -f`"
        )
    if rejected:
        more = f" (and {len(rejected) - 1} more)" if len(rejected) > 1 else ""
        text = f"{project} has no usable file: {rejected[0]}{more}"
        hint = (
            f"`pypi-insiders update {name}`"
            if watched
            else f"replace or remove it in {paths.distributions}"
        )
        return NoRelease(project, name, Reason.REJECTED, text, hint)
    # Its repository may be watched, by the list that cannot be read.
    if names.unread is not None and watched is None:
        text = f"{project} has no release, and its repository is unknown: {names.unread.message}"
        return NoRelease(
            project, name, Reason.UNKNOWN, text, names.unread.hint or f"edit {paths.repositories}"
        )
    if name is None or watched is None:
        remote = look(paths, name)[0].remote if name else None
        return _not_watched(paths, project, name, remote)
    known, check = look(paths, name)
    # Before `is_of`, which is false for a state of a former project.
    taken_back = _taken_back(paths, project)
    former = _former(paths, project, name, known, taken_back)
    if other := former or _foreign(project, watched, known):
        return other
    if not known.is_of(watched.remote, watched.project):
        # The state is of a former url or project, whose builds do not count; the failures of its
        # tags still do.
        known = RepositoryState(failures=known.failures, waiting=known.waiting)
    lost = _lost(paths, project, name, known, taken_back)
    is_taken_back = bool(taken_back)
    return lost or _unpublished(project, watched, known, check, is_taken_back=is_taken_back)


def _lost(
    paths: Paths, project: str, name: str, known: RepositoryState, taken_back: Collection[str]
) -> NoRelease | None:
    """Explain releases that were published here and not taken back."""
    left = [
        build
        for build in known.builds
        if build.local
        and (not build.files or project in map(distribution.project_of, build.files))
        and canonicalize_version(build.version) not in taken_back
    ]
    if not left:
        return None
    # The latest three: some installers display the message in one line.
    versions = ", ".join(build.version for build in left[-3:])
    text = f"the files of {project} {versions} are missing from {paths.distributions}"
    hint = f"build them again: `pypi-insiders update {name}`"
    return NoRelease(project, name, Reason.LOST, text, hint)


def _former(
    paths: Paths, project: str, name: str, known: RepositoryState, taken_back: Collection[str]
) -> NoRelease | None:
    """Explain releases of a former project of a repository."""
    if known.project in (None, project):
        return None
    # A dictionary, as a set: each version once, in the order of the files.
    left = {
        str(version): None
        for _, of_project, version in distribution.releases(known.files)
        if of_project == project and canonicalize_version(str(version)) not in taken_back
    }
    if not left:
        return None
    versions = ", ".join(list(left)[-3:])
    text = (
        f"the files of {project} {versions} are missing from {paths.distributions}, and {name} "
        f"now builds {known.project}"
    )
    hint = f"restore the files, or give up the name: `pypi-insiders unpublish {project} --all`"
    return NoRelease(project, name, Reason.NOT_WATCHED, text, hint)


def _foreign(project: str, watched: Repository, known: RepositoryState) -> NoRelease | None:
    """Explain the name in a tag whose repository publishes another project."""
    own = watched.project or known.project
    if own in (None, project):
        return None
    text = f"{project} has no release: {watched.name} has a tag of it, but is watched as {own}"
    hint = (
        f"if it was renamed: `pypi-insiders repos set {watched.name} project={project}`, or give "
        f"up the name: `pypi-insiders unpublish {project} --all`"
    )
    return NoRelease(project, watched.name, Reason.OTHER, text, hint)


def waits(known: RepositoryState) -> str | None:
    """Return for which assets a repository waits; `None`: for none."""
    found = (f"tag {tag} waits for assets: {it.reason}" for tag, it in known.waiting.items())
    return next(found, None)


def _taken_back(paths: Paths, project: str) -> Collection[str]:
    with contextlib.suppress(InsidersError):
        return release_lists.versions(TAKEN_BACK.load(paths.distributions, paths.state), project)
    return ()


def _not_watched(paths: Paths, project: str, name: str | None, remote: str | None) -> NoRelease:
    """Explain a held name whose repository is not watched."""
    origin = f"from {name}" if name else "copied there by hand"
    text = f"{project} was served ({origin}); its files are missing from {paths.distributions}"
    hint = f"restore the files, or give up the name: `pypi-insiders unpublish {project} --all`"
    if name:
        hint = f"watch it again: {add_command(name, remote)}; or {hint}"
    return NoRelease(project, name, Reason.NOT_WATCHED, text, hint)


def _unpublished(
    project: str,
    watched: Repository,
    known: RepositoryState,
    check: Check,
    *,
    is_taken_back: bool,
) -> NoRelease:
    """Explain a watched repository without a published release."""
    name = watched.name
    again = f"try again: `pypi-insiders update {name}`"
    failed = [f"{heads.subject(tag)}: {it.message}" for tag, it in known.failures.items()]
    # Only the first is shown: an error of the whole repository concerns its tags too.
    if errors := [*check.errors, *failed]:
        text = f"{project} has no release: {name}: {errors[0]}"
        hint = status.hints_of(check, known).get(errors[0], again)
        return NoRelease(project, name, Reason.FAILING, text, hint)
    if check.unreachable_since is not None:
        text = f"{project} has no release: the host of {name} is unreachable"
        return NoRelease(project, name, Reason.UNREACHABLE, text, again)
    if known.builds and not any(build.local for build in known.builds):
        where = ", ".join(dict.fromkeys(url for build in known.builds for url in build.uploaded_to))
        text = f"{project} is published to {where or 'another index'} only"
        return NoRelease(project, name, Reason.ELSEWHERE, text, "install it from that index")
    if known.builds or is_taken_back:
        text = f"{project} has no release: all releases of {name} were unpublished"
        hint = f"publish one again: `pypi-insiders update {name} --tag TAG --force`"
        return NoRelease(project, name, Reason.UNPUBLISHED, text, hint)
    return _unbuilt(project, name, known, check)


def _unbuilt(project: str, name: str, known: RepositoryState, check: Check) -> NoRelease:
    """Explain a watched repository that was never built, and did not fail."""
    if waiting := waits(known):
        text = f"{project} has no release yet: {name}: {waiting}"
        hint = f"try again: `pypi-insiders update {name}`"
        return NoRelease(project, name, Reason.WAITING, text, hint)
    if heads.NO_TAGS in check.warnings:
        text = f"{project} has no release yet: {name}: {heads.NO_TAGS}"
        hint = check.hints.get(heads.NO_TAGS, heads.TAGS_HINT)
        return NoRelease(project, name, Reason.UNTAGGED, text, hint)
    text = f"{project} has no release yet: {name} was never built"
    return NoRelease(project, name, Reason.UNBUILT, text, f"`pypi-insiders update {name}`")
