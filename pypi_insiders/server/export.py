"""Export the index as static files, for any web server, object store or CDN."""

import contextlib
import errno
import hashlib
import json
import logging
import os
import stat
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from io import FileIO
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from pypi_insiders.config.paths import Paths
from pypi_insiders.index.catalog import Catalog
from pypi_insiders.index.metadata_cache import Entry, MetadataCache
from pypi_insiders.index.published import Project
from pypi_insiders.repositories import comparison, held_names, no_release, state
from pypi_insiders.repositories.no_release import NoRelease
from pypi_insiders.server import export_feeds
from pypi_insiders.server.web import feed, installer_errors, pages
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import hint_for, locked, read_text, remove, sha256
from pypi_insiders.util.trees import remove_tree

_log = logging.getLogger(__name__)

_CONFIGURATION = "nginx.conf"
_MARK = "# Made by `pypi-insiders export`"
_PAGES = {"index.html": pages.HTML, "index.json": pages.JSON}
_PROBLEM = "problem.json"
_METADATA = ".metadata"
_TEMPORARY = ".export-"
_BLOCK_BYTES = 1024 * 1024
# A file that is replaced while it is copied is copied again; a damaged one fails each time.
_TRIES = 3


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


class _ChangedError(Exception):
    """A file differs from its entry in the catalog."""


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
    # New files first, then pages, and removals last: no page ever lists a missing file.
    source = paths.distributions
    with (
        locked(paths.locks.exports, on_wait),
        _says(directory),
        contextlib.closing(MetadataCache(paths.record, source)) as cache,
    ):
        catalog = Catalog(source, cache, lambda: state.origins(paths.state), copies=paths.state)
        catalog.refresh()  # raises before the target is created
        held_names.sync(paths)
        _claim(directory, source)
        _write(directory / _CONFIGURATION, _configuration(fallback_url).encode())
        projects, new = _copy_packages(catalog, directory)
        stopped, untouched = _without_release(catalog, paths, projects, directory)
        written = _write_pages(projects, directory / "simple")
        written += _write_stops(stopped, directory / "simple")
        written += _write_feeds(paths, projects, directory)
        removed = _remove_gone(projects, stopped, untouched, directory)
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
        InsidersError: it has other files, which an export would remove.
    """
    here, there = directory.resolve(), source.resolve()
    # An export removes unknown files, and the index would serve the files that it writes.
    if here.is_relative_to(there) or there.is_relative_to(here):
        raise InsidersError(
            f"cannot export to {directory}: the index stores its distributions in {source}",
            "name another directory",
        )
    for missing in reversed([path for path in (here, *here.parents) if not path.exists()]):
        _make_directory(missing)
    # A killed first export leaves only temporary files.
    found = [path for path in here.iterdir() if not path.name.startswith(_TEMPORARY)]
    # Identified by its configuration: all other files look like any mirror of an index.
    is_ours = (read_text(here / _CONFIGURATION) or "").startswith(_MARK)
    if found and not is_ours:
        raise InsidersError(
            f"{directory} is not empty, and was not created by `pypi-insiders export`",
            "name a new or an empty directory",
        )


def _make_directory(path: Path) -> Path:
    """Create a directory that the web server's user can read; return its path."""
    try:
        path.mkdir()
    except FileExistsError:
        if path.is_symlink() or not path.is_dir():  # a link may point to files of others
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path) from None
    else:
        # chmod(), as the umask of the user restricts the mode of mkdir().
        path.chmod(0o755)
    return path


def _configuration(fallback_url: str | None) -> str:
    """Return the configuration for nginx."""
    template = Path(__file__).with_name(f"{_CONFIGURATION}.in").read_text(encoding="utf-8")
    answer = "404"
    if fallback_url is not None:
        # nginx has no escape for a dollar sign or a quotation mark in a string.
        url = quote(fallback_url.rstrip("/"), safe=":/?#[]@!&'()*+,;=%~")
        answer = f'303 "{url}/$insiders_name/"'
    return template.replace("@FALLBACK@", answer)


def _copy_packages(catalog: Catalog, directory: Path) -> tuple[list[Project], set[str]]:
    """Copy new and changed files.

    Returns:
        All exported projects, and the names of the new files.

    Raises:
        InsidersError: a project keeps changing, or a file is damaged.
        OSError: a file cannot be read or written.
    """
    packages = _make_directory(directory / "packages")
    projects, new = [], set[str]()
    for name in catalog.projects():
        exported = _exported_hashes(directory / "simple" / name / "index.json")
        for _ in range(_TRIES):
            project = catalog.project(name)
            if project is None:
                break  # removed meanwhile
            with contextlib.suppress(_ChangedError):
                for entry in project.files:
                    if not _is_current(packages / entry.name, entry, exported.get(entry.name)):
                        _copy(catalog, entry, packages)
                        new.add(entry.name)
                    _copy_metadata(catalog, entry, packages)
                projects.append(project)
                break
        else:
            raise InsidersError(
                f"{name} changes during the export, or one of its files is damaged", "try again"
            )
    return projects, new


def _exported_hashes(page: Path) -> dict[str, str]:
    """Return file name to sha256 from the page of the last export; empty without one."""
    with contextlib.suppress(OSError, ValueError, TypeError, LookupError):
        files = json.loads(page.read_bytes())["files"]
        return {file["filename"]: file["hashes"]["sha256"] for file in files}
    return {}


def _is_current(copy: Path, entry: Entry, exported_sha256: str | None) -> bool:
    """Return whether a copy is the file of the index; it is read only if its times differ."""
    try:
        status = copy.lstat()
    except FileNotFoundError:
        return False
    if not stat.S_ISREG(status.st_mode) or status.st_size != entry.identity.size_bytes:
        return False
    if exported_sha256 == entry.sha256 and status.st_mtime_ns == entry.identity.mtime_ns:
        return True
    return sha256(copy) == entry.sha256


def _copy(catalog: Catalog, entry: Entry, packages: Path) -> None:
    opened = catalog.open(entry.name)
    if opened is None:
        raise _ChangedError
    _, file = opened
    with file:
        # With the mtime of the published file, by which rsync and `_is_current` skip it unread.
        _put(packages / entry.name, _checked(file, entry.sha256), entry.identity.mtime_ns)
    _log.debug("copied %s", entry.name)


def _checked(file: FileIO, sha256: str) -> Iterator[bytes]:
    """Yield the blocks of a file; raise at its end if its hash differs."""
    digest = hashlib.sha256()
    while block := file.read(_BLOCK_BYTES):
        digest.update(block)
        yield block
    # Raised while `_put` writes, so that the copy never gets its final name.
    if digest.hexdigest() != sha256:
        raise _ChangedError


def _copy_metadata(catalog: Catalog, entry: Entry, packages: Path) -> None:
    """Write the core metadata of a wheel beside it, if missing or changed. Source: PEP 658."""
    if entry.metadata_sha256 is None:
        return
    path = packages / f"{entry.name}{_METADATA}"
    with contextlib.suppress(FileNotFoundError):
        if sha256(path) == entry.metadata_sha256:
            return
    found = catalog.metadata(entry.name)
    if found is None or found[0] != entry.metadata_sha256:
        raise _ChangedError
    _put(path, [found[1]], entry.identity.mtime_ns)


def _write_pages(projects: Collection[Project], simple: Path) -> int:
    """Write the pages that differ; return their number."""
    _make_directory(simple)
    written = 0
    for project in projects:
        directory = _make_directory(simple / project.name)
        for name, media_type in _PAGES.items():
            written += _write(directory / name, pages.project_detail(project, media_type))
    # The list last, so that each project in it has its page.
    names = [project.name for project in projects]
    for name, media_type in _PAGES.items():
        written += _write(simple / name, pages.project_list(names, media_type))
    return written


class _Untouched(NamedTuple):
    """Exported projects and files that are damaged in the index, and stay until that is fixed."""

    projects: set[str]
    """Projects without any other file; their pages stay too."""
    files: set[str]
    """Distributions, which lock files may refer to."""


def _without_release(
    catalog: Catalog, paths: Paths, projects: Collection[Project], directory: Path
) -> tuple[list[NoRelease], _Untouched]:
    """Find the held names without a release in the index.

    Returns:
        The projects whose pages must stop installers, and the damaged ones that stay.

    Raises:
        InsidersError: held names are lost.
    """
    names = held_names.load(paths)
    if names.error is not None:
        raise names.error
    stopped = []
    untouched = _Untouched(set(), {item.file for item in comparison.compare(paths)})
    for name in sorted({*names.repositories, *catalog.names()} - {item.name for item in projects}):
        missing = no_release.find(paths, names, name, catalog.rejected(name))
        if missing is None:
            continue
        exported = _exported_hashes(directory / "simple" / name / "index.json")
        if exported and missing.is_damage:
            _log.warning("%s; its exported files stay", missing.text)
            untouched.projects.add(name)
            untouched.files.update(exported)
        else:
            stopped.append(missing)
    return stopped, untouched


def _write_stops(stopped: Collection[NoRelease], simple: Path) -> int:
    """Write the pages of projects without a release; return how many differ."""
    written = 0
    for missing in stopped:
        directory = _make_directory(simple / missing.project)
        # An empty page stops an installer on any web server; nginx also sends the reason, from a
        # file beside it.
        project = Project(missing.project, (), {})
        for name, media_type in _PAGES.items():
            written += _write(directory / name, pages.project_detail(project, media_type))
        problem = installer_errors.problem(installer_errors.of(missing))
        written += _write(directory / _PROBLEM, json.dumps(problem).encode())
    return written


def _write_feeds(paths: Paths, projects: Sequence[Project], directory: Path) -> int:
    """Write the Atom feeds, where the live index has them; return how many differ."""
    builds = [build for _, known in state.everything(paths.state) for build in known.builds]
    feeds: dict[str | None, bytes] = {None: feed.render_exported(projects, builds, None)}
    _make_directory(directory / "-")
    _make_directory(directory / "project")
    for project in projects:
        feeds[project.name] = feed.render_exported([project], builds, project.name)
        _make_directory(directory / "project" / project.name)
    return sum(_write(directory / feed.path(name), content) for name, content in feeds.items())


def _write(path: Path, content: bytes) -> bool:
    """Write a file unless it has this content already; return whether it was written."""
    changed_ns = time.time_ns()
    with contextlib.suppress(FileNotFoundError):
        if path.read_bytes() == content:
            return False
        # At least a second later, as nginx's ETag and rsync compare size and seconds.
        changed_ns = max(changed_ns, (int(path.stat().st_mtime) + 1) * 1_000_000_000)
    _put(path, [content], changed_ns)
    return True


def _put(path: Path, blocks: Iterable[bytes], mtime_ns: int) -> None:
    """Write a file atomically, readable for the web server's user."""
    descriptor, temporary = tempfile.mkstemp(prefix=_TEMPORARY, dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.writelines(blocks)
            file.flush()
            os.fchmod(descriptor, 0o644)
            os.utime(descriptor, ns=(mtime_ns, mtime_ns))
            os.fsync(descriptor)
        Path(temporary).replace(path)
    except BaseException:
        remove(Path(temporary))
        raise


def _remove_gone(
    projects: Collection[Project],
    stopped: Collection[NoRelease],
    untouched: _Untouched,
    directory: Path,
) -> int:
    """Remove files that are no longer in the index, and temporary ones; return their number."""
    # Under the lock of exports, so no other process is writing them.
    for left in directory.glob(f"{_TEMPORARY}*"):
        remove(left)
    # First, as the directories of pages name the projects that have had a feed.
    exported = {item.name for item in (directory / "simple").iterdir()} - {*_PAGES}
    kept_feeds = untouched.projects | {project.name for project in projects}
    export_feeds.sweep(directory, exported, kept_feeds, f"{_TEMPORARY}*")
    held = {item.project for item in stopped} | untouched.projects
    # After the new pages were written, which no longer list these files.
    _sweep(directory / "simple", {*_PAGES, *held, *(project.name for project in projects)})
    for project in projects:
        _sweep(directory / "simple" / project.name, _PAGES)
    for item in stopped:
        _sweep(directory / "simple" / item.project, {*_PAGES, _PROBLEM})
    entries = [entry for project in projects for entry in project.files]
    metadata = {entry.name + _METADATA for entry in entries if entry.metadata_sha256 is not None}
    kept = {f"{name}{end}" for name in untouched.files for end in ("", _METADATA)}
    expected = kept | metadata | {entry.name for entry in entries}
    gone = _sweep(directory / "packages", expected)
    return sum(1 for name in gone if not name.startswith(".") and not name.endswith(_METADATA))


def _sweep(directory: Path, expected: Collection[str]) -> list[str]:
    """Remove all but the expected entries of a directory; return their names."""
    with os.scandir(directory) as items:
        gone = [item for item in items if item.name not in expected]
    for item in gone:
        is_tree = item.is_dir(follow_symlinks=False)
        (remove_tree if is_tree else remove)(Path(item.path))
        _log.debug("removed %s", item.path)
    return [item.name for item in gone]
