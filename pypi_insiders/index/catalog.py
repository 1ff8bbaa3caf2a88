"""Know what the distributions directory holds, at the cost of one stat(2) while nothing changes."""

import logging
import os
import stat
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from io import FileIO
from pathlib import Path
from typing import NoReturn

from packaging.utils import canonicalize_version
from packaging.version import Version

from pypi_insiders.index import distribution, yanks
from pypi_insiders.index.distribution import DistributionError
from pypi_insiders.index.metadata_cache import Entry, Identity, MetadataCache
from pypi_insiders.index.scanner import UNKNOWN, FileScanner, Origins
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import hint_for, make_directory
from pypi_insiders.util.words import counted

_log = logging.getLogger(__name__)

# So long a file may still be growing: whoever copies it by hand writes it in place.
_SETTLED_AFTER_NS = 2_000_000_000
# The kernel's clock for files advances in ticks of up to 10 ms; within one, changes look alike.
_TICK_NS = 20_000_000
# `store` enters a file into the cache before it is there.
_ABOUT_TO_COME_US = 3600 * 1_000_000
# What is left out may become whole in its place, of which the directory does not tell.
_LOOK_AGAIN_AFTER_S = 10.0
# Nor does it tell of a file that is changed in its place; a page is looked into as often as this.
_SAME_FOR_S = 1.0


@dataclass(frozen=True)
class Project:
    """What the index holds of one project; the same object as long as that does not change."""

    name: str
    """Normalized."""
    files: tuple[Entry, ...]
    """By version, the lowest first."""
    yanked: Mapping[str, str]
    """Version to reason."""

    @property
    def versions(self) -> tuple[str, ...]:
        """Each version once, the lowest first."""
        return tuple(dict.fromkeys(entry.version for entry in self.files))


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
        learn: told which projects the directory has, whenever there are new ones.
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
        self._copies = copies
        self._path = str(directory)
        self._cache = cache
        self._scanner = FileScanner(directory, cache, origins, is_guarded=copies is not None)
        self._remembered = cache.entries()
        self._lock = threading.RLock()
        self._turns: dict[str, threading.Lock] = {}
        self._news = threading.Event()
        # What the directory had at the last look, and when it had changed then.
        self._inodes: dict[str, int] = {}
        self._seen: tuple[int, int] | None = None
        self._yanks: yanks.Yanks | None = None
        # Every visible file is either examined or pending; each time, under a ticket of its own.
        self._entries: dict[str, Entry] = {}
        self._pending: dict[str, object] = {}
        self._unsettled: dict[str, Entry] = {}
        # Those with a problem that the log has named.
        self._left_out: dict[str, Entry] = {}
        self._names: dict[str, list[str]] = {}
        # Projects of files that are no sdist and no wheel, and of which none is served.
        self._odd: dict[str, set[str]] = {}
        self._learn = learn
        self._looked_at_s: dict[str, float] = {}
        # What was made of all that; a new generation makes it anew.
        self._generation = 0
        self._projects: dict[str, Project] = {}
        self._list: tuple[str, ...] | None = None
        self._everything: tuple[int, tuple[Project, ...]] | None = None
        self._summary: str | None = None

    def refresh(self) -> None:
        """Look at the directory if it has changed since the last look.

        Raises:
            InsidersError: it cannot be read, as with every question.
        """
        try:
            status = os.stat(self._path)  # noqa: PTH116 - half the cost of Path.stat
        except OSError as error:
            raise self._trouble(error) from error
        # Of the change, which nobody can set back, as backups and archives do with the other time.
        seen = (status.st_ctime_ns, status.st_ino)
        if seen == self._seen and not self._unsettled:
            return
        with self._lock:
            if seen != self._seen:
                self._scan(seen)
            for entry in tuple(self._unsettled.values()):
                self._settle(entry)

    def projects(self) -> tuple[str, ...]:
        """Name all that have files, sorted; the same object as long as they do not change."""
        self.refresh()
        with self._lock:
            if self._list is None:
                self._list = tuple(sorted(filter(self._has_files, self._names)))
            return self._list

    def project(self, name: str) -> Project | None:
        """Find a project by its normalized name; examine its files if that was not done yet.

        One of which every file is left out has none, but is there: its name must not lead to the
        fallback.
        """
        self.refresh()
        if name not in self._names:
            return None
        self._look_into(name)
        known = self._projects.get(name)
        if known is not None:
            return known
        with self._lock:
            generation, names = self._generation, tuple(self._names.get(name, ()))
        found = [entry for entry in map(self._examined, names) if entry and not entry.problem]
        if not names:
            return None
        found.sort(key=lambda entry: (Version(entry.version), entry.name))
        with self._lock:
            yanked = _yanked(found, (self._yanks or {}).get(name, {}))
            project = Project(name, tuple(found), yanked)
            if generation == self._generation:
                self._projects[name] = project
            return project

    def names(self) -> set[str]:
        """Return every project of which there is a file, in whatever form and state."""
        self.refresh()
        with self._lock:
            return {*self._names, *self._odd}

    def rejected(self, name: str) -> list[str] | None:
        """Say why files of a project are not served, by its normalized name.

        Returns:
            One line a file; `None`: the directory has nothing of that name.
        """
        self.refresh()
        with self._lock:
            files = [*self._names.get(name, ()), *sorted(self._odd.get(name, ()))]
        if not files:
            return None
        found = []
        for file in files:
            entry = self._examined(file)
            if entry is not None and entry.problem:
                found.append(entry.problem)
        return found

    def problem(self, name: str) -> str | None:
        """Say why a file is not served; `None`: it is, or it is not there."""
        self.refresh()
        entry = self._examined(name) if name in self._inodes else None
        return entry.problem if entry is not None else None

    def everything(self) -> tuple[Project, ...]:
        """Find all projects that have files, sorted; the same object as long as nothing changes."""
        self.refresh()
        kept, generation = self._everything, self._generation
        if kept is None or kept[0] != generation:
            found = filter(None, map(self.project, self.projects()))
            kept = generation, tuple(project for project in found if project.files)
            self._everything = kept
        return kept[1]

    def find(self, name: str) -> Entry | None:
        """Find a file by its name."""
        self.refresh()
        entry = self._entries.get(name)
        if entry is None and name in self._inodes:
            entry = self._examined(name)
        return entry if entry is not None and not entry.problem else None

    def open(self, name: str) -> tuple[Entry, FileIO] | None:
        """Open a file for reading, if it is still the one that the pages tell of."""
        for _ in range(2):
            entry = self.find(name)
            if entry is None:
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
                with self._lock:
                    self._check(entry)
                return None
            if Identity.of(os.fstat(descriptor)) == entry.identity:
                return entry, FileIO(descriptor)
            os.close(descriptor)
            with self._lock:
                self._check(entry)
        return None

    def metadata(self, name: str) -> tuple[str, bytes] | None:
        """Read the core metadata of a wheel; with their hash, the one that its page tells."""
        entry = self.find(name)
        if entry is None or entry.metadata_sha256 is None:
            return None
        found = self._cache.metadata(entry)
        if found is None:
            try:
                found = distribution.read(self.directory / name).metadata
            except (DistributionError, OSError):
                return None
        digest = sha256(found).hexdigest()
        return (digest, found) if digest == entry.metadata_sha256 else None

    def summary(self) -> str:
        """Tell projects and files, `12 projects, 57 files`; or why there are none."""
        try:
            self.refresh()
        except InsidersError as error:
            return error.message
        summary = self._summary
        if summary is None:
            with self._lock:
                broken = sum(1 for item in self._entries.values() if item.problem and item.project)
                files = sum(map(len, self._names.values())) - broken
                summary = self._summary = (
                    f"{counted(len(self.projects()), 'project')}, {counted(files, 'file')}"
                )
        return summary

    def keep_up(self) -> NoReturn:
        """Examine files as they come; for a thread of its own that ends with the process."""
        is_first, trouble = True, ""
        while True:
            self._news.clear()
            try:
                self.refresh()
            except InsidersError as error:
                if error.message != trouble:
                    trouble = error.message
                    _log.error("%s; until that is mended, nothing is served", trouble)
                self._news.clear()
                self._news.wait(_LOOK_AGAIN_AFTER_S)
                continue
            if trouble:
                trouble = ""
                _log.info("%s can be read again", self._path)
            if is_first:
                is_first = False
                self._forget_the_gone()
            self._learn((*self._names, *self._odd))
            while name := self._next_pending():
                self._examined(name)
            if self._unsettled:
                pause_s: float | None = _SETTLED_AFTER_NS / 1e9
            else:
                pause_s = _LOOK_AGAIN_AFTER_S if self._left_out else None
            if not self._news.wait(pause_s):
                with self._lock:
                    self._look_again()

    def _next_pending(self) -> str | None:
        with self._lock:
            return next(iter(self._pending), None)

    def _forget_the_gone(self) -> None:
        """Drop from the cache what is no longer there, unless it is about to come.

        Where it is remembered what was published, only what never was.
        """
        with self._lock:
            before_us = time.time_ns() // 1000 - _ABOUT_TO_COME_US
            gone = [
                name
                for name, entry in self._remembered.items()
                if entry.published_us < before_us and not (self._copies and entry.sha256)
            ]
            self._remembered.clear()
        if gone:
            self._cache.forget(gone)

    def _has_files(self, project: str) -> bool:
        entries = (self._entries.get(name) for name in self._names[project])
        return any(entry is None or not entry.problem for entry in entries)

    def _scan(self, seen: tuple[int, int]) -> None:
        begun_ns = time.time_ns()
        self._seen = None
        try:
            with os.scandir(self._path) as items:
                inodes = {
                    item.name: item.inode() for item in items if not item.name.startswith(".")
                }
        except OSError as error:
            raise self._trouble(error) from error
        self._load_yanks()
        for name in self._inodes.keys() - inodes.keys():
            self._drop(name)
            self._left_out.pop(name, None)
        for name, inode in inodes.items():
            if name not in self._inodes:
                self._take(name)
            elif self._inodes[name] != inode:
                self._drop(name)
                self._take(name)
        self._inodes = inodes
        self._look_again()
        # Another change within the same tick would not be seen: then the next one looks again.
        is_recent = -_SETTLED_AFTER_NS < begun_ns - seen[0] < _TICK_NS
        self._seen = None if is_recent else seen

    def _load_yanks(self) -> None:
        try:
            loaded = yanks.load(self.directory, self._copies)
        except InsidersError as error:
            if self._yanks is None:
                self._news.set()
                raise
            _log.error("%s; what was yanked before stays so", error.message)
            return
        if loaded != self._yanks:
            self._yanks = loaded
            self._projects.clear()
            self._generation += 1

    def _trouble(self, error: OSError) -> InsidersError:
        """Say why nothing can be told; the next question looks again."""
        self._seen = None
        self._news.set()  # for the log
        is_missing = isinstance(error, FileNotFoundError)
        return InsidersError(
            f"cannot read {self._path}: {error.strerror or error}",
            "is anything published? `pypi-insiders update`" if is_missing else hint_for(error),
        )

    def _look_again(self) -> None:
        """See whether what is left out has been mended in its place."""
        for entry in tuple(self._left_out.values()):
            if entry.project and self._entries.get(entry.name) is entry:
                self._check(entry)

    def _take(self, name: str) -> None:
        """Take in a file that has come: it is known from before, or it is to be examined."""
        if not _is_text(name):
            entry = Entry(name, UNKNOWN, problem=f"the name {name!r} is not UTF-8")
            _log.warning("not served: %s", entry.problem)  # the cache takes text only
            self._entries[name] = entry
            return
        known = self._remembered.pop(name, None) or self._cache.entry(name)
        if known is not None and known.identity == self._identity(name):
            self._entries[name] = known
            if known.problem:
                self._left_out[name] = known
        else:
            self._pending[name] = object()
            self._news.set()
        if project := self._project_of(name):
            self._names.setdefault(project, []).append(name)
            self._invalidate(project)
        else:
            for odd in distribution.possible_projects(name):
                self._odd.setdefault(odd, set()).add(name)

    def _drop(self, name: str) -> None:
        """Let go of a file that is gone, or that is another one now."""
        project = self._project_of(name)
        for known in (self._entries, self._pending, self._unsettled):
            known.pop(name, None)
        if project:
            self._names[project].remove(name)
            if not self._names[project]:
                del self._names[project]
            self._invalidate(project)
        else:
            for odd in distribution.possible_projects(name):
                if files := self._odd.get(odd):
                    files.discard(name)
                    if not files:
                        del self._odd[odd]

    def _project_of(self, name: str) -> str:
        """Read the project off a file name; empty where it is not that of a distribution."""
        if (entry := self._entries.get(name)) is not None:
            return entry.project
        try:
            return distribution.release_of(name)[0]
        except DistributionError:
            return ""

    def _invalidate(self, project: str) -> None:
        self._generation += 1
        self._list = self._summary = None
        self._projects.pop(project, None)

    def _look_into(self, project: str) -> None:
        """See whether files of a project have been changed in their place, at most once a second.

        The directory does not tell: a file that was truncated, overwritten or closed to us would
        still be on the page.
        """
        now_s = time.monotonic()
        if now_s - self._looked_at_s.get(project, -_SAME_FOR_S) < _SAME_FOR_S:
            return
        self._looked_at_s[project] = now_s
        with self._lock:
            for name in tuple(self._names.get(project, ())):
                if (entry := self._entries.get(name)) is not None and not entry.problem:
                    self._check(entry)

    def _settle(self, entry: Entry) -> None:
        """See whether a file that is new on the disk has changed since it was examined."""
        if self._check(entry) and not _may_grow(entry.identity):
            del self._unsettled[entry.name]
            if entry.problem:
                self._leave_out(entry)

    def _check(self, entry: Entry) -> bool:
        """Tell whether an entry is still true; if not, its file is to be examined anew."""
        is_true = self._identity(entry.name) == entry.identity
        if not is_true and self._entries.get(entry.name) is entry:
            self._drop(entry.name)
            self._take(entry.name)
        return is_true

    def _identity(self, name: str) -> Identity | None:
        path = f"{self._path}/{name}"
        try:
            status = os.lstat(path)
        except OSError:
            return None
        # A mode changes neither size nor time.
        is_closed = stat.S_ISREG(status.st_mode) and not os.access(path, os.R_OK)
        return None if is_closed else Identity.of(status)

    def _examined(self, name: str) -> Entry | None:
        """Examine a file unless that was done; `None` if it is gone."""
        while True:
            with self._turn(name):
                with self._lock:
                    known, ticket = self._entries.get(name), self._pending.get(name)
                if known is not None or ticket is None:
                    return known
                found = self._scanner.examine(name)
                with self._lock:
                    # Unless meanwhile another file has taken its place.
                    if self._pending.get(name) is ticket:
                        self._enter(name, found)
                        return found

    def _enter(self, name: str, found: Entry | None) -> None:
        """Note what a file was found to be."""
        if found is None:
            self._drop(name)
            self._inodes.pop(name, None)
            return
        del self._pending[name]
        self._entries[name] = found
        if found.problem and found.project:
            self._invalidate(found.project)
        if not found.problem and name in self._left_out:
            del self._left_out[name]
            _log.info("%s is served now", name)
        if _may_grow(found.identity):
            self._unsettled[name] = found
            self._news.set()
        elif found.problem:
            self._leave_out(found)

    @contextmanager
    def _turn(self, name: str) -> Iterator[None]:
        """Let one thread at a time examine a file."""
        with self._turns.setdefault(name, threading.Lock()):
            yield
        self._turns.pop(name, None)

    def _leave_out(self, entry: Entry) -> None:
        """Say once why a file is not served; over restarts too, unless that may pass."""
        known = self._left_out.get(entry.name)
        self._left_out[entry.name] = entry
        self._news.set()
        if known is None or known.problem != entry.problem:
            _log.warning("not served: %s", entry.problem)
        if entry.identity != UNKNOWN:
            self._cache.put(entry, None)


def make_directory_if_new(
    directory: Path, cache: MetadataCache, origins: Mapping[str, object]
) -> None:
    """Make a distributions directory where there is none and was none.

    Otherwise what was published is gone with it, which an empty one would hide.

    Raises:
        InsidersError: it cannot be made.
    """
    if _is_missing(directory) and not cache.entries() and not origins:
        make_directory(directory)


def _is_missing(directory: Path) -> bool:
    """Tell whether there is no such directory, and not only none that we may look at."""
    try:
        directory.stat()
    except FileNotFoundError:
        return True
    except OSError:
        pass
    return False


def _yanked(entries: Iterable[Entry], yanked: Mapping[str, str]) -> dict[str, str]:
    """Tell which versions are yanked, in the spelling that the files have."""
    reasons = {canonicalize_version(version): reason for version, reason in yanked.items()}
    return {
        entry.version: reasons[version]
        for entry in entries
        if (version := canonicalize_version(entry.version)) in reasons
    }


def _may_grow(identity: Identity) -> bool:
    return abs(time.time_ns() - identity.mtime_ns) < _SETTLED_AFTER_NS


def _is_text(name: str) -> bool:
    """Tell whether the bytes of a file name are UTF-8. Source: PEP 383."""
    return name.encode(errors="replace").decode() == name
