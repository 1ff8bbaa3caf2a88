"""Export the index to a directory, as static files for any web server."""

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from urllib.parse import quote

from pypi_insiders.config.paths import Paths
from pypi_insiders.index.metadata_cache import MetadataCache
from pypi_insiders.repositories import held_names
from pypi_insiders.server.exporting import changes, contents, feeds, packages, record, tree
from pypi_insiders.server.exporting.contents import PAGES, PROBLEM, Exported, ExportResult
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import hint_for, locked, read_text, remove

COMPARED_AT_ONCE = 5_000
"""Of fewer files, each export compares all; of more, it compares them once a day."""
_CONFIGURATION = "nginx.conf"
_MARK = "# Made by `pypi-insiders export`"
_SWEPT = ("simple", "packages")


def export(
    paths: Paths,
    directory: Path,
    fallback_url: str | None,
    on_wait: Callable[[], None] = lambda: None,
) -> ExportResult:
    """Export the index to a directory, writing only files that differ.

    The next export completes an interrupted one.

    Args:
        paths: all paths of the program.
        directory: the target; created if missing, with its parents.
        fallback_url: the fallback index; `None`: there is none.
        on_wait: called before waiting for another export.

    Raises:
        InsidersError: the directory has other files, or the directory or the index cannot be used.
    """
    with (
        locked(paths.locks.exports, on_wait),
        _says(directory),
    ):
        configuration = _configuration(fallback_url)
        known = record.load(paths, directory, configuration)
        if known is not None and known.count >= COMPARED_AT_ONCE:
            done = changes.export(paths, directory, known)
            if done is not None:
                return done
        with contextlib.closing(MetadataCache(paths.record, paths.distributions)) as cache:
            return _export_all(paths, directory, configuration, cache)


def _export_all(
    paths: Paths, directory: Path, configuration: str, cache: MetadataCache
) -> ExportResult:
    # New files first, then pages, and removals last: no page ever lists a missing file.
    catalog = contents.open_catalog(paths, cache)
    catalog.refresh()  # raises before the target is created
    held_names.sync(paths)
    _claim(directory, paths.distributions)
    begun = record.begin(paths, directory, configuration)
    tree.write(directory / _CONFIGURATION, configuration.encode())
    projects, new = packages.copy(catalog, catalog.projects(), directory)
    found = contents.find(catalog, paths, projects, partial(packages.exported_files, directory))
    written = tree.write_all(directory, found.pages())
    removed = _remove_gone(found, directory)
    record.finish(begun, paths, directory, found)
    files = sum(len(project.files) for project in projects)
    return ExportResult(len(projects), files, len(new), removed, written)


@contextlib.contextmanager
def _says(directory: Path) -> Iterator[None]:
    """Raise errors of the file system as `InsidersError`."""
    try:
        yield
    except OSError as error:
        at = f" ({error.filename})" if error.filename else ""
        raise InsidersError(
            f"cannot export to {directory}: {error.strerror or error}{at}", hint_for(error)
        ) from error


def _claim(directory: Path, source: Path) -> None:
    """Create the directory, or check that an export has created it.

    Raises:
        InsidersError: it has other files, which an export would remove; or it is where another
            export removes files.
    """
    here, there = directory.resolve(), source.resolve()
    # An export removes unknown files, and the index would serve the files that it writes.
    if here.is_relative_to(there) or there.is_relative_to(here):
        raise InsidersError(
            f"cannot export to {directory}: the index stores its distributions in {source}",
            "name another directory",
        )
    for parent in here.parents:
        # An export removes there what it has not written.
        top = here.relative_to(parent).parts[0]
        if top in _SWEPT and _is_export(parent):
            raise InsidersError(
                f"cannot export to {directory}: the export in {parent} removes unknown files "
                f"from its {top}/",
                "name another directory",
            )
    for missing in reversed([path for path in (here, *here.parents) if not path.exists()]):
        tree.make_directory(missing)
    # A killed first export leaves only temporary files.
    found = [path for path in here.iterdir() if not path.name.startswith(tree.TEMPORARY)]
    if found and not _is_export(here):
        raise InsidersError(
            f"{directory} is not empty, and was not created by `pypi-insiders export`",
            "name a new or an empty directory",
        )


def _is_export(directory: Path) -> bool:
    # By its configuration: all other files look like any mirror of an index.
    return (read_text(directory / _CONFIGURATION) or "").startswith(_MARK)


def _configuration(fallback_url: str | None) -> str:
    """Return the configuration for nginx."""
    template = Path(__file__).with_name(f"{_CONFIGURATION}.in").read_text(encoding="utf-8")
    answer = "404"
    if fallback_url is not None:
        # nginx has no escape for a dollar sign or a quotation mark in a string.
        url = quote(fallback_url.rstrip("/"), safe=":/?#[]@!&'()*+,;=%~")
        answer = f'303 "{url}/$insiders_name/"'
    return template.replace("@FALLBACK@", answer)


def _remove_gone(found: Exported, directory: Path) -> int:
    """Remove files that are no longer in the index, and temporary ones; return their number."""
    projects, stopped, untouched = found.projects, found.stopped, found.untouched
    # Under the lock of exports, so no other process is writing them.
    for left in directory.glob(f"{tree.TEMPORARY}*"):
        remove(left)
    # First, as the directories of pages name the projects that have had a feed.
    exported = {item.name for item in (directory / "simple").iterdir()} - {*PAGES}
    kept_feeds = untouched.projects | {project.name for project in projects}
    feeds.sweep(directory, exported, kept_feeds, f"{tree.TEMPORARY}*")
    held = {item.project for item in stopped} | untouched.projects
    # After the new pages were written, which no longer list these files.
    tree.sweep(directory / "simple", {*PAGES, *held, *(project.name for project in projects)})
    for project in projects:
        tree.sweep(directory / "simple" / project.name, PAGES)
    for item in stopped:
        tree.sweep(directory / "simple" / item.project, {*PAGES, PROBLEM})
    return contents.removed_files(
        tree.sweep(directory / "packages", contents.package_names(projects, untouched))
    )
