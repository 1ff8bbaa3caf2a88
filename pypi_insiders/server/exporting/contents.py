"""What an export has: projects, pages, feeds, and names without a release."""

import json
import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from pypi_insiders.config.paths import Paths
from pypi_insiders.index.catalog import Catalog
from pypi_insiders.index.metadata_cache import MetadataCache
from pypi_insiders.index.published import Project
from pypi_insiders.repositories import comparison, held_names, no_release, state
from pypi_insiders.repositories.held_names import Names
from pypi_insiders.repositories.no_release import NoRelease
from pypi_insiders.repositories.state import Build
from pypi_insiders.server.web import feed, installer_errors, pages
from pypi_insiders.server.web.pages import METADATA
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.media_types import SIMPLE_JSON

_log = logging.getLogger(__name__)

PROBLEM = "problem.json"
PAGES = {"index.html": pages.HTML, "index.json": SIMPLE_JSON}
"""File name to media type."""


class ExportResult(NamedTuple):
    """The numbers of an export."""

    projects: int
    files: int
    """Exported distributions."""
    new: int
    """New distributions."""
    removed: int
    """Removed distributions."""
    pages: int
    """Written pages."""


class ChangedError(InsidersError):
    """A file of a project differs from its entry in the catalog."""

    def __init__(self, project: str) -> None:
        super().__init__(
            f"{project} changes during the export, or one of its files is damaged", "try again"
        )


class Untouched(NamedTuple):
    """Exported projects and files that are damaged in the index, and stay until that is fixed."""

    projects: set[str]
    """Projects without any other file; their pages stay too."""
    files: set[str]
    """Distributions, which lock files may refer to."""


@dataclass
class Exported:
    """What an export of everything has."""

    names: Names
    projects: list[Project]
    stopped: list[NoRelease]
    untouched: Untouched
    builds: list[Build]
    """All that may have made one of the files."""
    recent: list[list[str]]
    """Project and version of the newest releases of all projects."""
    paths: list[str] = field(default_factory=list)
    """Of the pages."""

    def pages(self) -> Iterator[tuple[str, bytes]]:
        """Yield path and content of all pages, each after those that it leads to."""
        for path, content in self._pages():
            self.paths.append(path)
            yield path, content

    def _pages(self) -> Iterator[tuple[str, bytes]]:
        for project in self.projects:
            yield from pages_of(project)
        # Also the projects whose pages stay: each has a page with files. Source: PEP 503.
        names = {project.name for project in self.projects} | self.untouched.projects
        yield from list_pages(sorted(names))
        for missing in self.stopped:
            yield from stop_pages(missing)
        yield from feed_pages(self.projects, named(self.projects, self.recent), self.builds)


def open_catalog(
    paths: Paths, cache: MetadataCache, only: Collection[str] | None = None
) -> Catalog:
    """Return the catalog of the distributions directory, or of these files in it only."""
    return Catalog(
        paths.distributions, cache, lambda: state.origins(paths.state), paths.state, only
    )


def pages_of(project: Project) -> Iterator[tuple[str, bytes]]:
    """Yield path and content of the pages of a project."""
    for name, media_type in PAGES.items():
        yield f"simple/{project.name}/{name}", pages.project_detail(project, media_type)


def list_pages(names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
    """Yield path and content of the pages that list all projects."""
    listed = list(names)
    for name, media_type in PAGES.items():
        yield f"simple/{name}", pages.project_list(listed, media_type)


def stop_pages(missing: NoRelease) -> Iterator[tuple[str, bytes]]:
    """Yield path and content of the pages of a project without a release."""
    # An empty page stops an installer on any web server; nginx also sends the reason, from a file
    # beside it.
    yield from pages_of(Project(missing.project, (), {}))
    problem = installer_errors.problem(installer_errors.of(missing))
    yield f"simple/{missing.project}/{PROBLEM}", json.dumps(problem).encode()


def recent_releases(projects: Iterable[Project], builds: Sequence[Build]) -> list[list[str]]:
    """Return project and version of the releases in the feed of all projects, newest first."""
    found = feed.entries("", projects, builds)
    return [[entry.project, entry.release.version] for entry in found]


def named(projects: Iterable[Project], releases: Iterable[Sequence[str]]) -> list[Project]:
    """Return the projects of some releases, each of which is a project and a version."""
    names = {name for name, _ in releases}
    return [project for project in projects if project.name in names]


def feed_pages(
    projects: Iterable[Project], newest: Iterable[Project], builds: Sequence[Build]
) -> Iterator[tuple[str, bytes]]:
    """Yield path and content of the Atom feeds, where the live index has them.

    Args:
        projects: each has a feed.
        newest: the projects of the newest releases of all.
        builds: all that may have made one of the files.
    """
    yield feed.path(None), feed.render_exported(newest, builds, None)
    for project in projects:
        yield feed.path(project.name), feed.render_exported([project], builds, project.name)


def find(
    catalog: Catalog,
    paths: Paths,
    projects: list[Project],
    exported_files: Callable[[str], Collection[str]],
) -> Exported:
    """Find what belongs to an export of these projects.

    Args:
        catalog: of the index.
        paths: all paths of the program.
        projects: with their files.
        exported_files: returns the files on the exported page of a project; empty without one.

    Raises:
        InsidersError: held names are lost.
    """
    names = held_names.load(paths)
    if names.error is not None:
        raise names.error
    stopped, untouched = _without_release(catalog, paths, names, projects, exported_files)
    builds = [build for _, known in state.everything(paths.state) for build in known.builds]
    recent = recent_releases(projects, builds)
    return Exported(names, projects, stopped, untouched, builds, recent)


def _without_release(
    catalog: Catalog,
    paths: Paths,
    names: Names,
    projects: Collection[Project],
    exported_files: Callable[[str], Collection[str]],
) -> tuple[list[NoRelease], Untouched]:
    stopped = []
    differences, exported_names = comparison.compare(paths), {item.name for item in projects}
    untouched = Untouched(set(), {item.file for item in differences})
    for item in differences:
        if item.project in exported_names:
            _log.warning("%s, so the exported page of %s leaves it out", item.text, item.project)
    for name in sorted({*names.repositories, *catalog.names()} - exported_names):
        missing = no_release.find(paths, names, name, catalog.rejected(name))
        if missing is None:
            continue
        exported = exported_files(name)
        if exported and missing.is_damage:
            _log.warning("%s; its exported files stay", missing.text)
            untouched.projects.add(name)
            untouched.files.update(exported)
        else:
            stopped.append(missing)
    return stopped, untouched


def package_names(projects: Iterable[Project], untouched: Untouched) -> set[str]:
    """Return the names of all files that an export has below `packages/`."""
    entries = [entry for project in projects for entry in project.files]
    metadata = {entry.name + METADATA for entry in entries if entry.metadata_sha256 is not None}
    kept = {f"{name}{end}" for name in untouched.files for end in ("", METADATA)}
    return kept | metadata | {entry.name for entry in entries}


def removed_files(gone: Iterable[str]) -> int:
    """Count the distributions in a list of removed names."""
    return sum(not name.startswith(".") and not name.endswith(METADATA) for name in gone)


def sha256_of_page(page: bytes) -> dict[str, str]:
    """Return file name to sha256 from an exported page of a project, in JSON.

    Raises:
        ValueError, TypeError, LookupError: it is not such a page.
    """
    return {file["filename"]: file["hashes"]["sha256"] for file in json.loads(page)["files"]}
