"""Know the project names that belong to this index, whatever state the machine is in.

A name is held as long as it is watched, published or remembered. It never leads to the fallback
index: an installer would get a public package where a private one is meant.
"""

import contextlib
import json
import logging
import re
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from packaging.utils import InvalidName, canonicalize_name

from pypi_insiders.config.paths import Paths
from pypi_insiders.index import distribution
from pypi_insiders.index.metadata_cache import MetadataCache
from pypi_insiders.repositories import registry, releases, state
from pypi_insiders.repositories.repository import Repository, add_command
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import is_there, list_names, locked, read_bytes, write_atomic
from pypi_insiders.util.json_fields import written
from pypi_insiders.util.own_files import recall

_log = logging.getLogger(__name__)

_AGAIN_S = 1.0
"""How soon what could not be read is read again."""
# Names are read even from a list that is no TOML: to hold one too many is the safe mistake.
_TABLE = re.compile(r"""^\s*\[\s*["']?([^"'\]]+)""")
_DISTRIBUTION = re.compile(r"""\b(?:project|distribution)["']?\s*=\s*["']+([^"']*)["']""")


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

    The list of watched repositories, and the list of remembered names in its three files, each make
    up for the loss of the others; a remembered list that is damaged is set aside and made anew from
    the state.
    """
    remembered, lost = _remembered(paths)
    # A list that lost something looks like any other: what else is known counts as well.
    found: dict[str, str | None] = {**_from_state(paths), **(remembered or {})}
    watched: dict[str, Repository] = {}
    unread = error = None
    try:
        watched = registry.load(paths.repositories)
        found |= {
            name: item.name
            for item in watched.values()
            if (name := item.project or _first_built(paths, item.name))
        }
    except InsidersError as broken:
        unread = broken
        found = _salvaged(paths.repositories) | found
    if remembered is None:
        error = unread or lost
    # An empty list is as bad as a lost one: of a repository that was never built only the list knew
    # its name.
    if error is None and not watched:
        error = _nameless(paths, found, unread)
    return Names(found, watched, unread, error)


def are_any(paths: Paths) -> bool:
    """Tell whether any name is held, or it cannot be known which are."""
    names = load(paths)
    return bool(names.repositories) or names.error is not None


def _nameless(
    paths: Paths, found: Mapping[str, str | None], unread: InsidersError | None
) -> InsidersError | None:
    """Say of which repositories the project name is lost with the list of repositories."""
    named = {name.casefold() for name in found.values() if name}
    named |= state.load_removed(paths.state)
    left = [
        (name, known)
        for name, known in state.everything(paths.state)
        if name.casefold() not in named and known.project is None
    ]
    if not left:
        return None
    names = ", ".join(name for name, _ in left)
    why = f"{paths.repositories} lists no repositories" if unread is None else unread.message
    adds = " ".join(add_command(name, known.remote) for name, known in left)
    return InsidersError(
        f"the project name of {names} is lost: {why}, and nobody removed {names}",
        f"restore that file, or {adds}, or `pypi-insiders repos remove {names.replace(',', '')}`",
    )


def _remembered(paths: Paths) -> tuple[dict[str, str | None] | None, InsidersError | None]:
    """Read the remembered names, those of all files.

    Returns:
        `None` where there is no list, or none that can be read, and why it cannot.
    """
    found: dict[str, str | None] | None = None
    lost = None
    # The union of all: a name too many costs a message, one that is missing a public package.
    for path in (*paths.held_names_copies, paths.held_names):
        try:
            names = recall(path, _understand)
        except InsidersError as error:
            _log.warning("%s", error.message)
            lost = error
        else:
            if names is not None:
                found = (found or {}) | names
    return found, lost


def _understand(text: str) -> dict[str, str | None]:
    content = json.loads(text)
    if not isinstance(content, dict):
        raise TypeError("it is no table")
    if not all(isinstance(value, str | None) for value in content.values()):
        raise TypeError("a repository is no text")
    return content


def _from_state(paths: Paths) -> dict[str, str | None]:
    found: dict[str, str | None] = dict.fromkeys(in_directory(paths.distributions))
    # A project of which everything was yanked or taken back has no file and no build.
    found |= dict.fromkeys(releases.listed_projects(paths))
    # To open the cache would make it, and an empty one tells nothing.
    if is_there(paths.record):
        with contextlib.closing(MetadataCache(paths.record, paths.distributions)) as record:
            entries = record.entries().values()
            found |= {entry.project: None for entry in entries if entry.project and entry.sha256}
    found |= releases.former_projects(paths)
    for name, known in state.everything(paths.state):
        # A version that kept no list of what was taken back left it in the state.
        is_given_up = known.is_old and known.project not in found
        if known.project and not is_given_up:
            found[known.project] = name
    return found


def _first_built(paths: Paths, repository: str) -> str | None:
    with contextlib.suppress(InsidersError):
        return state.load(paths.state, repository).project
    return None


def in_directory(directory: Path) -> set[str]:
    """Return the projects of which a directory has a file, in whatever form; none if unreadable."""
    found: set[str] = set()
    with contextlib.suppress(InsidersError):
        for name in list_names(directory):
            if not name.startswith("."):
                found |= distribution.projects_of(name)
    return found


def _salvaged(path: Path) -> dict[str, str | None]:
    """Find names, and their repositories, in a list of repositories that cannot be read as one."""
    found: dict[str, str | None] = {}
    repository = None
    with contextlib.suppress(OSError):
        for line in read_bytes(path).decode(errors="replace").splitlines():
            if table := _TABLE.match(line):
                repository = table[1]
            # In a file that is no TOML nothing else can be told; a name in a comment is held too.
            for match in _DISTRIBUTION.finditer(line):
                with contextlib.suppress(InvalidName):
                    found[canonicalize_name(match[1], validate=True)] = repository
    return found


def sync(paths: Paths, *, in_state_only: bool = False) -> None:
    """Write down every name that is watched, published or remembered now.

    Args:
        paths: where everything is.
        in_state_only: not beside the distributions, in which a server may not write.

    Raises:
        InsidersError: the list cannot be written; it is as it was.
    """
    with locked(paths.locks.held_names):
        found = load(paths)
        if found.error is not None:
            return  # a list without those names would look complete
        after = dict.fromkeys(in_directory(paths.distributions)) | dict(found.repositories)
        # Not written where nothing changes: a server reads the list again whenever its time is
        # another.
        if after != _recalled(paths.held_names):
            _save(paths.held_names, after)
        for path in paths.held_names_copies:
            if not (in_state_only and path.parent == paths.distributions):
                _save_copy(paths, path, after)


def hold(paths: Paths, names: Mapping[str, str]) -> None:
    """Remember names of repositories that have published nothing yet.

    Args:
        paths: where everything is.
        names: normalized project name to `NS/PROJ`; what is held already stays as it is.

    Raises:
        InsidersError: the list cannot be written; it is as it was.
    """
    with locked(paths.locks.held_names):
        before = _remembered(paths)[0] or {}
        if new := {project: name for project, name in names.items() if project not in before}:
            # The copies first: a server notices the last one, and reads all of them then.
            _save_copies(paths, {**before, **new})
            _save(paths.held_names, {**before, **new})


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
    with locked(paths.locks.held_names):
        before = {**_from_state(paths), **(_remembered(paths)[0] or {})}
        watched = {
            item.project or _first_built(paths, item.name)
            for item in registry.load(paths.repositories).values()
        }
        published = in_directory(paths.distributions)
        gone = sorted(before.keys() & set(names) - watched - published)
        if gone:
            # Each of these would hold them again; the last is what a server notices.
            releases.give_up(paths, set(gone))
            left = {name: value for name, value in before.items() if name not in gone}
            _save_copies(paths, left)
            _save(paths.held_names, left)
    return gone


def _recalled(path: Path) -> dict[str, str | None] | None:
    with contextlib.suppress(InsidersError):
        return recall(path, _understand)
    return None


def _save_copies(paths: Paths, names: Mapping[str, str | None]) -> None:
    """Write all copies, but make no directory of distributions: that would hide its loss."""
    for path in paths.held_names_copies:
        _save_copy(paths, path, names)


def _save_copy(paths: Paths, path: Path, names: Mapping[str, str | None]) -> None:
    is_possible = path.parent != paths.distributions or is_there(paths.distributions)
    if is_possible and names != (_recalled(path) or {}):
        _save(path, names)


def _save(path: Path, names: Mapping[str, str | None]) -> None:
    write_atomic(path, written(dict(sorted(names.items())), indent=1))


class HeldNames:
    """The held names as a server needs them: read again only where a file has changed.

    Everything here may be called from several threads.
    """

    def __init__(self, paths: Paths) -> None:
        self.paths = paths
        self._lock = threading.Lock()
        self._seen: object = None
        self._names = Names({}, {})
        self._read_s = 0.0

    def current(self) -> Names:
        """Return all names; costs two calls of stat(2) as long as nothing changes."""
        seen = self._stamp()
        if self._is_stale(seen):
            with self._lock:
                if self._is_stale(seen):
                    self._sync()
                    seen = self._stamp()
                    self._names, self._read_s = load(self.paths), time.monotonic()
                    # Last: whoever finds it takes the names as they are, without the lock.
                    self._seen = seen
        return self._names

    def _is_stale(self, seen: object) -> bool:
        """Return whether to read again; an error may pass, or end in files that are not stamped."""
        if seen != self._seen:
            return True
        is_whole = self._names.error is None and self._names.unread is None
        return not is_whole and time.monotonic() - self._read_s >= _AGAIN_S

    def _stamp(self) -> object:
        found = []
        for path in (self.paths.repositories, self.paths.held_names):
            try:
                status = path.stat()
            except OSError as error:
                # A file that cannot be read is something else than one that is missing.
                found.append((error.errno, 0, 0))
            else:
                # Each write makes another inode; time and size are for editors that write in place.
                found.append((status.st_mtime_ns, status.st_ino, status.st_size))
        return tuple(found)

    def learn(self, projects: Iterable[str]) -> None:
        """Remember projects that the directory has, for the day on which it is gone."""
        if not set(projects) <= self.current().repositories.keys():
            self._sync()

    def _sync(self) -> None:
        try:
            sync(self.paths, in_state_only=True)
        except InsidersError as error:
            _log.warning("the held names cannot be written down: %s", error.message)
