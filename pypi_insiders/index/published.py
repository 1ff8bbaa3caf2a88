"""The published files: an immutable snapshot of the distributions directory."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import overload

from packaging.utils import canonicalize_version
from packaging.version import Version

from pypi_insiders.index import distribution, packed_entry
from pypi_insiders.index.metadata_cache import Entry
from pypi_insiders.index.packed_entry import Known
from pypi_insiders.index.release_lists import Releases
from pypi_insiders.util.formatting import counted


@dataclass(frozen=True)
class Project:
    """A project of the index; the same object until its files change."""

    name: str
    """Normalized."""
    files: Sequence[Entry]
    """By version, the lowest first."""
    yanked: Mapping[str, str]
    """Version to reason."""

    @property
    def versions(self) -> tuple[str, ...]:
        """Each version once, the lowest first."""
        return tuple(dict.fromkeys(entry.version for entry in self.files))


# By identity, so that it can be a key: two listings of one name are two files.
@dataclass(eq=False, slots=True)
class ListedFile:
    """A file of one listing; a changed file is another object."""

    name: str
    project: str
    """Normalized; empty: the file is neither sdist nor wheel, and never served."""
    inode: int
    """In the listing of the directory."""
    known: Known | None = None
    """Set once, when the file is examined."""

    @property
    def entry(self) -> Entry | None:
        """The entry of the file, a new object each time; `None`: it is not examined yet."""
        return None if self.known is None else packed_entry.unpack(self.name, self.known)

    @property
    def is_rejected(self) -> bool:
        """Whether the file was examined and is not served."""
        return isinstance(self.known, Entry)

    @property
    def projects(self) -> Iterable[str]:
        """The projects that the file may belong to."""
        return (self.project,) if self.project else distribution.possible_projects(self.name)


class Entries(Sequence[Entry]):
    """The entries of examined files; each is a new object when it is read, to save memory."""

    __slots__ = ("_files",)

    def __init__(self, files: Iterable[ListedFile]) -> None:
        self._files = tuple(files)

    def __len__(self) -> int:
        """Return the number of files."""
        return len(self._files)

    def __iter__(self) -> Iterator[Entry]:
        """Yield a new entry of each file."""
        return (entry for file in self._files if (entry := file.entry) is not None)

    @overload
    def __getitem__(self, at: int) -> Entry: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[Entry, ...]: ...
    def __getitem__(self, at: int | slice) -> Entry | tuple[Entry, ...]:
        """Return one entry, or some."""
        return tuple(self)[at]

    def __reversed__(self) -> Iterator[Entry]:
        """Yield a new entry of each file, the last first."""
        # Not by `[]` for each, as a Sequence does, which would unpack all of them each time.
        return iter(Entries(reversed(self._files)))

    def __eq__(self, other: object) -> bool:
        """Compare with the entries of other files, or a sequence of entries."""
        if isinstance(other, Entries) and self._files == other._files:
            return True
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        """Hash as the entries do."""
        return hash(tuple(self))


Groups = Mapping[str, tuple[ListedFile, ...]]
"""Normalized project to its files."""


@dataclass(frozen=True)
class PublishedFiles:
    """The files of the directory at one moment; each change creates a new snapshot."""

    files: Mapping[str, ListedFile] = field(default_factory=dict)
    """By name."""
    groups: Groups = field(default_factory=dict)
    """Including files that only may belong to a project, see `possible_projects`."""
    yanked: Releases | None = None
    """`None`: the list has not been read yet."""
    pages: dict[str, Project] = field(default_factory=dict)
    """Projects whose files have all been examined; filled at the first request for each."""

    def of_project(self, name: str) -> list[ListedFile]:
        """Return the sdists and wheels of a project, including rejected files."""
        return [file for file in self.groups.get(name, ()) if file.project]

    def with_changes(self, gone: Iterable[str], new: Sequence[ListedFile]) -> "PublishedFiles":
        """Return a snapshot without the files that are gone and with the new files."""
        files = dict(self.files)
        left = {files.pop(name) for name in gone}
        files |= {file.name: file for file in new}
        touched: dict[str, list[ListedFile]] = defaultdict(list)
        for file in left:
            for project in file.projects:
                # Entered without a new file too, so that the page of the project is dropped.
                touched[project] = []
        for file in new:
            for project in file.projects:
                touched[project].append(file)
        groups, pages = dict(self.groups), dict(self.pages)
        for project, come in touched.items():
            group = [file for file in groups.pop(project, ()) if file not in left] + come
            if group:
                groups[project] = tuple(group)
            pages.pop(project, None)
        return replace(self, files=files, groups=groups, pages=pages)

    def page(self, name: str, files: Iterable[ListedFile]) -> Project:
        """Return a project from all its files, which have been examined."""
        entries = [entry for file in files if (entry := file.entry) and not entry.problem]
        entries.sort(key=lambda entry: (Version(entry.version), entry.name))
        by_name = {file.name: file for file in files}
        yanked = _yanked(entries, (self.yanked or {}).get(name, {}))
        project = Project(name, Entries(by_name[entry.name] for entry in entries), yanked)
        # The first of two threads wins: pages are compared by identity, and rendered once.
        return self.pages.setdefault(name, project)

    @cached_property
    def projects(self) -> tuple[str, ...]:
        """The projects with a served file or one to be examined, sorted."""
        return tuple(
            sorted(
                name
                for name, files in self.groups.items()
                if any(file.project and not file.is_rejected for file in files)
            )
        )

    @cached_property
    def summary(self) -> str:
        """The numbers of projects and files, `12 projects, 57 files`."""
        # Not `is_rejected`, whose calls take five times as long.
        served = [file for file in self.files.values() if not isinstance(file.known, Entry)]
        files = sum(1 for file in served if file.project)
        return f"{counted(len(self.projects), 'project')}, {counted(files, 'file')}"


def _yanked(entries: Iterable[Entry], yanked: Mapping[str, str]) -> dict[str, str]:
    """Return the yanked versions, spelled as in the file names, and their reasons."""
    if not yanked:
        return {}
    # The list has the spelling that the user typed: 1.0 yanks a file of 1.0.0 too. Source: PEP 440.
    reasons = {canonicalize_version(version): reason for version, reason in yanked.items()}
    return {
        entry.version: reasons[version]
        for entry in entries
        if (version := canonicalize_version(entry.version)) in reasons
    }
