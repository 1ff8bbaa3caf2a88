"""Keep a snapshot of the distributions directory, and the queue of its files to examine."""

import logging
import threading
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from pypi_insiders.index import distribution, listing, yanks
from pypi_insiders.index.distribution import DistributionError
from pypi_insiders.index.metadata_cache import Entry, Identity, MetadataCache
from pypi_insiders.index.published import ListedFile, PublishedFiles
from pypi_insiders.index.scanner import UNKNOWN, FileScanner
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import cannot

_log = logging.getLogger(__package__)

# So long a file may still be growing: whoever copies it by hand writes it in place.
_SETTLED_AFTER_NS = 2_000_000_000
# `store` enters a file into the cache before it is there.
_ABOUT_TO_COME_US = 3600 * 1_000_000
# What is rejected may become whole in its place, of which the directory does not tell.
LOOK_AGAIN_AFTER_S = 10.0


class DirectoryScan:
    """The directory as it was listed last; only this class replaces the snapshot.

    Readers take `published` without a lock. Every file in it is either examined or in the queue.

    Args:
        directory: the distributions directory.
        cache: what is known of its files.
        scanner: examines them.
        copies: the directory of the state, which has a copy of the list of yanks; `None`: none.
    """

    def __init__(
        self, directory: Path, cache: MetadataCache, scanner: FileScanner, copies: Path | None
    ) -> None:
        self.published = PublishedFiles()
        self.news = threading.Event()
        """Set when there is a file to examine or an error to log."""
        self._directory = directory
        self._path = str(directory)
        self._cache = cache
        self._scanner = scanner
        self._copies = copies
        self._remembered = cache.entries()
        self._lock = threading.RLock()
        # One lock a file: two requests for one must not both hash it, and those for others not
        # wait.
        self._turns: dict[str, threading.Lock] = {}
        self._stamp: listing.Stamp | None = None
        self._inodes: dict[str, int] = {}
        self._pending: dict[ListedFile, None] = {}
        self._unsettled: dict[ListedFile, None] = {}
        self._rejected = _RejectedFiles(cache)

    def refresh(self) -> PublishedFiles:
        """List the directory if it has changed since it was listed; return what it has.

        Raises:
            InsidersError: the directory or its list of yanks cannot be read.
        """
        try:
            stamp = listing.stamp(self._path)
        except OSError as error:
            self.news.set()  # for the log
            raise _cannot_read(self._directory, error) from error
        if stamp != self._stamp or self._unsettled:
            with self._lock:
                if stamp != self._stamp:
                    self._scan()
                self.check([file.entry for file in self._unsettled if file.entry])
                for file in tuple(self._unsettled):
                    if file.entry is not None and not _may_grow(file.entry.identity):
                        del self._unsettled[file]
                        if file.entry.problem:
                            self._rejected.add(file.entry)
        return self.published

    def entry(self, name: str) -> Entry | None:
        """Return what a file is, by its name; `None` if it is gone."""
        while (file := self.published.files.get(name)) is not None:
            if (found := file.entry or self.examined(file)) is not None:
                return found
        return None

    def examined(self, file: ListedFile) -> Entry | None:
        """Examine a file unless that was done; `None` if it is gone, or another one by now."""
        if file.entry is not None:
            return file.entry
        with self._turns.setdefault(file.name, threading.Lock()):
            # Unless another file has taken its place, or does so meanwhile.
            if file.entry is None and self.published.files.get(file.name) is file:
                found = self._scanner.examine(file.name)
                with self._lock:
                    if file.entry is None and self.published.files.get(file.name) is file:
                        self._enter(file, found)
        # Whoever waits for this lock still has it, and finds the entry set.
        self._turns.pop(file.name, None)
        return file.entry

    def examine_next(self) -> bool:
        """Examine the first file of the queue; return whether there was one."""
        with self._lock:
            file = next(iter(self._pending), None)
        if file is not None:
            self.examined(file)
        return file is not None

    def check(self, entries: Iterable[Entry]) -> None:
        """Replace the files that are no longer what they were found to be, to be examined anew."""
        with self._lock:
            files = self.published.files
            changed = [
                entry.name
                for entry in entries
                if (file := files.get(entry.name)) is not None
                and file.entry is entry
                and self._scanner.identity(entry.name) != entry.identity
            ]
            if changed:
                self._replace(changed, changed)

    def look_again(self) -> None:
        """Replace the rejected files that have been mended in their place."""
        with self._lock:
            self.check([entry for entry in self._rejected.entries.values() if entry.project])

    @property
    def pause_s(self) -> float | None:
        """After how many seconds files may be worth another look; `None`: not before news."""
        if self._unsettled:
            return _SETTLED_AFTER_NS / 1e9
        return LOOK_AGAIN_AFTER_S if self._rejected.entries else None

    def forget_gone(self) -> None:
        """Drop from the cache what the first listing did not have."""
        with self._lock:
            gone = _forgettable(self._remembered.values(), is_guarded=self._copies is not None)
            self._remembered.clear()
        if gone:
            self._cache.forget(gone)

    def _scan(self) -> None:
        # Until all of it has gone well: what raises here is tried again by the next question.
        self._stamp = None
        try:
            listed = listing.read(self._directory)
        except OSError as error:
            self.news.set()  # for the log
            raise _cannot_read(self._directory, error) from error
        self._load_yanks()
        gone, new = listing.diff(self._inodes, listed.inodes)
        for name in gone:
            if name not in listed.inodes:
                self._rejected.entries.pop(name, None)
        if gone or new:
            self._replace(gone, new)
        self._inodes = listed.inodes
        self.look_again()
        self._stamp = listed.stamp

    def _load_yanks(self) -> None:
        try:
            loaded = yanks.load(self._directory, self._copies)
        except InsidersError as error:
            # At a start nobody knows what was yanked, and a release that was yanked for a reason
            # must not be served: then nothing is.
            if self.published.yanked is None:
                self.news.set()
                raise
            _log.error("%s; what was yanked before stays so", error.message)
            return
        if loaded != self.published.yanked:
            self.published = replace(self.published, yanked=loaded, pages={})

    def _replace(self, gone: Iterable[str], new: Iterable[str]) -> None:
        """Swap the snapshot for one without the files that are gone, and with the new ones."""
        for name in gone:
            file = self.published.files[name]
            self._pending.pop(file, None)
            self._unsettled.pop(file, None)
        files = [self._listed(name) for name in new]
        pending = [file for file in files if file.entry is None]
        self.published = self.published.with_changes(gone, files)
        self._pending |= dict.fromkeys(pending)
        if pending:
            self.news.set()

    def _listed(self, name: str) -> ListedFile:
        if not _is_text(name):
            entry = Entry(name, UNKNOWN, problem=f"the name {name!r} is not UTF-8")
            _log.warning("not served: %s", entry.problem)  # the cache takes text only
            return ListedFile(name, "", entry)
        # All at once at a start; later one by one, for what another process has just published.
        known = self._remembered.pop(name, None) or self._cache.entry(name)
        if known is not None and known.identity == self._scanner.identity(name):
            if known.problem:
                self._rejected.entries[name] = known
            return ListedFile(name, known.project, known)
        try:
            return ListedFile(name, distribution.release_of(name)[0])
        except DistributionError:
            return ListedFile(name, "")

    def _enter(self, file: ListedFile, found: Entry | None) -> None:
        if found is None:
            self._inodes.pop(file.name, None)
            self._replace([file.name], [])
            return
        del self._pending[file]
        file.entry = found
        if not found.problem:
            self._rejected.discard(file.name)
        elif file.project:
            self.published = replace(self.published)  # whose lists leave the file out
        if _may_grow(found.identity):
            self._unsettled[file] = None
            self.news.set()
        elif found.problem:
            self._rejected.add(found)
            self.news.set()


def _cannot_read(directory: Path, error: OSError) -> InsidersError:
    found = cannot("read", directory, error)
    if isinstance(error, FileNotFoundError):
        found.hint = "is anything published? `pypi-insiders update`"
    return found


class _RejectedFiles:
    """The files that are not served; the log says once why, over restarts too."""

    def __init__(self, cache: MetadataCache) -> None:
        self._cache = cache
        self.entries: dict[str, Entry] = {}

    def add(self, entry: Entry) -> None:
        known = self.entries.get(entry.name)
        self.entries[entry.name] = entry
        if entry.identity != UNKNOWN:  # which may pass
            self._cache.put(entry, None)
        if known is None or known.problem != entry.problem:
            _log.warning("not served: %s", entry.problem)

    def discard(self, name: str) -> None:
        if self.entries.pop(name, None):
            _log.info("%s is served now", name)


def _forgettable(entries: Iterable[Entry], *, is_guarded: bool) -> list[str]:
    """Return the names of files that are neither about to come nor, if guarded, were published."""
    before_us = time.time_ns() // 1000 - _ABOUT_TO_COME_US
    old = (entry for entry in entries if entry.published_us < before_us)
    return [entry.name for entry in old if not (is_guarded and entry.sha256)]


def _may_grow(identity: Identity) -> bool:
    return abs(time.time_ns() - identity.mtime_ns) < _SETTLED_AFTER_NS


def _is_text(name: str) -> bool:
    """Return whether the bytes of a file name are UTF-8. Source: PEP 383."""
    return name.encode(errors="replace").decode() == name
