"""Read and write lists of releases beside the distributions, with a copy in the state."""

import contextlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from packaging.utils import canonicalize_version

from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import read_text, remove, write_atomic
from pypi_insiders.util.json_fields import written
from pypi_insiders.util.own_files import recall
from pypi_insiders.util.parsed_once import unchanged

_log = logging.getLogger(__name__)

Releases = dict[str, dict[str, str]]
"""Normalized project to version to a note on that release, which may be empty."""


class ReleaseList(NamedTuple):
    """A list of releases in two files with the same content, either of which may be lost."""

    name: str
    """The file name of the copy, without its suffix."""

    @property
    def _hidden(self) -> str:
        return f".{self.name}.json"

    def load(self, directory: Path, copies: Path | None = None) -> Releases:
        """Read the list from the first of both files that is readable; empty without any.

        A damaged file is set aside, and that is logged.

        Args:
            directory: the distributions directory.
            copies: the directory of the state; `None`: there are no copies.

        Raises:
            InsidersError: the list cannot be read, or is damaged and has no copy.
        """
        paths = self._paths(directory, copies)
        if copies is None:
            # Not set aside, so that it fails each time: no installer may get a yanked release
            # because the list of yanks is damaged.
            return _load_only(*paths)
        path, copy = paths
        try:
            found = recall(path, _understand)
        except InsidersError as error:
            if (found := _recall_copy(copy)) is None:
                raise
            _log.warning("%s; using its copy %s", error.message, copy)
        return found if found is not None else _recall_copy(copy) or {}

    def load_of(self, project: str, directory: Path, copies: Path) -> Releases:
        """Read the list as `load` does; return the releases of one project."""
        # Without a copy of the whole list, which each of thousands of repositories asks for.
        path = f"{directory}/{self._hidden}"
        listed = unchanged(path, lambda: self.load(directory, copies))
        return {project: dict((listed or {}).get(project, {}))}

    def save(
        self,
        directory: Path,
        releases: Mapping[str, Mapping[str, str]],
        copies: Path | None = None,
    ) -> None:
        """Write the list, and its copy first.

        Raises:
            InsidersError: a file cannot be written.
        """
        content = {project: known for project, known in sorted(releases.items()) if known}
        text = written(content, indent=1)
        done: list[tuple[Path, str | None]] = []
        try:
            # The file beside the distributions last: a server notices the change of the directory
            # and reads the list.
            for path in reversed(self._paths(directory, copies)):
                before = self._content(path)
                self._write(path, text if content else None)
                done.append((path, before))
        except InsidersError:
            # Rolled back: otherwise the copy would have the change that was reported as failed.
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
        """Write the file of both that is missing or differs.

        Raises:
            InsidersError: a file cannot be read or written.
        """
        releases = self.load(directory, copies)
        for path in self._paths(directory, copies):
            # An empty list has no file, so a missing file of one that is not empty was lost.
            if releases and recall(path, _understand) != releases:
                write_atomic(path, written(releases, indent=1))
            elif not releases:
                remove(path)

    def _paths(self, directory: Path, copies: Path | None) -> list[Path]:
        # A hidden file: the index does not serve it, but notices its change of the directory.
        found = [directory / self._hidden]
        return found if copies is None else [*found, copies / f"{self.name}.json"]


YANKED = ReleaseList("yanked")
"""The note is the reason. Source: PEP 592."""
TAKEN_BACK = ReleaseList("taken-back")
"""Releases that no update builds again; the note is `unpublished` or `pruned`."""


def _recall_copy(copy: Path) -> Releases | None:
    # An unreadable copy is ignored: the file beside the distributions is the authority.
    try:
        return recall(copy, _understand)
    except InsidersError:
        return None


def _load_only(path: Path) -> Releases:
    text = read_text(path)
    try:
        return {} if text is None else _understand(text)
    # RecursionError: json raises it for brackets in brackets.
    except (ValueError, TypeError, RecursionError) as error:
        raise InsidersError(
            f"cannot parse {path}: {error}", f"edit {path}, or remove it"
        ) from error


def _understand(text: str) -> Releases:
    content = json.loads(text)
    if not isinstance(content, dict):
        raise TypeError("it is not a JSON object")
    for releases in content.values():
        if not isinstance(releases, dict):
            raise TypeError("the value of a project is not an object")
        if not all(isinstance(note, str) for note in releases.values()):
            raise TypeError("the value of a release is not a string")
    return content


def versions(releases: Releases, project: str) -> dict[str, str]:
    """Return the releases of a project: canonical version to note."""
    known = releases.get(project, {})
    return {canonicalize_version(version): note for version, note in known.items()}


def names(releases: Releases, project: str, version: object) -> bool:
    """Return whether a list contains a release, in any spelling of its version."""
    return word(releases, project, version) is not None


def word(releases: Releases, project: str, version: object) -> str | None:
    """Return the note on a release, in any spelling of its version; `None` if not listed."""
    return versions(releases, project).get(canonicalize_version(str(version)))
