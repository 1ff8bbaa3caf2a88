"""Examine single files of the distributions directory."""

import contextlib
import logging
import os
import stat
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from pypi_insiders.index import distribution, file_contents, twins
from pypi_insiders.index.distribution import DistributionError
from pypi_insiders.index.file_contents import Contents
from pypi_insiders.index.metadata_cache import Entry, Identity, MetadataCache, Origin, describe

_log = logging.getLogger(__package__)

UNKNOWN = Identity(0, 0, 0)
"""Of a file that could not be read; no file has it."""

Origins = Callable[[], Mapping[str, tuple[str, Origin | None, int]]]
"""Return what the cache may have lost: file name to sha256, origin, and seconds of the epoch."""

_SAME_FOR_S = 1.0
_PAUSES = 10
"""How many times as long as it takes to read the origins, they are kept."""


class FileScanner:
    """Read each file once, and write its entry to the cache.

    Args:
        directory: the distributions directory.
        cache: the metadata of its files.
        origins: returns the origins of files that the cache has lost.
        is_guarded: whether to reject files that differ from the published ones.
    """

    def __init__(
        self, directory: Path, cache: MetadataCache, origins: Origins, *, is_guarded: bool = False
    ) -> None:
        self._is_guarded = is_guarded
        self._directory = directory
        self._cache = cache
        self._find_origins = origins
        self._found: Mapping[str, tuple[str, Origin | None, int]] = {}
        self._find_at_s = 0.0

    def identity(self, name: str) -> Identity | None:
        """Return the current identity of a file; `None`: it is gone, or not readable."""
        path = f"{self._directory}/{name}"
        try:
            status = os.lstat(path)
        except OSError:
            return None
        # chmod(1) changes neither size nor mtime.
        is_closed = stat.S_ISREG(status.st_mode) and not os.access(path, os.R_OK)
        return None if is_closed else Identity.of(status)

    def examine(self, name: str, others: Iterable[str] = ()) -> Entry | None:
        """Return the entry of a file, with a problem if it must not be served; `None` if gone.

        Args:
            name: of the file.
            others: the sdists and wheels of its project, with itself.

        A guarded file must be the published one, by the hash in the state or else in the cache;
        otherwise its entry keeps the hash, time and origin of the published file.
        """
        path = self._directory / name
        entry = Entry(name, UNKNOWN)
        try:
            # Before stat(2), so that a file that cannot be read still belongs to its project.
            with contextlib.suppress(DistributionError):
                project, version = distribution.release_of(name)
                entry = entry._replace(project=project, version=str(version))
            status = path.lstat()
            entry = entry._replace(identity=Identity.of(status))
            distribution.release_of(name)
            entry = self._remembered(entry)
            if not entry.sha256 and (
                twin := twins.served_instead(self._directory, name, others, self._is_published)
            ):
                # UNKNOWN is not cached, as the other file may be removed.
                return entry._replace(identity=UNKNOWN, problem=twins.problem(name, twin))
            if not stat.S_ISREG(status.st_mode):
                raise DistributionError(f"{name} is a link or a directory, not a file")
            contents = file_contents.read(path)
            # The hash may be of half an old file and half a new one.
            if Identity.of(path.lstat()) != entry.identity:
                return entry._replace(problem=f"{name} changed while it was read")
        except FileNotFoundError:
            return None
        except DistributionError as error:
            return entry._replace(problem=error.message)
        except OSError as error:
            # A permission or an error of the disk, which may be temporary: UNKNOWN is not cached.
            reason = f"{name}: {error.strerror or error}"
            return entry._replace(identity=UNKNOWN, problem=reason)
        return self._known_as(entry, contents)

    def _is_published(self, name: str) -> bool:
        return bool(self._remembered(Entry(name, UNKNOWN)).sha256)

    def _known_as(self, entry: Entry, contents: Contents) -> Entry:
        """Return the entry of a file that was read, and cache it unless it must be rejected."""
        if entry.sha256 not in ("", contents.sha256):
            if self._is_guarded:
                # Read the origins again: an update may have published the file just now.
                self._find_at_s = 0.0
                entry = self._remembered(entry)
            if self._is_guarded and entry.sha256 != contents.sha256:
                problem = f"sha256 {contents.sha256}, expected {entry.sha256}"
                return entry._replace(problem=f"{entry.name} is not the published file: {problem}")
            if not self._is_guarded:
                _log.warning("%s has changed since it was published", entry.name)
                entry = entry._replace(origin=None, published_us=0)
        published_us = entry.published_us or time.time_ns() // 1000
        entry = describe(entry, contents, published_us, entry.origin)
        self._cache.put(entry, contents.metadata)
        return entry

    def _remembered(self, entry: Entry) -> Entry:
        """Return an entry with hash, time and origin of the published file of its name."""
        old = self._cache.entry(entry.name)
        digest, origin, built_at_s = self._origins().get(entry.name, ("", None, 0))
        if digest and (old is None or old.sha256 != digest or old.origin is None):
            return entry._replace(sha256=digest, origin=origin, published_us=built_at_s * 1_000_000)
        if old is None:
            return entry
        return entry._replace(sha256=old.sha256, origin=old.origin, published_us=old.published_us)

    def _origins(self) -> Mapping[str, tuple[str, Origin | None, int]]:
        # Kept for a while: reading all states takes milliseconds a repository, and with a lost
        # cache it is done for every file. Longer where it takes longer, or a thousand repositories
        # were read again most of the time.
        begun_s = time.monotonic()
        if begun_s >= self._find_at_s:
            self._found = self._find_origins()
            now_s = time.monotonic()
            self._find_at_s = now_s + max(_SAME_FOR_S, _PAUSES * (now_s - begun_s))
        return self._found
