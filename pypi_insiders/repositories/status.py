"""Tell in one line each how the watched repositories stand."""

import contextlib
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from packaging.utils import canonicalize_version
from packaging.version import Version

from pypi_insiders.config.paths import Paths
from pypi_insiders.index.listing import TICK_NS
from pypi_insiders.repositories.public_versions import Public
from pypi_insiders.repositories.repository import Repository
from pypi_insiders.repositories.state import Build, Check, RepositoryState
from pypi_insiders.util.errors import InsidersError


@dataclass(frozen=True)
class RepositoryStatus:
    """How one repository stands."""

    name: str
    """`NS/PROJ`."""
    project: str | None
    """Normalized name; `None` before the first build, if nobody said so."""
    newest: Build | None
    """Of the releases that are served, or that another index has, and not yanked, the one that
    installers take: the newest final one, or else the newest."""
    public: str | None
    """The newest release of that name in the public index; `None`: there is none, or nobody knows.
    """
    public_asked_at: int | None
    """When the public index was asked, in seconds of the epoch."""
    superseded_by: str | None
    """The public release, as new as ours or newer, that ours hides."""
    check: Check
    """How the last look at it ended."""
    errors: tuple[str, ...]
    """What is wrong: one line each."""
    warnings: tuple[str, ...]
    """What is to be known: one line each."""
    hints: Mapping[str, str] = field(default_factory=dict)
    """Error to what helps, where the update said so."""
    known: RepositoryState = field(default_factory=RepositoryState, compare=False)
    """What was built of it, if that is of the repository as it is watched now."""

    @property
    def public_newer(self) -> str | None:
        """A fact about a public release that is as new as ours, or newer."""
        if self.superseded_by is None or self.newest is None:
            return None
        ours, theirs = Version(self.newest.version), Version(self.superseded_by)
        word = "newer than" if theirs > ours else "as new as"
        return f"{self.superseded_by}, which is {word} {self.newest.version} here"


@dataclass(frozen=True)
class StatusContext:
    """What is known of all repositories together."""

    served: frozenset[str]
    """The files that the index has, without those that it leaves out."""
    yanked: Mapping[str, frozenset[str]]
    """Normalized project to versions in their canonical form."""
    public: Mapping[str, Public]
    checks: Mapping[str, Check]


def stamp(paths: Paths) -> object:
    """Make a value that is another one whenever there may be something else to tell.

    It costs a stat(2) for each directory in which something is replaced, and opens nothing.
    """
    repositories_at = paths.state / "repositories"
    # Every write there is a rename, which changes the time of the directory.
    watched = [paths.repositories, paths.state, repositories_at]
    with contextlib.suppress(OSError), os.scandir(repositories_at) as items:
        watched += [Path(item.path) for item in items]
    found = [_changed(path) for path in watched]
    is_recent = 0 <= time.time_ns() - max(when_ns for when_ns, _ in found) < TICK_NS
    # An object is equal to nothing else: within a tick everything is read again.
    return object() if is_recent else tuple(found)


def _changed(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:
        return 0, 0
    return status.st_mtime_ns, status.st_ino


def canonical(yanked: Mapping[str, Mapping[str, str]]) -> dict[str, frozenset[str]]:
    """Return which versions of which project are yanked, in their canonical form."""
    return {
        project: frozenset(map(canonicalize_version, versions))
        for project, versions in yanked.items()
    }


def of(
    item: Repository, known: RepositoryState | InsidersError, context: StatusContext
) -> RepositoryStatus:
    """Tell how a watched repository stands.

    Args:
        item: the repository.
        known: what is known of it, or why that cannot be read.
        context: what is known of all.
    """
    check = context.checks.get(item.name, Check())
    errors = list(check.errors)
    if isinstance(known, InsidersError):
        errors.append(known.message)
        known = RepositoryState()
    if known.builds and not known.is_of(item.remote, item.project):
        known = RepositoryState()  # it begins anew
    project = item.project or known.project
    hints = hints_of(check, known)
    errors += [f"tag {tag}: {failure.message}" for tag, failure in known.failures.items()]
    newest = _newest(known, context, project)
    told = context.public.get(project or "")
    return RepositoryStatus(
        item.name,
        project,
        newest,
        told.newest_for(newest.version if newest else "0") if told else None,
        told.asked_at if told else None,
        told.supersedes(newest.version) if told and newest else None,
        check,
        tuple(dict.fromkeys(errors)),
        tuple(_warnings(item, newest, check, known)),
        hints,
        known,
    )


def hints_of(check: Check, known: RepositoryState) -> dict[str, str]:
    """Map the errors of a repository to what helps, as far as the update said so."""
    tags = {f"tag {tag}: {it.message}": it.hint for tag, it in known.failures.items() if it.hint}
    return {**check.hints, **tags}


def _newest(known: RepositoryState, context: StatusContext, project: str | None) -> Build | None:
    yanked = context.yanked.get(project or "", frozenset())
    there = [
        build
        for build in known.builds
        if (build.uploaded_to or not context.served.isdisjoint(build.files))
        and canonicalize_version(build.version) not in yanked
    ]
    # Source: PEP 440, "Handling of pre-releases".
    return max(there, key=lambda build: _rank(Version(build.version)), default=None)


def _rank(version: Version) -> tuple[bool, Version]:
    return not version.is_prerelease, version


def _warnings(
    item: Repository, newest: Build | None, check: Check, known: RepositoryState
) -> list[str]:
    warnings = list(check.warnings)
    said = item.rules(1).pattern.version_of(newest.tag) if newest else None
    # A local version, such as that of Insiders tags, is a detail that many projects leave out.
    if newest and said and Version(newest.version).public != said.public:
        warnings.append(f"tag {newest.tag} was built as version {newest.version}")
    if known.unsigned:
        warnings.append(f"not signed by an allowed signer: {', '.join(known.unsigned)}")
    return warnings
