"""List the distributions directory, by the names of its files alone."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from packaging.utils import canonicalize_version

from pypi_insiders.index import distribution
from pypi_insiders.index.distribution import DistributionError
from pypi_insiders.index.metadata_cache import Entry
from pypi_insiders.util.files import cannot


class Sample(NamedTuple):
    """One file that the index should serve."""

    project: str
    """Normalized."""
    path: Path
    size_bytes: int


class Files(NamedTuple):
    """The files of the distributions directory, by their names."""

    sizes: Mapping[str, int] = MappingProxyType({})
    """Distribution to its size in bytes; -1: it cannot be read."""
    statuses: Mapping[str, os.stat_result] = MappingProxyType({})
    """Distribution to its lstat(2), where it can be read."""
    projects: Mapping[str, tuple[str, ...]] = MappingProxyType({})
    """Normalized project to its files."""
    odd: Mapping[str, tuple[str, ...]] = MappingProxyType({})
    """Project to files that no index serves, such as eggs."""
    directory: Path = Path()

    def versions(self, project: str) -> frozenset[str]:
        """Return the versions of a project, in their canonical form."""
        names = self.projects.get(project, ())
        return frozenset(canonicalize_version(distribution.release_of(name)[1]) for name in names)


def list_files(directory: Path, entries: Mapping[str, Entry]) -> Files:
    """List the files of the directory.

    Args:
        directory: the distributions directory.
        entries: the entries of the metadata cache, which save parsing the names.

    Raises:
        InsidersError: it cannot be read; a missing directory has no files.
    """
    sizes: dict[str, int] = {}
    statuses: dict[str, os.stat_result] = {}
    projects: dict[str, list[str]] = {}
    odd: dict[str, list[str]] = {}
    try:
        with os.scandir(directory) as items:
            for item in items:
                # Files that are being uploaded or published, and lists of this program.
                if item.name.startswith("."):
                    continue
                entry = entries.get(item.name)
                try:
                    project = (entry and entry.project) or distribution.release_of(item.name)[0]
                # Its name belongs to this index all the same: it is private, and a public project
                # of that name must not take its place.
                except DistributionError:
                    for name in distribution.possible_projects(item.name):
                        odd.setdefault(name, []).append(item.name)
                    continue
                projects.setdefault(project, []).append(item.name)
                # A file that is removed meanwhile is still one that was here.
                sizes[item.name] = -1
                with contextlib.suppress(OSError):
                    statuses[item.name] = status = item.stat(follow_symlinks=False)
                    sizes[item.name] = status.st_size
    except FileNotFoundError:
        pass
    except OSError as error:
        raise cannot("read", directory, error) from error
    return Files(sizes, statuses, _sorted(projects), _sorted(odd), directory)


def _sorted(found: Mapping[str, list[str]]) -> dict[str, tuple[str, ...]]:
    return {name: tuple(sorted(files)) for name, files in found.items()}


def rejected(project: str, files: Files, problems: Mapping[str, str]) -> list[str]:
    """Return what is wrong with the files of a project that has no release."""
    names = files.projects.get(project, ())
    return [
        *(problems.get(name, f"{name} is not served") for name in names),
        *(f"{name} is not a file that an index serves" for name in files.odd.get(project, ())),
    ]


def samples(files: Files) -> Iterator[Sample]:
    """List the files that the index should serve."""
    for project, names in files.projects.items():
        for name in names:
            # A file of unknown size was removed meanwhile.
            if files.sizes[name] >= 0:
                yield Sample(project, files.directory / name, files.sizes[name])
