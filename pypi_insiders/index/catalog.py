"""Answer what the distributions directory has, at the cost of one stat(2) while nothing changes."""

import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256
from io import FileIO
from pathlib import Path
from typing import NoReturn

from pypi_insiders.index import file_contents
from pypi_insiders.index.directory_scan import LOOK_AGAIN_AFTER_S, DirectoryScan
from pypi_insiders.index.distribution import DistributionError
from pypi_insiders.index.metadata_cache import Entry, Identity, MetadataCache
from pypi_insiders.index.published import Project, PublishedFiles
from pypi_insiders.index.scanner import FileScanner, Origins
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import make_directory

_log = logging.getLogger(__package__)

# The directory does not tell of a file that is changed in its place.
_CHECKED_FOR_S = 1.0


class Catalog:
    """The distributions directory, as the index shows it.

    Files are examined once, each when it is first asked for, or by `keep_up` before. Everything
    here may be called from several threads.

    While the directory or its list of yanks cannot be read, every question raises `InsidersError`:
    to say that there is nothing would send an installer to the fallback, for packages of the same
    names.

    Args:
        directory: the distributions directory.
        cache: what is known of its files.
        origins: what else tells where they came from.
        learn: called with the projects that the directory has, whenever there are new ones.
        copies: the directory of the state, where there are copies of the lists of releases, and
            where it is remembered what was published here; `None`: nowhere.
    """

    def __init__(
        self,
        directory: Path,
        cache: MetadataCache,
        origins: Origins = dict,
        learn: Callable[[Iterable[str]], None] = lambda _projects: None,
        copies: Path | None = None,
    ) -> None:
        self.directory = directory
        self._path = str(directory)  # a fifth of the cost of opening a file
        self._cache = cache
        self._learn = learn
        scanner = FileScanner(directory, cache, origins, is_guarded=copies is not None)
        self._scan = DirectoryScan(directory, cache, scanner, copies)
        self._checked_at_s: dict[str, float] = {}
        self._everything: tuple[PublishedFiles | None, tuple[Project, ...]] = None, ()

    def refresh(self) -> None:
        """List the directory if it has changed since it was listed.

        Raises:
            InsidersError: it cannot be read, as with every question.
        """
        self._scan.refresh()

    def projects(self) -> tuple[str, ...]:
        """Return all that have files, sorted; the same object as long as nothing changes."""
        return self._scan.refresh().projects

    def project(self, name: str) -> Project | None:
        """Find a project by its normalized name; examine its files if that was not done yet.

        One of which every file is rejected has none, but is there: its name must not lead to the
        fallback.
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
            # A file that is gone by now gives `None`: then the snapshot is another one, and all
            # begins again.
            entries = [entry for entry in map(self._scan.examined, files) if entry is not None]
            if len(entries) == len(files):
                return published.page(name, entries)

    def names(self) -> set[str]:
        """Return every project of which there is a file, in whatever form and state."""
        return set(self._scan.refresh().groups)

    def rejected(self, name: str) -> list[str] | None:
        """Return why files of a project are not served, by its normalized name.

        Returns:
            One line a file; `None`: the directory has nothing of that name.
        """
        files = self._scan.refresh().groups.get(name)
        if files is None:
            return None
        ordered = sorted(files, key=lambda file: (not file.project, file.name))
        entries = [self._scan.entry(file.name) for file in ordered]
        return [entry.problem for entry in entries if entry is not None and entry.problem]

    def problem(self, name: str) -> str | None:
        """Return why a file is not served; `None`: it is served, or not there."""
        self._scan.refresh()
        entry = self._scan.entry(name)
        return entry.problem if entry is not None else None

    def everything(self) -> tuple[Project, ...]:
        """Find all projects that have files, sorted; the same object as long as nothing changes."""
        published, found = self._scan.refresh(), self._everything
        if found[0] is not published:
            projects = filter(None, map(self.project, published.projects))
            found = published, tuple(project for project in projects if project.files)
            self._everything = found
        return found[1]

    def find(self, name: str) -> Entry | None:
        """Find a file by its name."""
        self._scan.refresh()
        entry = self._scan.entry(name)
        return entry if entry is not None and not entry.problem else None

    def open(self, name: str) -> tuple[Entry, FileIO] | None:
        """Open a file for reading, if it is still the one that the pages tell of."""
        # Once more, for a file that was replaced between the look at the catalog and the opening.
        for _ in range(2):
            if (entry := self.find(name)) is None:
                return None
            try:
                descriptor = os.open(
                    f"{self._path}/{name}",
                    # A pipe that has taken its place would be waited for.
                    os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC,
                )
            except FileNotFoundError:
                return None
            except OSError as error:
                _log.warning("%s cannot be opened: %s", name, error.strerror)
                self._scan.check([entry])
                return None
            # Of what was opened, not of the name, which may lead elsewhere in the next moment.
            if Identity.of(os.fstat(descriptor)) == entry.identity:
                return entry, FileIO(descriptor)
            os.close(descriptor)
            self._scan.check([entry])
        return None

    def metadata(self, name: str) -> tuple[str, bytes] | None:
        """Read the core metadata of a wheel; with their hash, the one that its page tells."""
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
        # pip refuses a wheel whose metadata has another hash than the page tells: better none at
        # all.
        return (digest, found) if digest == entry.metadata_sha256 else None

    def summary(self) -> str:
        """Return projects and files, `12 projects, 57 files`; or why there are none."""
        try:
            return self._scan.refresh().summary
        except InsidersError as error:
            return error.message

    def keep_up(self) -> NoReturn:
        """Examine files as they come; for a thread of its own that ends with the process."""
        scan, is_first, trouble = self._scan, True, ""
        while True:
            # Before the look: what comes during it is not missed then.
            scan.news.clear()
            try:
                scan.refresh()
            except InsidersError as error:
                # Once for each reason, and not every ten seconds for days.
                if error.message != trouble:
                    trouble = error.message
                    _log.error("%s; until that is mended, nothing is served", trouble)
                scan.news.clear()
                scan.news.wait(LOOK_AGAIN_AFTER_S)
                continue
            if trouble:
                trouble = ""
                _log.info("%s can be read again", self._path)
            if is_first:
                is_first = False
                # Only after a listing that succeeded, or a disk that is not mounted yet would lose
                # all that is known.
                scan.forget_gone()
            self._learn(scan.published.groups)
            while scan.examine_next():
                pass
            if not scan.news.wait(scan.pause_s):
                scan.look_again()

    def _check(self, project: str) -> None:
        """See whether files of a project were changed in their place, once a second at most."""
        now_s = time.monotonic()
        if now_s - self._checked_at_s.get(project, -_CHECKED_FOR_S) >= _CHECKED_FOR_S:
            self._checked_at_s[project] = now_s
            # A file that was truncated, overwritten or closed to us would still be on the page.
            entries = (file.entry for file in self._scan.published.of_project(project))
            self._scan.check(entry for entry in entries if entry and not entry.problem)


def make_directory_if_new(
    directory: Path, cache: MetadataCache, origins: Mapping[str, object]
) -> None:
    """Make a distributions directory where there is none and was none.

    Otherwise what was published is gone with it, which an empty one would hide.

    Raises:
        InsidersError: it cannot be made.
    """
    # If anything was ever published, its directory is lost, and that has to be a problem.
    if _is_missing(directory) and not cache.entries() and not origins:
        make_directory(directory)


def _is_missing(directory: Path) -> bool:
    """Return whether there is no such directory, and not only none that we may look at."""
    try:
        directory.stat()
    except FileNotFoundError:
        return True
    except OSError:
        pass
    return False
