"""Write the index as plain files, for any web server, object store or CDN."""

import contextlib
import errno
import hashlib
import json
import logging
import os
import stat
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Iterator
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
from pypi_insiders.server.web import installer_errors, pages
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
# A file that is replaced while it is copied is copied again; one that is damaged never fits.
_TRIES = 3


class ExportResult(NamedTuple):
    """What an export has done; all are numbers."""

    projects: int
    files: int
    """Distributions that are there now."""
    new: int
    """Distributions that were not there before."""
    removed: int
    """Distributions that are no longer there."""
    pages: int
    """Pages that were written."""


class _ChangedError(Exception):
    """A file is not the one that the catalog told of."""


def export(
    paths: Paths,
    directory: Path,
    fallback_url: str | None,
    on_wait: Callable[[], None] = lambda: None,
) -> ExportResult:
    """Make a directory show what the index shows, touching only what differs.

    New packages come first, then pages, and what is gone goes last: nobody meets a page that names
    a file which is not there. An export that broke off is finished by the next one.

    Args:
        paths: where the index lies.
        directory: made where it is missing, as are its parents.
        fallback_url: the index for all other names; `None` is none.
        on_wait: called before waiting for another export to end.

    Raises:
        InsidersError: the directory holds something else, or it or the index cannot be used.
    """
    source = paths.distributions
    with (
        locked(paths.locks.exports, on_wait),
        _says(directory),
        contextlib.closing(MetadataCache(paths.record, source)) as cache,
    ):
        catalog = Catalog(source, cache, lambda: state.origins(paths.state), copies=paths.state)
        catalog.refresh()  # before anything is made
        held_names.sync(paths)
        _claim(directory, source)
        _write(directory / _CONFIGURATION, _configuration(fallback_url).encode())
        projects, new = _copy_packages(catalog, directory)
        stopped, untouched = _without_release(catalog, paths, projects, directory)
        written = _write_pages(projects, directory / "simple")
        written += _write_stops(stopped, directory / "simple")
        removed = _remove_gone(projects, stopped, untouched, directory)
        files = sum(len(project.files) for project in projects)
        return ExportResult(len(projects), files, len(new), removed, written)


@contextlib.contextmanager
def _says(directory: Path) -> Iterator[None]:
    """Translate whatever the file system refuses into one line."""
    try:
        yield
    except OSError as error:
        at = f" ({error.filename})" if error.filename else ""
        raise InsidersError(
            f"cannot export to {directory}: {error.strerror or error}{at}", hint_for(error)
        ) from error


def _claim(directory: Path, source: Path) -> None:
    """Make the directory, or make sure that it is ours.

    Raises:
        InsidersError: it is not: what lies there would be lost.
    """
    here, there = directory.resolve(), source.resolve()
    # An export removes what it does not know, and the index would list what it writes.
    if here.is_relative_to(there) or there.is_relative_to(here):
        raise InsidersError(
            f"cannot export to {directory}: the index keeps its distributions in {source}",
            "name a directory elsewhere",
        )
    for missing in reversed([path for path in (here, *here.parents) if not path.exists()]):
        _make_directory(missing)
    # A first export that was killed has left only these.
    found = [path for path in here.iterdir() if not path.name.startswith(_TEMPORARY)]
    # By a file of ours, for the rest of the directory looks like any mirror of an index.
    is_ours = (read_text(here / _CONFIGURATION) or "").startswith(_MARK)
    if found and not is_ours:
        raise InsidersError(
            f"{directory} is not empty, and no `pypi-insiders export` has made it",
            "name a new or an empty directory",
        )


def _make_directory(path: Path) -> Path:
    """Make a directory that a web server's user can read, unless it is there; return it."""
    try:
        path.mkdir()
    except FileExistsError:
        if path.is_symlink() or not path.is_dir():  # what lies behind a link is not ours
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path) from None
    else:
        # After mkdir(), whose mode the umask of the user narrows.
        path.chmod(0o755)
    return path


def _configuration(fallback_url: str | None) -> str:
    """Render what nginx must know."""
    template = Path(__file__).with_name(f"{_CONFIGURATION}.in").read_text(encoding="utf-8")
    answer = "404"
    if fallback_url is not None:
        # In nginx, a dollar sign or a quotation mark has a meaning that nothing takes away.
        url = quote(fallback_url.rstrip("/"), safe=":/?#[]@!&'()*+,;=%~")
        answer = f'303 "{url}/$insiders_name/"'
    return template.replace("@FALLBACK@", answer)


def _copy_packages(catalog: Catalog, directory: Path) -> tuple[list[Project], set[str]]:
    """Copy what is not there yet.

    Returns:
        All projects, each as its files are there now; and the names of the files that are new.

    Raises:
        InsidersError: a project changes all the time, or a file is damaged.
        OSError: a file cannot be read or written.
    """
    packages = _make_directory(directory / "packages")
    projects, new = [], set[str]()
    for name in catalog.projects():
        told = _told_hashes(directory / "simple" / name / "index.json")
        for _ in range(_TRIES):
            project = catalog.project(name)
            if project is None:
                break  # it has gone meanwhile
            with contextlib.suppress(_ChangedError):
                for entry in project.files:
                    if not _is_current(packages / entry.name, entry, told.get(entry.name)):
                        _copy(catalog, entry, packages)
                        new.add(entry.name)
                    _copy_metadata(catalog, entry, packages)
                projects.append(project)
                break
        else:
            raise InsidersError(
                f"{name} changes while it is exported, or one of its files is damaged", "try again"
            )
    return projects, new


def _told_hashes(page: Path) -> dict[str, str]:
    """Read off the page of the last export which files it has copied: name to sha256."""
    with contextlib.suppress(OSError, ValueError, TypeError, LookupError):
        files = json.loads(page.read_bytes())["files"]
        return {file["filename"]: file["hashes"]["sha256"] for file in files}
    return {}


def _is_current(copy: Path, entry: Entry, told_sha256: str | None) -> bool:
    """Tell whether a copy is the file of the index; it is read only where that is in doubt."""
    try:
        status = copy.lstat()
    except FileNotFoundError:
        return False
    if not stat.S_ISREG(status.st_mode) or status.st_size != entry.identity.size_bytes:
        return False
    if told_sha256 == entry.sha256 and status.st_mtime_ns == entry.identity.mtime_ns:
        return True
    return sha256(copy) == entry.sha256


def _copy(catalog: Catalog, entry: Entry, packages: Path) -> None:
    opened = catalog.open(entry.name)
    if opened is None:
        raise _ChangedError
    _, file = opened
    with file:
        # With the time of the published file: rsync and `_is_current` then know it without reading
        # it.
        _put(packages / entry.name, _checked(file, entry.sha256), entry.identity.mtime_ns)
    _log.debug("copied %s", entry.name)


def _checked(file: FileIO, sha256: str) -> Iterator[bytes]:
    """Read a file block by block, to its end only if it is the one that is meant."""
    digest = hashlib.sha256()
    while block := file.read(_BLOCK_BYTES):
        digest.update(block)
        yield block
    # Raised from within the writing, so that no file gets its name.
    if digest.hexdigest() != sha256:
        raise _ChangedError


def _copy_metadata(catalog: Catalog, entry: Entry, packages: Path) -> None:
    """Write the core metadata of a wheel beside it, unless they are there. Source: PEP 658."""
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
    """Write the pages that differ, the list of all projects last; return how many."""
    _make_directory(simple)
    written = 0
    for project in projects:
        directory = _make_directory(simple / project.name)
        for name, media_type in _PAGES.items():
            written += _write(directory / name, pages.project_detail(project, media_type))
    # Last: a name in the list has its page by then.
    names = [project.name for project in projects]
    for name, media_type in _PAGES.items():
        written += _write(simple / name, pages.project_list(names, media_type))
    return written


class _Untouched(NamedTuple):
    """What was exported before and is damaged in the index: it stays until that is mended."""

    projects: set[str]
    """Of which nothing else is left; their pages stay too."""
    files: set[str]
    """Distributions. Lock files may name them."""


def _without_release(
    catalog: Catalog, paths: Paths, projects: Collection[Project], directory: Path
) -> tuple[list[NoRelease], _Untouched]:
    """Find the held names that have no release in the index.

    Returns:
        Those whose pages are to stop installers, and what stays as it is.

    Raises:
        InsidersError: nobody can know which names are held.
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
        told = _told_hashes(directory / "simple" / name / "index.json")
        if told and missing.is_damage:
            _log.warning("%s; what was exported of it stays", missing.text)
            untouched.projects.add(name)
            untouched.files.update(told)
        else:
            stopped.append(missing)
    return stopped, untouched


def _write_stops(stopped: Collection[NoRelease], simple: Path) -> int:
    """Write the pages of projects that have no release; return how many differ."""
    written = 0
    for missing in stopped:
        directory = _make_directory(simple / missing.project)
        # A page without a file stops an installer on any web server; nginx finds the reason beside
        # it.
        project = Project(missing.project, (), {})
        for name, media_type in _PAGES.items():
            written += _write(directory / name, pages.project_detail(project, media_type))
        problem = installer_errors.problem(installer_errors.of(missing))
        written += _write(directory / _PROBLEM, json.dumps(problem).encode())
    return written


def _write(path: Path, content: bytes) -> bool:
    """Put content at a path unless it is there; tell whether it was not."""
    changed_ns = time.time_ns()
    with contextlib.suppress(FileNotFoundError):
        if path.read_bytes() == content:
            return False
        # nginx's ETag and rsync tell files apart by size and second.
        changed_ns = max(changed_ns, (int(path.stat().st_mtime) + 1) * 1_000_000_000)
    _put(path, [content], changed_ns)
    return True


def _put(path: Path, blocks: Iterable[bytes], mtime_ns: int) -> None:
    """Put a file at a path in one step, readable for a web server's user."""
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
    """Remove what is gone from the index, and what a killed export left; return how many files."""
    # The lock of exports is held, so nobody else is writing them.
    for left in directory.glob(f"{_TEMPORARY}*"):
        remove(left)
    held = {item.project for item in stopped} | untouched.projects
    # Only now, when no page names these files any more.
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
    """Remove all but the expected; return the names of what is gone."""
    with os.scandir(directory) as items:
        gone = [item for item in items if item.name not in expected]
    for item in gone:
        is_tree = item.is_dir(follow_symlinks=False)
        (remove_tree if is_tree else remove)(Path(item.path))
        _log.debug("removed %s", item.path)
    return [item.name for item in gone]
