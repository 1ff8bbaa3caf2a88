"""Take snapshots of the distributions directory and queue its new files for examination."""

import logging
import sys
import threading
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from pypi_insiders.index import distribution, listing, packed_entry
from pypi_insiders.index.listing import LastListing
from pypi_insiders.index.metadata_cache import Entry, Identity, MetadataCache
from pypi_insiders.index.packed_entry import Known
from pypi_insiders.index.published import ListedFile, PublishedFiles
from pypi_insiders.index.release_lists import YANKED
from pypi_insiders.index.scanner import UNKNOWN, FileScanner
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import cannot
from pypi_insiders.util.plain_text import encodable

_log = logging.getLogger(__package__)

# A file copied by hand grows in place: one modified less than this ago may be incomplete.
_SETTLED_AFTER_NS = 2_000_000_000
# `store` enters a file into the cache before it creates the file; a publication is over by then.
_ABOUT_TO_COME_US = 3600 * 1_000_000
# A rejected file may be completed in place, which does not change the directory.
LOOK_AGAIN_AFTER_S = 10.0
# A listing that may lack the last changes is repeated by the next request, or else after this.
_LIST_AGAIN_AFTER_S = 1.0


class DirectoryScan:
    """The last listing of the directory; only this class replaces the snapshot.

    Readers use `published` without a lock. Each file in it is either examined or queued.

    Args:
        directory: the distributions directory.
        cache: the metadata of its files.
        scanner: examines files.
        copies: the directory of the state, with a copy of the list of yanks; `None`: no copy.
        only: the names to be listed; `None`: all.
    """

    def __init__(
        self,
        directory: Path,
        cache: MetadataCache,
        scanner: FileScanner,
        copies: Path | None,
        only: Collection[str] | None,
    ) -> None:
        self.published = PublishedFiles()
        self.news = threading.Event()
        """Set when there is a file to examine or an error to log."""
        self.directory, self._path = directory, str(directory)
        self._scanner = scanner
        self._copies, self._only = copies, only
        self._recorded = _RecordedFiles(cache)
        self._lock = threading.RLock()
        # One lock a file: no file is hashed twice, and requests for other files do not wait.
        self._turns: dict[str, threading.Lock] = {}
        self._last = LastListing()
        self._pending: dict[ListedFile, None] = {}
        self._unsettled: dict[ListedFile, None] = {}
        self._rejected = _RejectedFiles(cache)

    def refresh(self, *, is_patient: bool = False) -> PublishedFiles:
        """Return the current snapshot; list the directory first unless `LastListing.is_current`.

        Raises:
            InsidersError: the directory or its list of yanks cannot be read.
        """
        try:
            stamp = listing.stamp(self._path)
        except OSError as error:
            self.news.set()  # for the log
            raise _cannot_read(self.directory, error) from error
        if not self._last.is_current(stamp, is_patient=is_patient) or self._unsettled:
            with self._lock:
                if not self._last.is_current(stamp, is_patient=is_patient):
                    self._scan()
                self.check([file.name for file in self._unsettled])
                for file in tuple(self._unsettled):
                    if (entry := file.entry) is not None and not _may_grow(entry.identity):
                        del self._unsettled[file]
                        if entry.problem:
                            self._rejected.add(entry)
        return self.published

    def unread(self) -> list[ListedFile]:
        """Return the files that are not examined yet."""
        with self._lock:
            return list(self._pending)

    def entry(self, name: str) -> Entry | None:
        """Return the entry of a file by its name; `None` if it is gone."""
        while (file := self.published.files.get(name)) is not None:
            if self.examine(file):
                return file.entry
        return None

    def examine(self, file: ListedFile) -> bool:
        """Examine a file if necessary; return whether it is still there, and the same."""
        if file.known is not None:
            return True
        with self._turns.setdefault(file.name, threading.Lock()):
            # Checked before and after the slow read: another file may take its place meanwhile.
            if file.known is None and self.published.files.get(file.name) is file:
                project = self.published.of_project(file.project)
                found = self._scanner.examine(file.name, [it.name for it in project])
                with self._lock:
                    if file.known is None and self.published.files.get(file.name) is file:
                        self._enter(file, found)
        # Threads that wait for this lock keep a reference to it, and find the entry set.
        self._turns.pop(file.name, None)
        return file.known is not None

    def examine_next(self) -> bool:
        """Examine a file of the queue; return whether there was one."""
        with self._lock:
            # The last one: to find the first takes longer with each one that was removed.
            file = next(reversed(self._pending), None)
        if file is not None:
            self.examine(file)
        return file is not None

    def check(self, names: Iterable[str]) -> None:
        """Queue the files that have changed since they were examined."""
        with self._lock:
            changed = {
                name: file.inode
                for name in names
                if (file := self.published.files.get(name)) is not None
                and file.known is not None
                and self._scanner.identity(name) != packed_entry.identity(file.known)
            }
            if changed:
                self._replace(changed, changed)

    def look_again(self) -> None:
        """Queue the rejected files that have changed in place."""
        with self._lock:
            self.check([entry.name for entry in self._rejected.entries.values() if entry.project])

    @property
    def pause_s(self) -> float | None:
        """Seconds until files are to be checked again; `None`: wait for news."""
        if not self._last.is_final:
            return _LIST_AGAIN_AFTER_S
        if self._unsettled:
            return _SETTLED_AFTER_NS / 1e9
        return LOOK_AGAIN_AFTER_S if self._rejected.entries else None

    def forget_gone(self) -> None:
        """Drop the files from the cache that the first listing did not contain."""
        with self._lock:
            self._recorded.forget_gone(is_guarded=self._copies is not None)

    def _scan(self) -> None:
        # Reset until the end of this method: after an exception, the next request scans again.
        self._last = LastListing()
        try:
            found = listing.compare(self.directory, self.published.files, self._only)
        except OSError as error:
            self.news.set()  # for the log
            raise _cannot_read(self.directory, error) from error
        self._load_yanks()
        for name in found.gone:
            self._rejected.entries.pop(name, None)
        if found.gone or found.new:
            replaced = (name for name in found.new if name in self.published.files)
            self._replace({*found.gone, *replaced}, found.new)
        self.look_again()
        self._last = LastListing(found.stamp, found.is_final)

    def _load_yanks(self) -> None:
        try:
            loaded = YANKED.load(self.directory, self._copies)
        except InsidersError as error:
            # Fail closed: after a start, a yanked release would be offered as a good one.
            if self.published.yanked is None:
                self.news.set()
                raise
            _log.error("%s; releases yanked before stay yanked", error.message)
            return
        if loaded != self.published.yanked:
            self.published = replace(self.published, yanked=loaded, pages={})

    def _replace(self, gone: Iterable[str], new: Mapping[str, int]) -> None:
        """Replace the snapshot by one without some file names, and with those of new inodes."""
        for file in map(self.published.files.__getitem__, gone):
            self._pending.pop(file, None)
            self._unsettled.pop(file, None)
        files = [self._listed(name, inode) for name, inode in new.items()]
        pending = [file for file in files if file.known is None]
        self.published = self.published.with_changes(gone, files)
        self._pending |= dict.fromkeys(pending)
        if pending:
            self.news.set()

    def _listed(self, name: str, inode: int) -> ListedFile:
        if not _is_text(name):
            entry = Entry(name, UNKNOWN, problem=f"the file name {name!r} is not UTF-8")
            _log.warning("not served: %s", entry.problem)  # not cached: SQLite takes UTF-8 only
            return ListedFile(name, "", inode, entry)
        known = self._recorded.take(name)
        project = sys.intern(distribution.project_of(name))
        if known is not None and packed_entry.identity(known) == self._scanner.identity(name):
            if isinstance(known, Entry):
                self._rejected.entries[name] = known
            return ListedFile(name, project, inode, known)
        return ListedFile(name, project, inode)

    def _enter(self, file: ListedFile, found: Entry | None) -> None:
        if found is None:
            self._replace([file.name], {})
            return
        del self._pending[file]
        file.known = packed_entry.pack(found)
        if not found.problem:
            self._rejected.discard(file.name)
        elif file.project:
            # A new object, as `projects` and `summary` of the old one are cached with this file.
            self.published = replace(self.published)
        if _may_grow(found.identity):
            self._unsettled[file] = None
            self.news.set()
        elif found.problem:
            self._rejected.add(found)
            self.news.set()


def _cannot_read(directory: Path, error: OSError) -> InsidersError:
    found = cannot("read", directory, error)
    if isinstance(error, FileNotFoundError):
        found.hint = "publish releases: `pypi-insiders update`"
    return found


class _RecordedFiles:
    """The entries of the cache, loaded at once at a start, and later one by one."""

    def __init__(self, cache: MetadataCache) -> None:
        self._cache = cache
        self._loaded = cache.converted(packed_entry.pack)

    def take(self, name: str) -> Known | None:
        known = self._loaded.pop(name, None)
        # Another process may have published the file since.
        if known is None and (entry := self._cache.entry(name)) is not None:
            known = packed_entry.pack(entry)
        return known

    def forget_gone(self, *, is_guarded: bool) -> None:
        left = (packed_entry.unpack(name, known) for name, known in self._loaded.items())
        if gone := _forgettable(left, is_guarded=is_guarded):
            self._cache.forget(gone)
        self._loaded.clear()


class _RejectedFiles:
    """The files that are not served; each reason is logged once, also across restarts."""

    def __init__(self, cache: MetadataCache) -> None:
        self._cache = cache
        self.entries: dict[str, Entry] = {}

    def add(self, entry: Entry) -> None:
        known = self.entries.get(entry.name)
        self.entries[entry.name] = entry
        if entry.identity != UNKNOWN:  # an error of reading, which may be temporary
            self._cache.put(entry, None)
        if known is None or known.problem != entry.problem:
            _log.warning("not served: %s", entry.problem)

    def discard(self, name: str) -> None:
        if self.entries.pop(name, None):
            _log.info("%s is now served", name)


def _forgettable(entries: Iterable[Entry], *, is_guarded: bool) -> list[str]:
    """Return the files to forget: neither being published now nor, if guarded, ever published."""
    # Guarded, a hash outlives its file: a file of that name with other content is then rejected.
    before_us = time.time_ns() // 1000 - _ABOUT_TO_COME_US
    old = (entry for entry in entries if entry.published_us < before_us)
    return [entry.name for entry in old if not (is_guarded and entry.sha256)]


def _may_grow(identity: Identity) -> bool:
    # abs(): a time in the future is of a clock that was set back, and says nothing.
    return abs(time.time_ns() - identity.mtime_ns) < _SETTLED_AFTER_NS


def _is_text(name: str) -> bool:
    # Other bytes of a name are lone surrogates in Python, which encode to `?`. Source: PEP 383.
    return encodable(name) == name
