"""Know the project names that belong to this index, whatever state the machine is in.

A name is held as long as it is watched, published or remembered. It never leads to the fallback
index: an installer would get a public package where a private one is meant.
"""

import contextlib
import json
import logging
import re
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from packaging.utils import InvalidName, canonicalize_name

from pypi_insiders.config.paths import Paths
from pypi_insiders.index import distribution
from pypi_insiders.index.distribution import DistributionError
from pypi_insiders.index.metadata_cache import MetadataCache
from pypi_insiders.repositories import registry, state
from pypi_insiders.repositories.model import Repository
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import is_there, list_names, locked, read_bytes, write_atomic
from pypi_insiders.util.json_fields import written
from pypi_insiders.util.own_files import recall

_log = logging.getLogger(__name__)

# Names are read even from a list that is no TOML: to hold one too many is the safe mistake.
_DISTRIBUTION = re.compile(r"""^\s*distribution\s*=\s*["']([^"']*)["']""", re.MULTILINE)


@dataclass(frozen=True)
class Names:
    """All held names, as they are written down; the directory may add some."""

    repositories: Mapping[str, str | None]
    """Normalized project name to the repository that it comes from; `None`: a file by hand."""
    watched: Mapping[str, Repository]
    """The watched repositories, by `NS/PROJ`; none if their list cannot be read."""
    unread: InsidersError | None = None
    """Why the list of watched repositories cannot be read."""
    error: InsidersError | None = None
    """Why nobody can know all names: then any other name may be a private one too."""


def load(paths: Paths) -> Names:
    """Read all held names.

    The list of watched repositories and the list of remembered names each make up for the loss of
    the other; a remembered list that is damaged is set aside and made anew from the state.
    """
    remembered = _remembered(paths)
    # A list that lost something looks like any other: what else is known counts as well.
    found: dict[str, str | None] = {**_from_state(paths), **(remembered or {})}
    watched: dict[str, Repository] = {}
    unread = error = None
    try:
        watched = registry.load(paths.repositories)
        found |= {
            name: item.name
            for item in watched.values()
            if (name := item.distribution or _first_built(paths, item.name))
        }
    except InsidersError as broken:
        unread = broken
        salvaged = _salvaged(paths.repositories)
        found |= dict.fromkeys(salvaged - found.keys())
        if remembered is None:
            error = broken
    return Names(found, watched, unread, error)


def _remembered(paths: Paths) -> dict[str, str | None] | None:
    """Read the remembered names; `None` where there is no list, or none that can be read."""
    try:
        return recall(paths.held_names, _understand)
    except InsidersError as error:
        _log.warning("%s", error.message)
        return None


def _understand(text: str) -> dict[str, str | None]:
    content = json.loads(text)
    if not isinstance(content, dict):
        raise TypeError("it is no table")
    if not all(isinstance(value, str | None) for value in content.values()):
        raise TypeError("a repository is no text")
    return content


def _from_state(paths: Paths) -> dict[str, str | None]:
    """Find the names that the state and the directory know."""
    found: dict[str, str | None] = dict.fromkeys(in_directory(paths.distributions))
    if is_there(paths.record):
        with contextlib.closing(MetadataCache(paths.record, paths.distributions)) as record:
            entries = record.entries().values()
            found |= {entry.project: None for entry in entries if entry.project and entry.sha256}
    for name, known in state.everything(paths.state):
        # A version that kept no list of what was taken back left it in the state.
        is_given_up = known.is_old and known.distribution not in found
        if known.distribution and not is_given_up:
            found[known.distribution] = name
    return found


def _first_built(paths: Paths, repository: str) -> str | None:
    with contextlib.suppress(InsidersError):
        return state.load(paths.state, repository).distribution
    return None


def in_directory(directory: Path) -> set[str]:
    """Return the projects of which a directory has a file, in whatever form; none if unreadable."""
    found: set[str] = set()
    with contextlib.suppress(InsidersError):
        for name in list_names(directory):
            if not name.startswith("."):
                try:
                    found.add(distribution.release_of(name)[0])
                except DistributionError:
                    found |= distribution.possible_projects(name)
    return found


def _salvaged(path: Path) -> set[str]:
    """Find names in a list of repositories that cannot be read as one."""
    found: set[str] = set()
    with contextlib.suppress(OSError):
        text = read_bytes(path).decode(errors="replace")
        for name in _DISTRIBUTION.findall(text):
            with contextlib.suppress(InvalidName):
                found.add(canonicalize_name(name, validate=True))
    return found


def sync(paths: Paths) -> None:
    """Write down every name that is watched, published or remembered now.

    Raises:
        InsidersError: the list cannot be written; it is as it was.
    """
    with locked(paths.held_names_lock):
        before = _remembered(paths)
        found = load(paths)
        if found.error is not None:
            return  # a list without those names would look complete
        after = dict.fromkeys(in_directory(paths.distributions)) | dict(found.repositories)
        if after != before:
            _save(paths, after)


def hold(paths: Paths, names: Mapping[str, str]) -> None:
    """Remember names of repositories that have published nothing yet.

    Args:
        paths: where everything is.
        names: normalized project name to `NS/PROJ`; what is held already stays as it is.

    Raises:
        InsidersError: the list cannot be written; it is as it was.
    """
    with locked(paths.held_names_lock):
        before = _remembered(paths) or {}
        if new := {project: name for project, name in names.items() if project not in before}:
            _save(paths, {**before, **new})


def release(paths: Paths, names: Iterable[str]) -> list[str]:
    """Let go of names that are neither watched nor published: they belong to the fallback index.

    Args:
        paths: where everything is.
        names: normalized.

    Returns:
        Those that were held and are not any more, sorted.

    Raises:
        InsidersError: the list cannot be written, or it cannot be read what is watched.
    """
    with locked(paths.held_names_lock):
        before = {**_from_state(paths), **(_remembered(paths) or {})}
        watched = {
            item.distribution or _first_built(paths, item.name)
            for item in registry.load(paths.repositories).values()
        }
        published = in_directory(paths.distributions)
        gone = sorted(before.keys() & set(names) - watched - published)
        if gone:
            _save(paths, {name: value for name, value in before.items() if name not in gone})
    return gone


def _save(paths: Paths, names: Mapping[str, str | None]) -> None:
    write_atomic(paths.held_names, written(dict(sorted(names.items())), indent=1))


class HeldNames:
    """The held names as a server needs them: read again only where a file has changed.

    Everything here may be called from several threads.
    """

    def __init__(self, paths: Paths) -> None:
        self.paths = paths
        self._lock = threading.Lock()
        self._seen: object = None
        self._names = Names({}, {})

    def current(self) -> Names:
        """Return all names; costs two calls of stat(2) as long as nothing changes."""
        seen = self._stamp()
        if seen != self._seen:
            with self._lock:
                if seen != self._seen:
                    self._sync()
                    seen = self._stamp()
                    self._names = load(self.paths)
                    # Last: whoever finds it takes the names as they are, without the lock.
                    self._seen = seen
        return self._names

    def _stamp(self) -> object:
        found = []
        for path in (self.paths.repositories, self.paths.held_names):
            try:
                status = path.stat()
            except OSError as error:
                found.append((error.errno, 0, 0))
            else:
                found.append((status.st_mtime_ns, status.st_ino, status.st_size))
        return tuple(found)

    def learn(self, projects: Iterable[str]) -> None:
        """Remember projects that the directory has, for the day on which it is gone."""
        if not set(projects) <= self.current().repositories.keys():
            self._sync()

    def _sync(self) -> None:
        try:
            sync(self.paths)
        except InsidersError as error:
            _log.warning("the held names cannot be written down: %s", error.message)
