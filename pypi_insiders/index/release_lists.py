"""Keep lists of releases beside the distributions, with a copy in the state."""

import contextlib
import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from packaging.utils import canonicalize_version

from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import read_text, remove, write_atomic
from pypi_insiders.util.json_fields import written
from pypi_insiders.util.own_files import recall

_log = logging.getLogger(__name__)

Releases = dict[str, dict[str, str]]
"""Normalized project to version to a word about that release, which may be empty."""


@dataclass(frozen=True)
class ReleaseList:
    """A list of releases in two files of the same content, of which either may be lost."""

    name: str
    """Of the copy in the state, without its ending."""

    def load(self, directory: Path, copies: Path | None = None) -> Releases:
        """Read the list: the first of both files that can be read counts.

        One that is damaged is set aside, as the log says; without any the list is empty. Where no
        copies are kept it stays: what was withdrawn must not come back because it is damaged.

        Args:
            directory: the distributions directory.
            copies: that of the state; `None`: no copies are kept.

        Raises:
            InsidersError: it cannot be read, or without a copy not be understood.
        """
        paths = self._paths(directory, copies)
        if copies is None:
            return _load_only(*paths)
        path, copy = paths
        try:
            found = recall(path, _understand)
        except InsidersError as error:
            if (found := _recall_copy(copy)) is None:
                raise
            _log.warning("%s; its copy %s is used", error.message, copy)
        return found if found is not None else _recall_copy(copy) or {}

    def save(
        self,
        directory: Path,
        releases: Mapping[str, Mapping[str, str]],
        copies: Path | None = None,
    ) -> None:
        """Write the list, that beside the distributions last.

        Raises:
            InsidersError: a file cannot be written.
        """
        content = {project: known for project, known in sorted(releases.items()) if known}
        text = written(content, indent=1)
        done: list[tuple[Path, str | None]] = []
        try:
            for path in reversed(self._paths(directory, copies)):
                before = self._content(path)
                self._write(path, text if content else None)
                done.append((path, before))
        except InsidersError:
            # Or else what failed would be found in the copy, as if it had been done.
            for path, before in done:
                with contextlib.suppress(InsidersError):
                    self._write(path, before)
            raise

    @staticmethod
    def _content(path: Path) -> str | None:
        with contextlib.suppress(InsidersError):
            return read_text(path)
        return None

    @staticmethod
    def _write(path: Path, text: str | None) -> None:
        if text is None:
            remove(path)
        else:
            write_atomic(path, text)

    def mend(self, directory: Path, copies: Path) -> None:
        """Write whichever of both files is missing, or says something else.

        Raises:
            InsidersError: a file cannot be read or written.
        """
        releases = self.load(directory, copies)
        for path in self._paths(directory, copies):
            if releases and recall(path, _understand) != releases:
                write_atomic(path, written(releases, indent=1))
            elif not releases:
                remove(path)

    def _paths(self, directory: Path, copies: Path | None) -> list[Path]:
        # The index does not show what starts with a dot, and notices each change of the directory.
        found = [directory / f".{self.name}.json"]
        return found if copies is None else [*found, copies / f"{self.name}.json"]


YANKED = ReleaseList("yanked")
"""With the reason, which may be empty. Source: PEP 592."""
TAKEN_BACK = ReleaseList("taken-back")
"""What no update builds again: `unpublished` or `pruned`."""


def _recall_copy(copy: Path) -> Releases | None:
    """Read a copy; one that cannot be read is none: what is beside the distributions counts."""
    try:
        return recall(copy, _understand)
    except InsidersError:
        return None


def _load_only(path: Path) -> Releases:
    text = read_text(path)
    try:
        return {} if text is None else _understand(text)
    except (ValueError, TypeError, RecursionError) as error:
        raise InsidersError(
            f"cannot understand {path}: {error}", "mend it, or remove it"
        ) from error


def _understand(text: str) -> Releases:
    content = json.loads(text)
    if not isinstance(content, dict):
        raise TypeError("it is no table")
    for releases in content.values():
        if not isinstance(releases, dict):
            raise TypeError("what it has of a project is no table")
        if not all(isinstance(word, str) for word in releases.values()):
            raise TypeError("what it has of a release is no text")
    return content


def versions(releases: Releases, project: str) -> dict[str, str]:
    """Find the releases of a project in a list: version, in its canonical form, to the word."""
    known = releases.get(project, {})
    return {canonicalize_version(version): word for version, word in known.items()}


def names(releases: Releases, project: str, version: object) -> bool:
    """Tell whether a list names a release, in whatever spelling."""
    return word(releases, project, version) is not None


def word(releases: Releases, project: str, version: object) -> str | None:
    """Return what a list has of a release, in whatever spelling; `None` if it does not name it."""
    return versions(releases, project).get(canonicalize_version(str(version)))


def without(releases: Releases, gone: Iterable[tuple[str, str]]) -> Releases:
    """Leave releases, each a project and a version, out of a list."""
    left = {(project, canonicalize_version(version)) for project, version in gone}
    return {
        project: {
            version: word
            for version, word in known.items()
            if (project, canonicalize_version(version)) not in left
        }
        for project, known in releases.items()
    }
