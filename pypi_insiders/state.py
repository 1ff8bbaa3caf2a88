"""Remember what was built from what."""

import contextlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from packaging.version import Version

from pypi_insiders.errors import InsidersError
from pypi_insiders.files import read_text, remove, write_atomic
from pypi_insiders.record import Origin

_FORMATS = (1, 2)
"""Which can be read; the last is written."""
_CHECKS = "checks.json"


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


@dataclass
class RepositoryState:
    """What is known of one repository."""

    distribution: str | None = None
    """Normalized name of what its builds produced; `None` before the first."""
    builds: list[Build] = field(default_factory=list)
    """Oldest first."""
    remote: str | None = None
    """Where it was built from, as Git finds it."""
    former_files: list[str] = field(default_factory=list)
    """Published while the name stood for another repository or distribution."""
    passed_over: list[str] = field(default_factory=list)
    """Tags that are no version, as the log last named them."""
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

    @property
    def built(self) -> dict[str, str]:
        """Tag to commit, in the order in which they were built."""
        return {build.tag: build.commit for build in self.builds}

    @property
    def newest(self) -> Build | None:
        """The build of the highest version."""
        return max(self.builds, key=lambda build: Version(build.version), default=None)

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

    def is_of(self, remote: str, distribution: str | None) -> bool:
        """Tell whether this is about a repository as it is watched now."""
        return self.remote == remote and distribution in (None, self.distribution)


def load(directory: Path, name: str) -> RepositoryState:
    """Read what is known of the repository `NS/PROJ`; nothing, if it was never built.

    Raises:
        InsidersError: the file cannot be read or understood.
    """
    path = _path(directory, name)
    text = read_text(path)
    if text is None:
        return RepositoryState()
    try:
        return _understand(json.loads(text))
    except KeyError as error:
        reason = f"it has no {error}"
    except (ValueError, TypeError, AttributeError) as error:
        reason = str(error)
    raise InsidersError(
        f"cannot understand {path}: {reason}",
        "move it away: what the index holds is then found again by the tags",
    )


def _understand(content: dict[str, Any]) -> RepositoryState:
    if content.pop("format") not in _FORMATS:
        raise ValueError("it was written by another version of this program")
    builds = [Build(**build) for build in content.pop("builds")]
    failures = {tag: Failure(**item) for tag, item in content.pop("failures", {}).items()}
    state = RepositoryState(builds=builds, failures=failures, **content)
    for text in (state.name, state.distribution):
        if not isinstance(text, str | None):
            raise TypeError(f"{text!r} is no text")
    for build in state.builds:
        Version(build.version)
    return state


def save(directory: Path, name: str, state: RepositoryState) -> None:
    """Write what is known of the repository `NS/PROJ`.

    Raises:
        InsidersError: it cannot be written; the file is as it was.
    """
    content = {"format": _FORMATS[-1], **asdict(state), "name": name}
    write_atomic(_path(directory, name), json.dumps(content, indent=1) + "\n")


def names(directory: Path) -> list[str]:
    """Return the repositories of which something is known, in lower case, sorted."""
    paths = (directory / "repositories").glob("*/*.json")
    return sorted(f"{path.parent.name}/{path.stem}" for path in paths)


def forget(directory: Path, name: str) -> bool:
    """Remove what is known of the repository `NS/PROJ`; say whether there was anything."""
    return remove(_path(directory, name))


def origins(directory: Path) -> dict[str, tuple[str, Origin, int]]:
    """Tell where all published files came from: name to sha256, origin and time of its build.

    What cannot be read is left out; `load` says why.
    """
    found: dict[str, tuple[str, Origin, int]] = {}
    for name in names(directory):
        with contextlib.suppress(InsidersError):
            known = load(directory, name)
            for build in known.builds:
                origin = Origin(known.name or name, build.tag, build.commit)
                for file, digest in build.files.items():
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


def load_checks(directory: Path) -> dict[str, Check]:
    """Read how the last looks ended, by the name of the repository; none where that is lost."""
    try:
        content = json.loads(read_text(directory / _CHECKS) or "{}")
        return {name: Check(**item) for name, item in content.items()}
    except (ValueError, TypeError, AttributeError):
        return {}


def save_checks(directory: Path, checks: dict[str, Check]) -> None:
    """Write how the last looks ended.

    Raises:
        InsidersError: it cannot be written; the file is as it was.
    """
    content = {name: asdict(check) for name, check in sorted(checks.items())}
    write_atomic(directory / _CHECKS, json.dumps(content, indent=1) + "\n")


def _path(directory: Path, name: str) -> Path:
    return directory / "repositories" / f"{name.casefold()}.json"
