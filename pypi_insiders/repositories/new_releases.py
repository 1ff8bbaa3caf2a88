"""Remember new releases until `release-command` has run for them: one file for each."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from packaging.utils import canonicalize_name
from packaging.version import Version

from pypi_insiders.config.paths import Paths
from pypi_insiders.util.files import cannot, is_locked, remove, write_atomic
from pypi_insiders.util.json_fields import shaped, written
from pypi_insiders.util.own_files import recall

MOST_ATTEMPTS = 2
"""Then the command is not run again, unless the user asks for it."""
INTERRUPTED = "interrupted"
"""Why an attempt failed that was killed."""
# A release is written before it is visible, so that no kill loses it; renamed once it is recorded.
_BEGUN, _READY = ".begun", ".json"


# The program of the unit reads it: no name of a tag or a file is part of a unit or a command line.
class NewRelease(NamedTuple):
    """A release that was published, and that the command has not been run for with success."""

    project: str
    """Normalized."""
    version: str
    tag: str
    commit: str
    repository: str
    files: Sequence[str] = []
    """The names of its files."""
    local: bool = True
    """Whether it was published here, and not to another index only."""
    attempts: int = 0
    error: str | None = None
    """Why the last attempt failed, in one line; `None`: it did not, or was interrupted."""

    @property
    def is_given_up(self) -> bool:
        """Return whether no update runs the command again."""
        return self.attempts >= MOST_ATTEMPTS

    @property
    def outlook(self) -> str:
        """What follows a failure."""
        return "it is not run again" if self.is_given_up else "the next update runs it once more"

    @property
    def retry(self) -> str:
        """The command with which the user runs it again."""
        return f"`pypi-insiders released --retry {self.project}`"


def begin(paths: Paths, release: NewRelease) -> None:
    """Store a release that is about to be published.

    Raises:
        InsidersError: the file cannot be written.
    """
    write_atomic(_path(paths, release, _BEGUN), written(release._asdict()))


def cancel(paths: Paths, release: NewRelease) -> None:
    """Remove a release that was not published after all.

    Raises:
        InsidersError: the file cannot be removed.
    """
    remove(_path(paths, release, _BEGUN))


def complete(paths: Paths, release: NewRelease) -> None:
    """Mark a release, which is published and recorded now, as ready for the command.

    Raises:
        InsidersError: the file cannot be renamed.
    """
    path = _path(paths, release, _BEGUN)
    try:
        path.replace(path.with_suffix(_READY))
    except OSError as error:
        raise cannot("write", path, error) from error


def save(paths: Paths, release: NewRelease) -> None:
    """Write the attempts of a release.

    Raises:
        InsidersError: the file cannot be written.
    """
    write_atomic(_path(paths, release, _READY), written(release._asdict()))


def forget(paths: Paths, release: NewRelease) -> None:
    """Remove a release for which the command has run.

    Raises:
        InsidersError: the file cannot be removed.
    """
    remove(_path(paths, release, _READY))


def clear(paths: Paths) -> None:
    """Remove all releases, as there is no command any more.

    Raises:
        InsidersError: a file cannot be removed.
    """
    # Begun ones too: no update would complete them.
    for suffix in (_BEGUN, _READY):
        for path in _files(paths, f"*/*{suffix}"):
            remove(path)


def begun(paths: Paths) -> list[NewRelease]:
    """Return the releases whose publication has begun."""
    return list(_read(paths, f"*/*{_BEGUN}"))


def ready(paths: Paths, project: str | None = None) -> list[NewRelease]:
    """Return the releases to run the command for, by project, the lowest version first.

    Raises:
        InsidersError: a file cannot be read.
    """
    found = _read(paths, f"{project or '*'}/*{_READY}")
    return sorted(found, key=lambda item: (item.project, Version(item.version)))


def seen(paths: Paths) -> list[NewRelease]:
    """Return the same as `ready`, with the error `INTERRUPTED` where an attempt was killed.

    Raises:
        InsidersError: a file cannot be read.
    """
    found = ready(paths)
    begun = [item for item in found if item.attempts and item.error is None]
    killed = [item for item in begun if not is_locked(paths.locks.releases(item.project))]
    # Read again: an attempt that ended meanwhile has a result by now, or no file.
    return [
        item._replace(error=INTERRUPTED) if item in killed else item
        for item in (ready(paths) if killed else found)
    ]


def ready_at(paths: Paths, release: NewRelease) -> float:
    """Return when a release became ready, or was last changed, in seconds of the epoch."""
    try:
        # Not the time of its content, which is written before the release is published.
        return _path(paths, release, _READY).stat().st_ctime
    except OSError:  # it has just been forgotten
        return float("inf")


def _files(paths: Paths, pattern: str) -> list[Path]:
    try:
        return sorted(paths.new_releases.glob(pattern))
    except OSError as error:
        raise cannot("read", paths.new_releases, error) from error


def _read(paths: Paths, pattern: str) -> Iterator[NewRelease]:
    for path in _files(paths, pattern):
        if release := recall(path, _understand):
            yield release


def _understand(text: str) -> NewRelease:
    release = shaped(NewRelease, json.loads(text))
    # Raises for a wrong version or project here: the path of its file is made from both.
    Version(release.version)
    if canonicalize_name(release.project, validate=True) != release.project:
        raise ValueError("its project is not normalized")
    return release


def _path(paths: Paths, release: NewRelease, suffix: str) -> Path:
    # Both are normalized: they contain no slash, and no leading dot.
    return paths.new_releases / release.project / f"{Version(release.version)}{suffix}"
