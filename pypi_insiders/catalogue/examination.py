"""Find out what one file of the distributions directory is."""

import logging
import stat
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from pypi_insiders import distribution
from pypi_insiders.distribution import DistributionError
from pypi_insiders.record import Entry, Identity, Origin, Record, describe

_log = logging.getLogger(__package__)

UNKNOWN = Identity(0, 0, 0)
"""Of a file that could not be looked at; no file has it."""

Origins = Callable[[], Mapping[str, tuple[str, Origin | None, int]]]
"""Tell of files what their record lost: name to sha256, origin, and seconds of the epoch."""

_SAME_FOR_S = 1.0


class Examiner:
    """Read files once, and enter in the record what they are.

    Args:
        directory: the distributions directory.
        record: what is known of its files.
        origins: what else tells where they came from.
    """

    def __init__(self, directory: Path, record: Record, origins: Origins) -> None:
        self._directory = directory
        self._record = record
        self._find_origins = origins
        self._found: Mapping[str, tuple[str, Origin | None, int]] = {}
        self._found_at_s = -_SAME_FOR_S

    def examine(self, name: str) -> Entry | None:
        """Read a file; `None` if it is gone, an entry with a problem if it is not to be served."""
        path = self._directory / name
        entry = Entry(name, UNKNOWN)
        try:
            status = path.lstat()
            entry = replace(entry, identity=Identity.of(status))
            project, version = distribution.release_of(name)
            entry = replace(entry, project=project, version=str(version))
            if not stat.S_ISREG(status.st_mode):
                return replace(entry, problem=f"{name} is a link or a directory, not a file")
            contents = distribution.read(path)
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
        old = self._record.entry(name)
        if old is not None and old.sha256 == contents.sha256:
            origin, published_us = old.origin, old.published_us
        else:
            if old is not None and old.sha256:
                _log.warning("%s is another file now than the one that was published", name)
            origin, published_us = self._origin(name, contents.sha256)
        entry = describe(entry, contents, published_us, origin)
        self._record.put(entry, contents.metadata)
        return entry

    def _origin(self, name: str, digest: str) -> tuple[Origin | None, int]:
        known_digest, origin, built_at_s = self._origins().get(name, ("", None, 0))
        if digest == known_digest:
            return origin, built_at_s * 1_000_000
        return None, time.time_ns() // 1000

    def _origins(self) -> Mapping[str, tuple[str, Origin | None, int]]:
        """Find out all origins; of many files at once not for each anew."""
        if time.monotonic() - self._found_at_s >= _SAME_FOR_S:
            self._found, self._found_at_s = self._find_origins(), time.monotonic()
        return self._found
