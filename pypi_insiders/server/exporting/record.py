"""What the last export to a directory wrote, so that the next one looks at changes only."""

import json
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from pypi_insiders import __version__
from pypi_insiders.config.paths import Paths, held_names_copies
from pypi_insiders.index import distribution, listing
from pypi_insiders.server.exporting.contents import Exported
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import read_text, remove, write_atomic

VALID_FOR_S = 24 * 3600
"""An export that is older does not spare the next one a comparison of all files."""
_ALWAYS = ("nginx.conf", ".", "packages", "simple", "project", "-")
_BOOT = Path("/proc/sys/kernel/random/boot_id")

Stamp = list[int]
"""Changes with a file: inode, size, and nanoseconds of the epoch."""


class FormerFile(NamedTuple):
    """A file of the index as the export before found it."""

    inode: int


@dataclass
class Record:
    """A complete export to a directory, of an index without damaged files."""

    made: list[str]
    """What it depends on: version of this program, boot of the machine, target, nginx.conf."""
    at_s: int
    """Seconds of the epoch."""
    inputs: dict[str, Stamp | None]
    """The files, except distributions, from which projects and names were read."""
    outputs: dict[str, Stamp | None]
    """The pages and directories that were written."""
    projects: dict[str, dict[str, int]]
    """Project to its files, with their inodes in the index."""
    others: dict[str, int]
    """The other names in the directory of the index."""
    held: dict[str, str | None]
    """All held names, to their repositories."""
    stopped: list[str]
    """Held names without a release."""
    recent: list[list[str]]
    """Project and version of the newest releases of all."""

    @property
    def files(self) -> dict[str, FormerFile]:
        """All names in the directory of the index, with their inodes."""
        found = dict(self.others)
        for files in self.projects.values():
            found.update(files)
        return {name: FormerFile(inode) for name, inode in found.items()}

    @property
    def count(self) -> int:
        """The number of exported distributions."""
        return sum(map(len, self.projects.values()))


def stamp(path: Path) -> Stamp | None:
    """Return what changes with a file or a directory; `None` if it is missing."""
    try:
        status = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    # ctime: the mtime of a file is set, and that of a directory may be.
    return [status.st_ino, status.st_size, status.st_ctime_ns]


def stamps(directory: Path, names: Iterable[str]) -> dict[str, Stamp | None]:
    """Return the stamps of files below a directory, by name."""
    there = directory.resolve()  # what a link to it leads to
    return {name: stamp(there / name) for name in names}


def inputs(paths: Paths) -> dict[str, Stamp | None]:
    """Return the stamps of the files, except distributions, that decide what is exported."""
    lists = [f"{name}.json" for name in ("yanked", "taken-back")]
    read = (
        paths.repositories, paths.held_names, *held_names_copies(paths),
        *(paths.distributions / f".{name}" for name in lists),
        *(paths.state / name for name in (*lists, "removed.json")),
    )  # fmt: skip
    found = {str(path): stamp(path) for path in read}
    # Its content changes with each new file; another database has nothing of the old one.
    database = stamp(paths.record)
    return found | {str(paths.record): database and database[:1]}


def made(directory: Path, configuration: str) -> list[str]:
    """Return what a record must have in common with the export that uses it."""
    # A crash of the machine may have cut files short.
    boot = read_text(_BOOT) or ""
    # Not the version alone, which is the same for many commits of a clone.
    configured = sha256(configuration.encode()).hexdigest()
    return [__version__, boot.strip(), str(directory.resolve()), configured]


def begin(paths: Paths, directory: Path, configuration: str) -> Record:
    """Return the record of an export that begins; the one before is removed.

    Raises:
        InsidersError: it cannot be removed.
    """
    remove(_path(paths, directory))
    target = made(directory, configuration)
    listed = listing.compare(paths.distributions, {}).new
    # Before anything is read, so that a change meanwhile is seen by the next export.
    return Record(target, int(time.time()), inputs(paths), {}, {}, listed, {}, [], [])


def finish(record: Record, paths: Paths, directory: Path, found: Exported) -> None:
    """Write the record of an export of everything, unless a file of the index is damaged.

    Raises:
        InsidersError: it cannot be written.
    """
    record.projects = {
        project.name: {entry.name: entry.identity.inode for entry in project.files}
        for project in found.projects
    }
    served = {name for files in record.projects.values() for name in files}
    record.others = {name: node for name, node in record.others.items() if name not in served}
    # A rejected file may be completed in place, which only a comparison of everything sees.
    is_rejected = any(map(distribution.projects_of, record.others))
    if is_rejected or any(found.untouched) or found.names.unread is not None:
        return
    record.held = dict(found.names.repositories)
    record.stopped = [missing.project for missing in found.stopped]
    record.recent = found.recent
    record.outputs = stamps(directory, [*found.paths, *_ALWAYS])
    save(paths, directory, record)


def load(paths: Paths, directory: Path, configuration: str) -> Record | None:
    """Read the record of the last export; `None`: compare everything.

    That is without a usable record, after a day, after a restart of the machine, and where
    somebody else has changed the directory of the export or a list of names.
    """
    try:
        digest, _, text = (read_text(_path(paths, directory)) or "").partition("\n")
    except InsidersError:
        return None
    # By its hash, as checking each of 50,000 names takes longer than all the rest.
    if digest != _digest(text):
        return None
    found = Record(**json.loads(text))
    if found.made != made(directory, configuration):
        return None
    is_fresh = 0 <= time.time() - found.at_s < VALID_FOR_S
    if not is_fresh or found.inputs != inputs(paths):
        return None
    return found if found.outputs == stamps(directory, found.outputs) else None


def update(record: Record, paths: Paths, directory: Path, written: Iterable[str]) -> None:
    """Write the record of an export of changes.

    Args:
        record: with the new files.
        paths: all paths of the program.
        directory: of the export.
        written: the paths of the pages below it that may have changed.

    Raises:
        InsidersError: it cannot be written.
    """
    record.outputs |= stamps(directory, [*written, *_ALWAYS])
    save(paths, directory, record)


def save(paths: Paths, directory: Path, record: Record) -> None:
    """Write a record.

    Raises:
        InsidersError: it cannot be written.
    """
    text = json.dumps(vars(record), separators=(",", ":"))
    write_atomic(_path(paths, directory), f"{_digest(text)}\n{text}")


def _digest(text: str) -> str:
    # With the names of the fields: a record of another version does not fit.
    return sha256("\n".join([*Record.__annotations__, text]).encode()).hexdigest()


def _path(paths: Paths, directory: Path) -> Path:
    key = sha256(os.fsencode(directory.resolve())).hexdigest()[:16]
    return paths.cache / "exports" / f"{key}.json"
