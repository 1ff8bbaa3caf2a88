"""The published files: an immutable snapshot of the distributions directory."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from packaging.utils import canonicalize_version
from packaging.version import Version

from pypi_insiders.index import distribution
from pypi_insiders.index.metadata_cache import Entry
from pypi_insiders.index.yanks import Yanks
from pypi_insiders.util.formatting import counted


@dataclass(frozen=True)
class Project:
    """A project of the index; the same object until its files change."""

    name: str
    """Normalized."""
    files: tuple[Entry, ...]
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
    entry: Entry | None = None
    """Set once, when the file is examined."""

    @property
    def is_rejected(self) -> bool:
        """Whether the file was examined and is not served."""
        return self.entry is not None and self.entry.problem is not None

    @property
    def projects(self) -> Iterable[str]:
        """The projects that the file may belong to."""
        return (self.project,) if self.project else distribution.possible_projects(self.name)


Groups = Mapping[str, tuple[ListedFile, ...]]
"""Normalized project to its files."""


@dataclass(frozen=True)
class PublishedFiles:
    """The files of the directory at one moment; each change creates a new snapshot."""

    files: Mapping[str, ListedFile] = field(default_factory=dict)
    """By name."""
    groups: Groups = field(default_factory=dict)
    """Including files that only may belong to a project, see `possible_projects`."""
    yanked: Yanks | None = None
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

    def page(self, name: str, entries: Iterable[Entry]) -> Project:
        """Return a project from the entries of all its files."""
        served = (entry for entry in entries if not entry.problem)
        files = sorted(served, key=lambda entry: (Version(entry.version), entry.name))
        project = Project(name, tuple(files), _yanked(files, (self.yanked or {}).get(name, {})))
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
        files = sum(bool(file.project) and not file.is_rejected for file in self.files.values())
        return f"{counted(len(self.projects), 'project')}, {counted(files, 'file')}"


def _yanked(entries: Iterable[Entry], yanked: Mapping[str, str]) -> dict[str, str]:
    """Return the yanked versions, spelled as in the file names, and their reasons."""
    # The list has the spelling that the user typed: 1.0 yanks a file of 1.0.0 too. Source: PEP 440.
    reasons = {canonicalize_version(version): reason for version, reason in yanked.items()}
    return {
        entry.version: reasons[version]
        for entry in entries
        if (version := canonicalize_version(entry.version)) in reasons
    }
