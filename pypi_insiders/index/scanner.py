"""Find out what one file of the distributions directory is."""

import contextlib
import logging
import os
import stat
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from pypi_insiders.index import distribution, file_contents
from pypi_insiders.index.distribution import DistributionError
from pypi_insiders.index.file_contents import Contents
from pypi_insiders.index.metadata_cache import Entry, Identity, MetadataCache, Origin, describe

_log = logging.getLogger(__package__)

UNKNOWN = Identity(0, 0, 0)
"""Of a file that could not be looked at; no file has it."""

Origins = Callable[[], Mapping[str, tuple[str, Origin | None, int]]]
"""Tell of files what the cache lost: name to sha256, origin, and seconds of the epoch."""

_SAME_FOR_S = 1.0


class FileScanner:
    """Read files once, and enter in the cache what they are.

    Args:
        directory: the distributions directory.
        cache: what is known of its files.
        origins: what else tells where they came from.
        is_guarded: whether a file is left out that is not the one that was published.
    """

    def __init__(
        self, directory: Path, cache: MetadataCache, origins: Origins, *, is_guarded: bool = False
    ) -> None:
        self._is_guarded = is_guarded
        self._directory = directory
        self._cache = cache
        self._find_origins = origins
        self._found: Mapping[str, tuple[str, Origin | None, int]] = {}
        self._found_at_s = -_SAME_FOR_S

    def identity(self, name: str) -> Identity | None:
        """Return by what a file is known now; `None`: it is gone, or closed to us."""
        path = f"{self._directory}/{name}"
        try:
            status = os.lstat(path)
        except OSError:
            return None
        # A mode changes neither size nor time.
        is_closed = stat.S_ISREG(status.st_mode) and not os.access(path, os.R_OK)
        return None if is_closed else Identity.of(status)

    def examine(self, name: str) -> Entry | None:
        """Read a file; `None` if it is gone, an entry with a problem if it is not to be served.

        Nor is one served that is not the file that was published, by what the state or else the
        cache remembers; its entry keeps the hash, time and origin of the published one.
        """
        path = self._directory / name
        entry = Entry(name, UNKNOWN)
        try:
            # First, so that the file is its project's also while it cannot be looked at.
            with contextlib.suppress(DistributionError):
                project, version = distribution.release_of(name)
                entry = replace(entry, project=project, version=str(version))
            status = path.lstat()
            entry = replace(entry, identity=Identity.of(status))
            distribution.release_of(name)
            entry = self._remembered(entry)
            if not stat.S_ISREG(status.st_mode):
                return replace(entry, problem=f"{name} is a link or a directory, not a file")
            contents = file_contents.read(path)
            # What was hashed may be half of an old file and half of a new one.
            if Identity.of(path.lstat()) != entry.identity:
                return replace(entry, problem=f"{name} changes while it is read")
        except FileNotFoundError:
            return None
        except DistributionError as error:
            return replace(entry, problem=error.message)
        except OSError as error:
            # Of the system or of its mode, and not for ever.
            reason = f"{name}: {error.strerror or error}"
            return replace(entry, identity=UNKNOWN, problem=reason)
        return self._known_as(entry, contents)

    def _known_as(self, entry: Entry, contents: Contents) -> Entry:
        """Compare a file with the published one, and enter it in the cache if it is that."""
        if entry.sha256 not in ("", contents.sha256):
            if self._is_guarded:
                self._found_at_s = -_SAME_FOR_S  # an update may have published it just now
                entry = self._remembered(entry)
            if self._is_guarded and entry.sha256 != contents.sha256:
                problem = f"its sha256 is {contents.sha256}, not {entry.sha256}"
                return replace(entry, problem=f"{entry.name} is not what was published: {problem}")
            if not self._is_guarded:
                _log.warning("%s is another file now than the one that was published", entry.name)
                entry = replace(entry, origin=None, published_us=0)
        published_us = entry.published_us or time.time_ns() // 1000
        entry = describe(entry, contents, published_us, entry.origin)
        self._cache.put(entry, contents.metadata)
        return entry

    def _remembered(self, entry: Entry) -> Entry:
        """Add to an entry what is remembered of the file that was published under its name."""
        old = self._cache.entry(entry.name)
        digest, origin, built_at_s = self._origins().get(entry.name, ("", None, 0))
        if digest and (old is None or old.sha256 != digest or old.origin is None):
            return replace(entry, sha256=digest, origin=origin, published_us=built_at_s * 1_000_000)
        if old is None:
            return entry
        return replace(entry, sha256=old.sha256, origin=old.origin, published_us=old.published_us)

    def _origins(self) -> Mapping[str, tuple[str, Origin | None, int]]:
        """Find out all origins; of many files at once not for each anew."""
        # To read all states costs milliseconds a repository, and after a lost record every file
        # asks.
        if time.monotonic() - self._found_at_s >= _SAME_FOR_S:
            self._found, self._found_at_s = self._find_origins(), time.monotonic()
        return self._found
