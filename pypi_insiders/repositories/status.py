"""Determine the status of the watched repositories."""

import contextlib
import os
import time
from collections.abc import Mapping, Set
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

from packaging.utils import canonicalize_version
from packaging.version import Version

from pypi_insiders.config.paths import Paths
from pypi_insiders.index.listing import TICK_NS
from pypi_insiders.repositories import heads
from pypi_insiders.repositories.public_versions import Public
from pypi_insiders.repositories.repository import Repository
from pypi_insiders.repositories.state import Build, Check, RepositoryState
from pypi_insiders.util.errors import InsidersError


class RepositoryStatus(NamedTuple):
    """The status of one repository."""

    name: str
    """`NS/PROJ`."""
    project: str | None
    """Normalized name; `None`: neither set nor known from a build."""
    newest: Build | None
    """The release that installers choose: the latest final one that is served here or uploaded and
    not yanked, or else the latest pre-release."""
    public: str | None
    """The latest public version of the project; `None`: there is none, or it is unknown."""
    public_asked_at: int | None
    """When the fallback index was queried, in seconds of the epoch."""
    superseded_by: str | None
    """The public version that equals `newest` or is newer, and that this index hides."""
    check: Check
    """The last check."""
    errors: tuple[str, ...]
    """The problems, one line each."""
    warnings: tuple[str, ...]
    """The warnings, one line each."""
    hints: Mapping[str, str]
    """Error to hint."""
    known: RepositoryState
    """The state; empty if it is of a former url or project."""

    @property
    def public_newer(self) -> str | None:
        """The public version that equals the local one or is newer, and how it compares."""
        if self.superseded_by is None or self.newest is None:
            return None
        local, public = Version(self.newest.version), Version(self.superseded_by)
        relation = "newer than" if public > local else "as new as"
        return f"{self.superseded_by}, which is {relation} {self.newest.version} here"


class StatusContext(NamedTuple):
    """The data on all repositories that the status of each depends on."""

    served: Set[str]
    """The files of the index, without rejected ones."""
    yanked: Mapping[str, frozenset[str]]
    """Normalized project to canonical versions."""
    public: Mapping[str, Public]
    checks: Mapping[str, Check]


def stamp(paths: Paths) -> object:
    """Return a value that differs whenever the status may have changed.

    It costs one stat(2) for each directory, and opens no file.
    """
    repositories_at = paths.state / "repositories"
    # Each write in these directories is a rename, which changes the time of the directory.
    watched = [paths.repositories, paths.state, repositories_at]
    with contextlib.suppress(OSError), os.scandir(repositories_at) as items:
        watched += [Path(item.path) for item in items]
    found = [_changed(path) for path in watched]
    is_recent = 0 <= time.time_ns() - max(when_ns for when_ns, _ in found) < TICK_NS
    # A second change in the same tick of the clock would not change the times: the object, which
    # equals nothing else, makes the caller read everything again.
    return object() if is_recent else tuple(found)


def _changed(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:
        return 0, 0
    return status.st_mtime_ns, status.st_ino


def canonical(yanked: Mapping[str, Mapping[str, str]]) -> dict[str, frozenset[str]]:
    """Return the yanked versions of each project in their canonical form."""
    return {
        project: frozenset(map(canonicalize_version, versions))
        for project, versions in yanked.items()
    }


def of(
    item: Repository, known: RepositoryState | InsidersError, context: StatusContext
) -> RepositoryStatus:
    """Return the status of a watched repository, of which the state may be unreadable."""
    check = context.checks.get(item.name, Check())
    errors = list(check.errors)
    if isinstance(known, InsidersError):
        errors.append(known.message)
        known = RepositoryState()
    # As `TrackedRepository.load`: the next update starts from scratch.
    if known.builds and not known.is_of(item.remote, item.project):
        known = RepositoryState()
    project = item.project or known.project
    hints = hints_of(check, known)
    # The same text as in `hints_of`, which is the key of its hint.
    errors += [
        f"{heads.subject(tag)}: {failure.message}" for tag, failure in known.failures.items()
    ]
    newest = _newest(known, context, project)
    public = context.public.get(project or "")
    return RepositoryStatus(
        item.name,
        project,
        newest,
        public.newest_for(newest.version if newest else "0") if public else None,
        public.asked_at if public else None,
        public.supersedes(newest.version) if public and newest else None,
        check,
        tuple(dict.fromkeys(errors)),
        tuple(_warnings(item, newest, check, known)),
        hints,
        known,
    )


def hints_of(check: Check, known: RepositoryState) -> dict[str, str]:
    """Return error to hint, for the errors that have one."""
    tags = {
        f"{heads.subject(tag)}: {failure.message}": failure.hint
        for tag, failure in known.failures.items()
        if failure.hint
    }
    return {**check.hints, **tags}


def _newest(known: RepositoryState, context: StatusContext, project: str | None) -> Build | None:
    yanked = context.yanked.get(project or "")
    # By file, not by the state alone: a release counts if one of its files is still served.
    there = [
        (Version(build.version), build)
        for build in known.builds
        if (build.uploaded_to or not context.served.isdisjoint(build.files))
        and not (yanked and canonicalize_version(build.version) in yanked)
    ]
    # Source: PEP 440, "Handling of pre-releases".
    final = [item for item in there if not item[0].is_prerelease]
    return max(final or there, key=itemgetter(0), default=(None, None))[1]


def _warnings(
    item: Repository, newest: Build | None, check: Check, known: RepositoryState
) -> list[str]:
    warnings = list(check.warnings)
    said = item.rules(1).pattern.version_of(newest.tag) if newest else None
    # A local version, such as that of Insiders tags, is a detail that many projects leave out.
    if newest and said and Version(newest.version).public != said.public:
        warnings.append(f"tag {newest.tag} was built as version {newest.version}")
    # Where the key is set, this is as wanted.
    if newest and newest.remark and item.as_of_tag is not False:
        warnings.append(f"{heads.subject(newest.tag)} was {newest.remark}")
    # Its files have the names of another tag's, which are served unchanged.
    warnings += [
        f"tag {build.tag} was built as version {build.version}, which tag {first.tag} has published"
        for number, build in enumerate(known.builds)
        if not build.uploaded_to and not build.files
        for first in known.builds[:number]
        if first.version == build.version and first.files
    ]
    warnings += [
        f"asset {name} of tag {build.tag} is another file on its host by now; the published one "
        "stays"
        for build in known.builds
        for name, asset in build.assets.items()
        if asset.changed
    ]
    warnings += [
        f"asset {name} of tag {build.tag} is no valid distribution and is not published"
        for build in known.builds
        for name in build.invalid
        if name not in build.files
    ]
    if known.unsigned:
        warnings.append(f"tags without an allowed signature: {', '.join(known.unsigned)}")
    return warnings
