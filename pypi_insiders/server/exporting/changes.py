"""Export to a directory only what has changed since the export before."""

import contextlib
from collections.abc import Callable, Iterable
from pathlib import Path

from pypi_insiders.config.paths import Paths
from pypi_insiders.index import distribution, listing
from pypi_insiders.index.metadata_cache import Entry, MetadataCache, T
from pypi_insiders.index.published import Project
from pypi_insiders.repositories import no_release, registry, state
from pypi_insiders.repositories.held_names import Names
from pypi_insiders.repositories.no_release import NoRelease
from pypi_insiders.repositories.state import Build
from pypi_insiders.server.exporting import contents, packages, record, tree
from pypi_insiders.server.exporting.contents import ExportResult
from pypi_insiders.server.exporting.record import Record


class _UnlistedCache(MetadataCache):
    """The metadata cache, of which each entry is read when it is needed."""

    def converted(self, convert: Callable[[Entry], T]) -> dict[str, T]:  # noqa: ARG002
        """Return nothing: a catalog reads all entries at its start, for an index of any size."""
        return {}


def export(paths: Paths, directory: Path, known: Record) -> ExportResult | None:
    """Export new and changed files of the projects that were exported before.

    Returns:
        The numbers of the export; `None`: there is another change, so everything must be compared.
        Nothing was written then.

    Raises:
        InsidersError: a file is damaged.
        OSError: a file cannot be read or written.
    """
    with contextlib.closing(_UnlistedCache(paths.record, paths.distributions)) as cache:
        return _export(paths, directory, cache, known)


def _export(
    paths: Paths, directory: Path, cache: MetadataCache, known: Record
) -> ExportResult | None:
    files = _changed(paths, known)
    if files is None:
        return None
    stopped = _stopped(paths, known)
    of_feed = {name for name, _ in known.recent} - files.keys()
    only = {name for project in files for name in files[project]}
    only.update(name for project in of_feed for name in known.projects[project])
    catalog = contents.open_catalog(paths, cache, only)
    found = [project for name in sorted({*files, *of_feed}) if (project := catalog.project(name))]
    # A project without any file, or with a rejected one, may also be a damaged one.
    expected = {**{name: list(known.projects[name]) for name in of_feed}, **files}
    if {project.name: len(project.files) for project in found} != {
        name: len(names) for name, names in expected.items()
    }:
        return None
    builds = _builds(paths, found)
    recent = contents.recent_releases(found, builds)
    changed, new = packages.copy(catalog, sorted(files), directory)
    pages = [page for project in changed for page in contents.pages_of(project)]
    pages += [page for missing in stopped for page in contents.stop_pages(missing)]
    if changed:
        pages += contents.feed_pages(changed, contents.named(found, recent), builds)
    written = tree.write_all(directory, pages)
    for project in changed:
        known.projects[project.name] = {entry.name: entry.identity.inode for entry in project.files}
    known.recent = recent
    if pages:
        record.update(known, paths, directory, [path for path, _ in pages])
    return ExportResult(len(known.projects), known.count, len(new), 0, written)


def _changed(paths: Paths, known: Record) -> dict[str, list[str]] | None:
    """Return the projects with new or replaced files, with all their files.

    `None`: not only files of exported projects have changed, or some are gone.
    """
    found = listing.compare(paths.distributions, known.files)
    if found.gone:
        return None
    files: dict[str, list[str]] = {}
    for name in found.new:
        projects = distribution.projects_of(name)
        if len(projects) != 1 or not projects <= known.projects.keys():
            return None
        (project,) = projects
        files.setdefault(project, [*known.projects[project]]).append(name)
    return {project: sorted(set(names)) for project, names in files.items()}


def _stopped(paths: Paths, known: Record) -> list[NoRelease]:
    """Return why held names have no release."""
    if not known.stopped:
        return []
    names = Names(known.held, registry.load(paths.repositories))
    found = (no_release.find(paths, names, name, None) for name in known.stopped)
    # The page of a name that is not held any more stays until everything is compared.
    return [missing for missing in found if missing]


def _builds(paths: Paths, projects: Iterable[Project]) -> list[Build]:
    entries = [entry for project in projects for entry in project.files]
    names = {entry.origin.repository for entry in entries if entry.origin}
    return [build for name in sorted(names) for build in state.load(paths.state, name).builds]
