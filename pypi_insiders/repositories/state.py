"""Remember what was built from what."""

import contextlib
import json
import logging
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from packaging.version import Version

from pypi_insiders.index.metadata_cache import Origin
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import remove, write_atomic
from pypi_insiders.util.json_fields import shaped, written
from pypi_insiders.util.own_files import NewerError, recall

_log = logging.getLogger(__name__)

_FORMATS = (1, 2, 3, 4)
"""Which can be read; the last is written.

From 3 on there is a list of what was taken back, and from 4 on builds have messages.
"""
_NO_LIST = (1, 2)
_CHECKS = "checks.json"
_VERIFIED = "verified.json"
_REMOVED = "removed.json"
_SANDBOX = "sandbox.json"


@dataclass(frozen=True)
class Build:
    """One tag that was built and published."""

    tag: str
    commit: str
    version: str
    built_at: int
    """Seconds of the epoch."""
    files: dict[str, str]
    """What was published of it: file name to sha256, in hexadecimal."""
    requirements: dict[str, str] = field(default_factory=dict)
    """What was installed to build it, name to version."""
    sandboxed: bool | None = None
    """Whether its code ran in a sandbox; `None`: nobody knows."""
    uploaded_to: list[str] = field(default_factory=list)
    """The URLs of other indexes that have it too."""
    local: bool = True
    """Whether it was published here, and not only in another index."""
    unfinished: list[str] = field(default_factory=list)
    """Files whose publication was begun, and is not known to have ended."""
    message: str = ""
    """What the tag says, if it is an annotated one."""


@dataclass(frozen=True)
class Failure:
    """A tag that could not be built."""

    commit: str
    message: str
    count: int
    """How often."""
    failed_at: int
    """When it was tried last, in seconds of the epoch."""
    next_at: int
    """When it is tried again, in seconds of the epoch."""
    hint: str | None = None
    """What helps."""
    settings: str | None = None
    """By which settings it was built, as `build_settings` returns them."""


@dataclass
class RepositoryState:
    """What is known of one repository."""

    project: str | None = None
    """Normalized name of what its builds produced; `None` before the first."""
    builds: list[Build] = field(default_factory=list)
    """Oldest first."""
    remote: str | None = None
    """Where it was built from, as Git finds it."""
    former_files: list[str] = field(default_factory=list)
    """Published while the name stood for another repository or project."""
    passed_over: list[str] = field(default_factory=list)
    """Tags that are no version, the first hundred, as they were when the log last named them."""
    left_out: list[str] = field(default_factory=list)
    """Tags that came with too many newer ones, and are not built by themselves."""
    failures: dict[str, Failure] = field(default_factory=dict)
    """Tag to why it was not built."""
    unsigned: dict[str, str] = field(default_factory=dict)
    """Tags that no allowed signer has signed, to the commit that they named."""
    signers: str | None = None
    """The sha256 of the file of allowed signers at that time, in hexadecimal."""
    name: str | None = field(default=None, compare=False)
    """`NS/PROJ`, as it was spelled when this was written."""
    is_old: bool = field(default=False, compare=False)
    """Whether it was written by a version that kept no list of what was taken back."""

    @property
    def built(self) -> dict[str, str]:
        """Tag to commit, in the order in which they were built."""
        return {build.tag: build.commit for build in self.builds}

    @property
    def files(self) -> list[str]:
        """Every file that was published, each once."""
        built = [name for build in self.builds for name in build.files]
        return list(dict.fromkeys([*self.former_files, *built]))

    def remember(self, build: Build) -> None:
        """Add a build; one of a tag that was built before only where it was published."""
        self.failures.pop(build.tag, None)
        for number, old in enumerate(self.builds):
            if old.tag == build.tag:
                if build.files:
                    self.builds[number] = build
                return
        self.builds.append(build)

    def is_of(self, remote: str, project: str | None) -> bool:
        """Tell whether this is about a repository as it is watched now."""
        return self.remote == remote and project in (None, self.project)


def load(directory: Path, name: str) -> RepositoryState:
    """Read what is known of the repository `NS/PROJ`; nothing, if it was never built.

    A file that is damaged is set aside, as the log says, and nothing is known then. Times in the
    future count as now: the clock was wrong when they were written.

    Raises:
        InsidersError: the file was written by a newer version, or the directory cannot be read.
    """
    path = _path(directory, name)
    return recall(path, lambda text: _understand(path, json.loads(text))) or RepositoryState()


def _understand(path: Path, content: dict[str, Any]) -> RepositoryState:
    written = content.pop("format")
    if isinstance(written, int) and written > _FORMATS[-1]:
        raise NewerError(path)
    # To Python `true` of JSON is 1.
    if isinstance(written, bool) or written not in _FORMATS:
        raise ValueError(f"its format is {written!r}")
    now_s = int(time.time())
    content["builds"] = [_build(item, now_s) for item in content["builds"]]
    # The key keeps its first name: an older version reads this file after a downgrade.
    content["project"] = content.pop("distribution", None)
    failures = content.get("failures", {})
    content["failures"] = {tag: _failure(item, now_s) for tag, item in failures.items()}
    return shaped(RepositoryState, {**content, "is_old": written in _NO_LIST})


def _build(content: object, now_s: int) -> Build:
    build = shaped(Build, content)
    Version(build.version)
    return replace(build, built_at=min(build.built_at, now_s))


def _failure(content: object, now_s: int) -> Failure:
    """Read a failure; one of the future is tried again at once."""
    failure = shaped(Failure, content)
    if failure.failed_at <= now_s:
        return failure
    return replace(failure, failed_at=now_s, next_at=min(failure.next_at, now_s))


def save(directory: Path, name: str, state: RepositoryState) -> None:
    """Write what is known of the repository `NS/PROJ`.

    Raises:
        InsidersError: it cannot be written; the file is as it was.
    """
    content = {"format": _FORMATS[-1], "distribution": state.project, **asdict(state), "name": name}
    del content["project"], content["is_old"]
    for build in content["builds"]:
        for key in ("unfinished", "message"):
            if not build[key]:
                del build[key]
    state.is_old = False
    write_atomic(_path(directory, name), written(content, indent=1))


def forget(directory: Path, name: str) -> bool:
    """Remove what is known of the repository `NS/PROJ`; say whether there was anything.

    Raises:
        InsidersError: a file cannot be removed or written.
    """
    checks = load_checks(directory)
    left = {key: check for key, check in checks.items() if key.casefold() != name.casefold()}
    if left != checks:  # or who watches it again would be told how it was then
        save_checks(directory, left)
    return remove(_path(directory, name))


def everything(directory: Path) -> Iterator[tuple[str, RepositoryState]]:
    """Read what is known of all repositories, watched or not, each with its name `NS/PROJ`.

    What cannot be read is left out; `load` says why.
    """
    for path in _paths(directory):
        # In lower case; a file of an older version has no other.
        name = f"{path.parent.name}/{path.stem}"
        with contextlib.suppress(InsidersError):
            known = load(directory, name)
            yield known.name or name, known


def _paths(directory: Path) -> list[Path]:
    """Find the file of each repository; none in directories that cannot be read."""
    return sorted(
        Path(place, name)
        for place, _, names in os.walk(directory / "repositories")
        for name in names
        if name.endswith(".json") and not name.startswith(".")
    )


def origins(directory: Path) -> dict[str, tuple[str, Origin, int]]:
    """Tell where all published files came from: name to sha256, origin and time of its build."""
    found: dict[str, tuple[str, Origin, int]] = {}
    for name, known in everything(directory):
        for build in known.builds:
            origin = Origin(name, build.tag, build.commit)
            for file, digest in build.files.items():
                # Of two builds of one file the first published it; a later one found it there.
                found.setdefault(file, (digest, origin, build.built_at))
    return found


@dataclass(frozen=True)
class Check:
    """How the last look at a repository ended."""

    checked_at: int | None = None
    """When its tags were last read, in seconds of the epoch."""
    unreachable_since: int | None = None
    """Since when its host is out of reach, in seconds of the epoch."""
    errors: list[str] = field(default_factory=list)
    """What else went wrong in the last update, beside tags that do not build: one line each."""
    warnings: list[str] = field(default_factory=list)
    """What the last update warned of."""
    tried_at: int | None = None
    """When an update last began to look at it, in seconds of the epoch."""
    hints: dict[str, str] = field(default_factory=dict)
    """Error to what helps."""


def load_checks(directory: Path) -> dict[str, Check]:
    """Read how the last looks ended, by the name of the repository; none where that is lost.

    A file that is damaged is set aside, as the log says. Times in the future count as now.
    """
    try:
        return recall(directory / _CHECKS, _understand_checks) or {}
    except InsidersError as error:
        _log.warning("%s", error.message)
        return {}


def _understand_checks(text: str) -> dict[str, Check]:
    now_s = int(time.time())
    content = {name: shaped(Check, item) for name, item in json.loads(text).items()}
    return {
        name: replace(
            check,
            checked_at=_past(check.checked_at, now_s),
            unreachable_since=_past(check.unreachable_since, now_s),
            tried_at=_past(check.tried_at, now_s),
        )
        for name, check in content.items()
    }


def _past(epoch_s: int | None, now_s: int) -> int | None:
    return None if epoch_s is None else min(epoch_s, now_s)


def save_checks(directory: Path, checks: dict[str, Check]) -> None:
    """Write how the last looks ended.

    Raises:
        InsidersError: it cannot be written; the file is as it was.
    """
    content = {name: asdict(check) for name, check in sorted(checks.items())}
    write_atomic(directory / _CHECKS, written(content, indent=1))


def load_verified(directory: Path) -> int:
    """Tell when all files were read and compared last, in seconds of the epoch; 0 is never."""
    try:
        found = recall(directory / _VERIFIED, lambda text: shaped(_Verified, json.loads(text)))
    except InsidersError as error:
        _log.warning("%s", error.message)
        found = None
    return found.verified_at if found else 0


def save_verified(directory: Path, at_s: int) -> None:
    """Write when all files were read and compared.

    Raises:
        InsidersError: it cannot be written; the file is as it was.
    """
    write_atomic(directory / _VERIFIED, written(asdict(_Verified(at_s))))


@dataclass(frozen=True)
class Sandboxing:
    """Whether builds are sandboxed."""

    had_at: int | None = None
    """When a sandbox could last be had, in seconds of the epoch; `None`: never."""
    trouble: str | None = None
    """Why none could be had when the last update wanted one; `None`: it could."""


def load_sandbox(directory: Path) -> Sandboxing:
    """Read whether builds are sandboxed; where that is lost, one could be had.

    Raises:
        InsidersError: the file cannot be read.
    """
    path = directory / _SANDBOX
    is_there = os.path.lexists(path)
    found = recall(path, lambda text: shaped(Sandboxing, json.loads(text)))
    # A file that was damaged says that there was one: then a sandbox is required, as after any
    # loss.
    return found or Sandboxing(had_at=0 if is_there else None)


def save_sandbox(directory: Path, sandboxing: Sandboxing) -> None:
    """Write whether builds are sandboxed.

    Raises:
        InsidersError: it cannot be written; the file is as it was.
    """
    write_atomic(directory / _SANDBOX, written(asdict(sandboxing)))


def load_removed(directory: Path) -> set[str]:
    """Read which repositories somebody stopped watching, in lower case."""
    try:
        return recall(directory / _REMOVED, _understand_removed) or set()
    except InsidersError as error:
        _log.warning("%s", error.message)
        return set()


def _understand_removed(text: str) -> set[str]:
    return set(shaped(_Removed, json.loads(text)).removed)


def save_removed(directory: Path, names: Iterable[str]) -> None:
    """Write which repositories somebody stopped watching.

    Raises:
        InsidersError: it cannot be written; the file is as it was.
    """
    write_atomic(directory / _REMOVED, written(asdict(_Removed(sorted(names)))))


@dataclass(frozen=True)
class _Removed:
    removed: list[str]


@dataclass(frozen=True)
class _Verified:
    verified_at: int


def _path(directory: Path, name: str) -> Path:
    # Hosts of Git ignore case, so A/B and a/b are one repository.
    return directory / "repositories" / f"{name.casefold()}.json"
