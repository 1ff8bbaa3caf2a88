"""Read and write the state of repositories: builds, failures and checks."""

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from packaging.version import Version

from pypi_insiders.config.paths import file_name
from pypi_insiders.index.metadata_cache import Origin
from pypi_insiders.repositories import heads, pasted
from pypi_insiders.repositories.published_assets import PublishedAsset, Waiting
from pypi_insiders.util.errors import InsidersError, as_value
from pypi_insiders.util.files import remove, write_atomic
from pypi_insiders.util.json_fields import shaped, written
from pypi_insiders.util.own_files import NewerError, recall, recall_or
from pypi_insiders.util.parsed_once import own_copy, unchanged

_FORMATS = (1, 2, 3, 4, 5)
"""The readable formats; the last is written.

Since 3, taken-back releases are in a list; since 4, builds have messages, and there are lists of
tags that are no commits and of lower tags; since 5, builds have assets, tags wait for them, and
heads of branches are built too, which an older version would take for deleted tags.
"""
# Of these, a missing file may have been unpublished: no list says so.
_NO_LIST = (1, 2)
_CHECKS = "checks.json"
_VERIFIED = "verified.json"


class Build(NamedTuple):
    """A tag or a head of a branch that was built and published."""

    tag: str
    """Or `branch NAME at COMMIT`, from `heads.label`."""
    commit: str
    version: str
    built_at: int
    """Seconds of the epoch."""
    files: dict[str, str]
    """The published files, file name to sha256 in hexadecimal."""
    requirements: Mapping[str, str] = {}
    """The build requirements that were installed, name to version."""
    sandboxed: bool | None = None
    """Whether its code ran in a sandbox; `None`: unknown."""
    uploaded_to: Sequence[str] = []
    """The URLs of other indexes that it was uploaded to."""
    local: bool = True
    """Whether it was published here, and not to another index only."""
    unfinished: Sequence[str] = []
    """Files whose publication was started and not confirmed."""
    message: str = ""
    """The message of the tag, if it is an annotated one."""
    remark: str = ""
    """How it was built if not as usual, in one line."""
    assets: Mapping[str, PublishedAsset] = {}
    """Those of its files that come from the release of its host."""
    invalid: Mapping[str, PublishedAsset] = {}
    """The files of that release that are no valid distributions, as the host had them then."""

    @property
    def is_head(self) -> bool:
        """Whether this is a development release, of the head of a branch."""
        return heads.branch_of(self.tag) is not None


class Failure(NamedTuple):
    """A tag that could not be built."""

    commit: str
    message: str
    count: int  # type: ignore[assignment]  # of tuples it is a method, which nothing calls
    """The number of failures."""
    failed_at: int
    """The time of the last try, in seconds of the epoch."""
    next_at: int
    """The time of the next try, in seconds of the epoch."""
    hint: str | None = None
    settings: str | None = None
    """The settings of the build, from `build_settings`."""


@dataclass
class RepositoryState:
    """The state of one repository."""

    project: str | None = None
    """Normalized project of its builds; `None` before the first."""
    builds: list[Build] = field(default_factory=list)
    """Oldest first."""
    remote: str | None = None
    """The URL that it was built from."""
    former_files: list[str] = field(default_factory=list)
    """Files that were published before its url or project changed."""
    passed_over: list[str] = field(default_factory=list)
    """The first hundred tags that are not versions, as last logged."""
    left_out: list[str] = field(default_factory=list)
    """Tags beyond `max-new`, which are built on request only."""
    failures: dict[str, Failure] = field(default_factory=dict)
    """Tag to its failure."""
    unsigned: dict[str, str] = field(default_factory=dict)
    """Tags without an allowed signature, to their commits at that time."""
    signers: str | None = None
    """The sha256 of the file of allowed signers at that time, in hexadecimal."""
    lower: list[str] | None = None
    """Tags with a lower version than the first build, the first thousand; `None`: not known yet."""
    no_commits: dict[str, str] = field(default_factory=dict)
    """Tags that name a directory or a file, to what they named."""
    waiting: dict[str, Waiting] = field(default_factory=dict)
    """Tags whose release has no assets yet."""
    name: str | None = field(default=None, compare=False)
    """`NS/PROJ`, as it was spelled when this was written."""
    is_old: bool = field(default=False, compare=False)
    """Whether it was written by a version without a list of taken-back releases."""

    @property
    def built(self) -> dict[str, str]:
        """Tag to commit, in the order in which they were built; without heads of branches."""
        return {build.tag: build.commit for build in self.builds if not build.is_head}

    @property
    def produced(self) -> dict[str, str]:
        """Tag to the version of its build; without heads of branches."""
        return {build.tag: build.version for build in self.builds if not build.is_head}

    @property
    def heads(self) -> list[Build]:
        """The builds of heads of branches, oldest first."""
        return [build for build in self.builds if build.is_head]

    @property
    def files(self) -> list[str]:
        """All published files, each once."""
        built = [name for build in self.builds for name in build.files]
        return list(dict.fromkeys([*self.former_files, *built]))

    def remember(self, build: Build) -> None:
        """Add a build, or replace that of its tag; a build without files replaces none."""
        self.failures.pop(build.tag, None)
        self.waiting.pop(build.tag, None)
        # In its place: the first build of the list is the lower limit of `tags.choose`.
        for number, old in enumerate(self.builds):
            if old.tag == build.tag:
                if build.files:
                    self.builds[number] = build
                return
        self.builds.append(build)

    def is_of(self, remote: str, project: str | None) -> bool:
        """Return whether this is the state of a repository with this URL and project."""
        # Another transport to it is no other repository: nothing is built again.
        return pasted.is_same(self.remote, remote) and project in (None, self.project)


def load(directory: Path, name: str) -> RepositoryState:
    """Read the state of the repository `NS/PROJ`; empty if it was never built.

    A damaged file is set aside, and that is logged; the state is then empty. Times in the future
    count as now: the clock was wrong when they were written.

    Raises:
        InsidersError: the file was written by a newer version, or the directory cannot be read.
    """
    return own_copy(_shared(directory, name))


def _shared(directory: Path, name: str) -> RepositoryState:
    """Read a state as `load` does, without a copy: nobody may change it."""
    path = _path(directory, name)
    return unchanged(path, lambda: _read(Path(path))) or RepositoryState()


def _read(path: Path) -> RepositoryState | None:
    return recall(path, lambda text: _understand(path, json.loads(text)))


def _understand(path: Path, content: dict[str, Any]) -> RepositoryState:
    written = content.pop("format")
    if isinstance(written, int) and written > _FORMATS[-1]:
        raise NewerError(path)
    # In Python, `true` of JSON equals 1.
    if isinstance(written, bool) or written not in _FORMATS:
        raise ValueError(f"its format is {written!r}")
    now_s = int(time.time())
    content["builds"] = [_build(item, now_s) for item in content["builds"]]
    # The key keeps its old name, for an older version that reads this file after a downgrade.
    content["project"] = content.pop("distribution", None)
    failures = content.get("failures", {})
    content["failures"] = {tag: _failure(item, now_s) for tag, item in failures.items()}
    waiting = content.get("waiting", {})
    content["waiting"] = {tag: shaped(Waiting, item) for tag, item in waiting.items()}
    return shaped(RepositoryState, {**content, "is_old": written in _NO_LIST})


def _build(content: object, now_s: int) -> Build:
    for key in ("assets", "invalid"):
        if isinstance(content, dict) and isinstance(assets := content.get(key), dict):
            found = {name: shaped(PublishedAsset, item) for name, item in assets.items()}
            content = {**content, key: found}
    build = shaped(Build, content)
    # Raises for a wrong version here, not in the many places that compare versions.
    Version(build.version)
    return build if build.built_at <= now_s else build._replace(built_at=now_s)


def _failure(content: object, now_s: int) -> Failure:
    # A failure in the future was recorded with a wrong clock: its tag may be retried at once.
    failure = shaped(Failure, content)
    if failure.failed_at <= now_s:
        return failure
    return failure._replace(failed_at=now_s, next_at=min(failure.next_at, now_s))


def save(directory: Path, name: str, state: RepositoryState) -> None:
    """Write the state of the repository `NS/PROJ`.

    Raises:
        InsidersError: the state cannot be written; the old one stays.
    """
    content = {"format": _FORMATS[-1], "distribution": state.project, **vars(state), "name": name}
    del content["project"], content["is_old"]
    content["builds"] = list(map(_table, state.builds))
    content["failures"] = {tag: item._asdict() for tag, item in state.failures.items()}
    content["waiting"] = {tag: item._asdict() for tag, item in state.waiting.items()}
    if not state.waiting:
        del content["waiting"]
    # Migrated by now: from this format on, the list of taken-back releases counts.
    state.is_old = False
    write_atomic(Path(_path(directory, name)), written(content, indent=1))


def _table(build: Build) -> dict[str, Any]:
    content = build._asdict()
    for key in ("assets", "invalid"):
        content[key] = {name: item._asdict() for name, item in content[key].items()}
    # Empty in most builds, and each command reads the states of all repositories.
    for key in ("unfinished", "message", "remark", "assets", "invalid"):
        if not content[key]:
            del content[key]
    return content


def forget(directory: Path, name: str) -> bool:
    """Remove the state of the repository `NS/PROJ`; return whether it had one.

    Raises:
        InsidersError: a file cannot be removed or written.
    """
    checks = load_checks(directory)
    left = {key: check for key, check in checks.items() if key.casefold() != name.casefold()}
    # Otherwise a repository that is watched again would show the problems of its last check.
    if left != checks:
        save_checks(directory, left)
    return remove(Path(_path(directory, name)))


def everything(directory: Path) -> Iterator[tuple[str, RepositoryState]]:
    """Yield name, `NS/PROJ`, and state of all known repositories, watched or not.

    Unreadable states are skipped; `load` raises for them. The states are shared: nobody may change
    them.
    """
    for name, known in load_each(directory):
        if not isinstance(known, InsidersError):
            yield known.name or name, known


def load_each(directory: Path) -> Iterator[tuple[str, RepositoryState | InsidersError]]:
    """Yield name, in lower case, and state of all known repositories, or why it is unreadable.

    The states are shared, as those of `everything`.
    """
    # By the path: files of older versions do not contain the name.
    for name in _names(directory):
        try:
            yield name, _shared(directory, name)
        except InsidersError as error:
            yield name, as_value(error)


def _names(directory: Path) -> list[str]:
    # os.walk() skips unreadable directories; Path.rglob() raises for them.
    found = sorted(
        (place, name)
        for place, _, names in os.walk(directory / "repositories")
        for name in names
        if name.endswith(".json") and not name.startswith(".")
    )
    return [
        f"{place.rpartition('/')[2]}/{name.removesuffix('.json')}".replace("%2F", "/")
        for place, name in found
    ]


def origins(directory: Path) -> dict[str, tuple[str, Origin, int]]:
    """Return file name to sha256, origin and build time of all published files."""
    found: dict[str, tuple[str, Origin, int]] = {}
    for name, known in everything(directory):
        for build in known.builds:
            origin = Origin(name, build.tag, build.commit)
            for file, digest in build.files.items():
                # Of two builds of one file, the first published it; the second kept it.
                found.setdefault(file, (digest, origin, build.built_at))
    return found


class Check(NamedTuple):
    """The result of the last check of a repository."""

    checked_at: int | None = None
    """When its tags were last listed, in seconds of the epoch."""
    unreachable_since: int | None = None
    """Since when its host is unreachable, in seconds of the epoch."""
    errors: Sequence[str] = []
    """The errors of the last update, one line each, without failures of tags."""
    warnings: Sequence[str] = []
    """The warnings of the last update."""
    tried_at: int | None = None
    """When the last check started, in seconds of the epoch."""
    hints: Mapping[str, str] = {}
    """Error to hint."""


def load_checks(directory: Path) -> dict[str, Check]:
    """Read the last checks, by repository; empty if the file is missing or unreadable.

    A damaged file is set aside, and that is logged. Times in the future count as now.
    """
    return recall_or({}, directory / _CHECKS, _understand_checks)


def _understand_checks(text: str) -> dict[str, Check]:
    now_s = int(time.time())
    content = json.loads(text).items()
    return {name: _until(now_s, shaped(Check, item)) for name, item in content}


def _until(now_s: int, check: Check) -> Check:
    """Return a check with times in the future as now."""
    times = (check.checked_at, check.unreachable_since, check.tried_at)
    if max(filter(None, times), default=0) <= now_s:
        return check
    checked_at, since, tried_at = (epoch_s and min(epoch_s, now_s) for epoch_s in times)
    return check._replace(checked_at=checked_at, unreachable_since=since, tried_at=tried_at)


def save_checks(directory: Path, checks: dict[str, Check]) -> None:
    """Write the last checks.

    Raises:
        InsidersError: the file cannot be written; the old one stays.
    """
    # Not indented, which takes ten times as long: each update writes all of them.
    content = {name: check._asdict() for name, check in sorted(checks.items())}
    write_atomic(directory / _CHECKS, written(content))


def load_verified(directory: Path) -> int:
    """Read when all files were last verified, in seconds of the epoch; 0: never."""
    path, never = directory / _VERIFIED, _Verified(0)
    return recall_or(never, path, lambda text: shaped(_Verified, json.loads(text))).verified_at


def save_verified(directory: Path, at_s: int) -> None:
    """Write when all files were verified.

    Raises:
        InsidersError: the file cannot be written; the old one stays.
    """
    write_atomic(directory / _VERIFIED, written(_Verified(at_s)._asdict()))


class _Verified(NamedTuple):
    verified_at: int


def _path(directory: Path, name: str) -> str:
    return f"{directory}/repositories/{file_name(name)}.json"
