"""Return the projects and files of the index, for one stat(2) while the directory is unchanged."""

import logging
import os
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from hashlib import sha256
from io import FileIO
from pathlib import Path
from typing import NoReturn

from pypi_insiders.index import file_contents
from pypi_insiders.index.directory_scan import DirectoryScan
from pypi_insiders.index.distribution import DistributionError
from pypi_insiders.index.keeping_up import keep_up
from pypi_insiders.index.metadata_cache import Entry, Identity, MetadataCache
from pypi_insiders.index.published import ListedFile, Project, PublishedFiles
from pypi_insiders.index.scanner import FileScanner, Origins
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import make_directory

_log = logging.getLogger(__package__)

# Changing a file in place does not change its directory, so the files of a project are compared,
# at most this often.
_CHECKED_FOR_S = 1.0


class Catalog:
    """The projects and files of the distributions directory that the index serves.

    A file is examined once: at the first request for it, or earlier by `keep_up`. All methods are
    thread-safe.

    While the directory or its list of yanks cannot be read, all methods raise `InsidersError`: an
    empty answer would redirect installers to projects of the same names on the fallback index.

    Args:
        directory: the distributions directory.
        cache: the metadata of its files.
        origins: returns the origins of files that the cache has lost.
        copies: the directory of the state, with copies of the lists of releases and the hashes of
            published files; `None`: there is no state.
        only: the files to take into account; `None`: all.
    """

    def __init__(
        self,
        directory: Path,
        cache: MetadataCache,
        origins: Origins = dict,
        copies: Path | None = None,
        only: Collection[str] | None = None,
    ) -> None:
        self.directory = directory
        self._path = str(directory)  # str(Path) was a fifth of the cost of opening a file
        self._cache = cache
        scanner = FileScanner(directory, cache, origins, is_guarded=copies is not None)
        self._scan = DirectoryScan(directory, cache, scanner, copies, only)
        self._checked_at_s: dict[str, float] = {}
        self._everything: tuple[PublishedFiles | None, tuple[Project, ...]] = None, ()

    def refresh(self) -> None:
        """List the directory if it has changed since it was listed.

        Raises:
            InsidersError: it cannot be read.
        """
        self._scan.refresh()

    def projects(self) -> tuple[str, ...]:
        """Return the projects that have files, sorted; the same object until something changes."""
        return self._scan.refresh().projects

    def project(self, name: str) -> Project | None:
        """Return a project by its normalized name; examine its files first if necessary.

        A project of rejected files only is returned without files: its name must not be redirected
        to the fallback index.
        """
        if name not in self._scan.refresh().groups:
            return None
        self._check(name)
        while True:
            published = self._scan.published
            if (known := published.pages.get(name)) is not None:
                return known
            files = published.of_project(name)
            if not files:
                return None
            # A file that was removed since: the snapshot was replaced, so start over.
            if all(map(self._scan.examine, files)):
                return published.page(name, files)

    def names(self) -> set[str]:
        """Return all projects that have a file, including rejected and unknown files."""
        return set(self._scan.refresh().groups)

    def rejected(self, name: str) -> list[str] | None:
        """Return why files of a project are not served, by its normalized name.

        Returns:
            One line a file; `None`: the directory has no file of that project.
        """
        files = self._scan.refresh().groups.get(name)
        if files is None:
            return None
        ordered = sorted(files, key=lambda file: (not file.project, file.name))
        entries = [self._scan.entry(file.name) for file in ordered]
        return [entry.problem for entry in entries if entry is not None and entry.problem]

    def problem(self, name: str) -> str | None:
        """Return why a file is not served; `None`: it is served, or does not exist."""
        self._scan.refresh()
        entry = self._scan.entry(name)
        return entry.problem if entry is not None else None

    def everything(self) -> tuple[Project, ...]:
        """Return all projects that have files, sorted; the same object until something changes."""
        published, found = self._scan.refresh(), self._everything
        if found[0] is not published:
            projects = filter(None, map(self.project, published.projects))
            found = published, tuple(project for project in projects if project.files)
            self._everything = found
        return found[1]

    def unread(self) -> list[ListedFile]:
        """Return the files that are not examined yet."""
        self._scan.refresh()
        return self._scan.unread()

    def find(self, name: str) -> Entry | None:
        """Return the entry of a served file by its name."""
        self._scan.refresh()
        entry = self._scan.entry(name)
        return entry if entry is not None and not entry.problem else None

    def open(self, name: str) -> tuple[Entry, FileIO] | None:
        """Open a file for reading, unless it differs from its entry."""
        # Twice, for a file that was replaced between `find` and `os.open`.
        for _ in range(2):
            if (entry := self.find(name)) is None:
                return None
            try:
                descriptor = os.open(
                    f"{self._path}/{name}",
                    # O_NONBLOCK: opening a pipe that has replaced the file would block.
                    os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC,
                )
            except FileNotFoundError:
                return None
            except OSError as error:
                _log.warning("cannot open %s: %s", name, error.strerror)
                self._scan.check([name])
                return None
            # fstat() of the descriptor: the name may belong to another file by now.
            if Identity.of(os.fstat(descriptor)) == entry.identity:
                return entry, FileIO(descriptor)
            os.close(descriptor)
            self._scan.check([name])
        return None

    def metadata(self, name: str) -> tuple[str, bytes] | None:
        """Return the core metadata of a wheel and their sha256, the one on the project's page."""
        entry = self.find(name)
        if entry is None or entry.metadata_sha256 is None:
            return None
        found = self._cache.metadata(entry)
        if found is None:
            try:
                found = file_contents.read(self.directory / name).metadata
            except (DistributionError, OSError):
                return None
        digest = sha256(found).hexdigest()
        # pip refuses a wheel whose metadata has another hash than its page states; without any
        # metadata it reads the wheel.
        return (digest, found) if digest == entry.metadata_sha256 else None

    def summary(self) -> str:
        """Return the numbers of projects and files, or the error.

        While files are examined, `12 projects, 57 files (30 still to be read)`.
        """
        try:
            summary, unread = self._scan.refresh().summary, len(self._scan.unread())
            return f"{summary} ({unread:,} still to be read)" if unread else summary
        except InsidersError as error:
            return error.message

    def keep_up(self, learn: Callable[[Iterable[str]], None] = lambda _projects: None) -> NoReturn:
        """Examine new files until the process ends; run this in a thread of its own.

        Args:
            learn: called with all projects of the directory whenever it has changed.
        """
        keep_up(self._scan, learn)

    def _check(self, project: str) -> None:
        """Compare the files of a project with their entries, at most once a second."""
        now_s = time.monotonic()
        if now_s - self._checked_at_s.get(project, -_CHECKED_FOR_S) >= _CHECKED_FOR_S:
            self._checked_at_s[project] = now_s
            # A file that was truncated, overwritten or made unreadable would stay on the page.
            files = self._scan.published.of_project(project)
            self._scan.check(file.name for file in files if not file.is_rejected)


def make_directory_if_new(
    directory: Path, cache: MetadataCache, origins: Mapping[str, object]
) -> None:
    """Create the distributions directory, unless an earlier one has been lost.

    Raises:
        InsidersError: it cannot be created.
    """
    # If anything was ever published, the directory was deleted or is not mounted: an empty new one
    # would hide that, and its projects would be redirected to the fallback index.
    if _is_missing(directory) and not cache.entries() and not origins:
        make_directory(directory)


def _is_missing(directory: Path) -> bool:
    # Not Path.exists(), which also returns false for some directories that cannot be accessed.
    try:
        directory.stat()
    except FileNotFoundError:
        return True
    except OSError:
        pass
    return False
