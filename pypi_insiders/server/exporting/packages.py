"""Copy the distributions of the index, and the metadata of wheels, to a directory."""

import contextlib
import hashlib
import logging
import stat
from collections.abc import Iterable, Iterator
from io import FileIO
from pathlib import Path

from pypi_insiders.index.catalog import Catalog
from pypi_insiders.index.metadata_cache import Entry
from pypi_insiders.index.published import Project
from pypi_insiders.server.exporting import contents, tree
from pypi_insiders.server.exporting.contents import ChangedError
from pypi_insiders.server.web.pages import METADATA
from pypi_insiders.util.files import read_bytes, sha256

_log = logging.getLogger(__name__)

_BLOCK_BYTES = 1024 * 1024
# A file that is replaced while it is copied is copied again; a damaged one fails each time.
_TRIES = 3


def copy(catalog: Catalog, names: Iterable[str], directory: Path) -> tuple[list[Project], set[str]]:
    """Copy new and changed files.

    Returns:
        The projects that have a file to export, and the names of the new files.

    Raises:
        InsidersError: a project keeps changing, or a file is damaged.
        OSError: a file cannot be read or written.
    """
    packages = tree.make_directory(directory / "packages")
    projects, new = [], set[str]()
    for name in names:
        exported = exported_files(directory, name)
        for _ in range(_TRIES):
            project = catalog.project(name)
            if project is None or not project.files:
                break  # removed meanwhile, or damaged
            with contextlib.suppress(ChangedError):
                for entry in project.files:
                    if not _is_current(packages / entry.name, entry, exported.get(entry.name)):
                        _copy(catalog, entry, packages)
                        new.add(entry.name)
                    _copy_metadata(catalog, entry, packages)
                projects.append(project)
                break
        else:
            raise ChangedError(name)
    return projects, new


def exported_files(directory: Path, project: str) -> dict[str, str]:
    """Return file name to sha256 from the exported page of a project; empty without one."""
    with contextlib.suppress(OSError, ValueError, TypeError, LookupError):
        page = read_bytes(directory / "simple" / project / "index.json")
        return contents.sha256_of_page(page)
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
        raise ChangedError(entry.project)
    _, file = opened
    with file:
        # With the mtime of the published file, by which rsync and `_is_current` skip it unread.
        tree.put(packages / entry.name, _checked(file, entry), entry.identity.mtime_ns)
    _log.debug("copied %s", entry.name)


def _checked(file: FileIO, entry: Entry) -> Iterator[bytes]:
    """Yield the blocks of a file; raise at its end if its hash differs."""
    digest = hashlib.sha256()
    while block := file.read(_BLOCK_BYTES):
        digest.update(block)
        yield block
    # Raised while `_put` writes, so that the copy never gets its final name.
    if digest.hexdigest() != entry.sha256:
        raise ChangedError(entry.project)


def _copy_metadata(catalog: Catalog, entry: Entry, packages: Path) -> None:
    """Write the core metadata of a wheel beside it, if missing or changed. Source: PEP 658."""
    if entry.metadata_sha256 is None:
        return
    path = packages / f"{entry.name}{METADATA}"
    with contextlib.suppress(FileNotFoundError):
        if sha256(path) == entry.metadata_sha256:
            return
    found = catalog.metadata(entry.name)
    if found is None or found[0] != entry.metadata_sha256:
        raise ChangedError(entry.project)
    tree.put(path, [found[1]], entry.identity.mtime_ns)
