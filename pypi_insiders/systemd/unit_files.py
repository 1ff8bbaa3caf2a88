"""Install and remove the unit files."""

import contextlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path

from pypi_insiders.config.settings import Settings
from pypi_insiders.systemd import unit_templates
from pypi_insiders.systemd.unit_names import (
    CONFINEMENT,
    FORMER,
    PARTS,
    SHARED,
    UNITS,
    Part,
    files_of,
)
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import read_text, remove, write_atomic


@dataclass(frozen=True)
class Change:
    """What an installation changed."""

    before: dict[Path, str | None]
    """Each file that was written or removed, to its text before; `None`: there was none."""
    units: frozenset[str]
    """The units concerned."""

    def undo(self) -> None:
        """Put every file back as it was."""
        for path, text in self.before.items():
            if text is None:
                remove(path)
                _remove_empty(path.parent)
            else:
                write_atomic(path, text)


def install(directory: Path, texts: Mapping[str, str], part: Part) -> Change:
    """Write the units of one part where they are missing or stale.

    Files that are right already are not touched. A person's own drop-ins stay.

    Args:
        directory: where the manager looks for units.
        texts: what `render` made.
        part: whose units are wanted.

    Raises:
        InsidersError: a file of that name is not ours, or cannot be written; all is as it was.
    """
    before: dict[Path, str | None] = {}
    units = set()
    try:
        # The units of the other service are left alone: its own `start` brings them up to date, and
        # restarts what runs.
        for unit in (*part.units, *SHARED, *_former(directory)):
            for name in files_of(unit):
                path, text = directory / name, texts.get(name)
                old = _read_ours(path)
                if old == text:
                    continue
                # Before the write: one that fails half way is undone with the others.
                before[path] = old
                units.add(unit)
                if text is None:
                    remove(path)
                    _remove_empty(path.parent)
                else:
                    write_atomic(path, text)
    except BaseException:
        Change(before, frozenset()).undo()
        raise
    return Change(before, frozenset(units))


def _former(directory: Path) -> tuple[str, ...]:
    """Name what older versions installed, and nobody has masked or replaced."""
    return tuple(
        unit
        for unit in FORMER
        # `systemctl mask` makes a link to /dev/null, and that is the user's word.
        if not (directory / unit).is_symlink()
        and unit_templates.is_ours(read_text(directory / unit) or "")
    )


def _read_ours(path: Path) -> str | None:
    # To write through a link would change a file of a dotfiles repository, or /dev/null.
    if path.is_symlink():
        masked = path.resolve() == Path(os.devnull)
        raise InsidersError(
            f"{path.name} is masked" if masked else f"{path} is a link, which is not ours",
            f"`systemctl --user unmask {path.name}`" if masked else "move it away",
        )
    text = read_text(path)
    if text is not None and not unit_templates.is_ours(text):
        raise InsidersError(f"{path} is there and was not written by pypi-insiders", "move it away")
    return text


def are_current(directory: Path, texts: Mapping[str, str], part: Part) -> bool:
    """Return whether the files of a part are just as they would be written now.

    Raises:
        InsidersError: a file of that name is not ours, or cannot be read.
    """
    return all(
        _read_ours(directory / name) == texts.get(name)
        for unit in (*part.units, *SHARED)
        for name in files_of(unit)
    )


class Freshness(Enum):
    """How an installed file compares with what would be written now."""

    CURRENT = auto()
    MISSING = auto()
    UNCONFINED = auto()
    """It would confine a service, and is missing."""
    STALE = auto()
    """It is of another version, command, directory or setting."""
    EDITED = auto()
    """It was changed after it was written."""


def freshness(directory: Path, name: str, texts: Mapping[str, str]) -> Freshness:
    """Compare an installed file with what would be written now.

    Args:
        directory: where the manager looks for units.
        name: one of `names`.
        texts: what `render` made.

    Raises:
        InsidersError: a file of that name is not ours, or cannot be read.
    """
    text = _read_ours(directory / name)
    if text == texts.get(name):
        return Freshness.CURRENT
    if text is None and name.endswith(CONFINEMENT):
        return Freshness.UNCONFINED
    if text is None:
        return Freshness.MISSING if name in UNITS else Freshness.STALE
    return Freshness.EDITED if unit_templates.is_edited(text) else Freshness.STALE


def find(directories: Iterable[Path], unit: str) -> Path | None:
    """Find a unit in the first directory that has it."""
    return next((path for directory in directories if (path := directory / unit).exists()), None)


def is_installed(directories: Iterable[Path], part: Part) -> bool:
    """Tell whether the units of a part are there, in whatever directory the manager looks."""
    return all(find(directories, unit) for unit in part.units)


def are_packaged(directories: Iterable[Path], command: str) -> bool:
    """Tell whether a package of the system brings all units just as this program writes them.

    Those of another version, or that run another command, are not ours to use.

    Args:
        directories: where the manager looks, without that of the user.
        command: quoted, for `ExecStart=`.

    Raises:
        InsidersError: a unit cannot be read.
    """
    return all(
        # Text by text, for another version may need another sandbox or another option of the
        # command.
        (path := find(directories, unit)) is not None and read_text(path) == text
        for unit, text in unit_templates.render(command, None, Settings()).items()
    )


def uninstall(directory: Path) -> list[Path]:
    """Remove all unit files and drop-ins that are ours; return them.

    Goes on after a failure.

    Raises:
        InsidersError: some could not be removed; the first one is named.
    """
    removed, failed = [], []
    for unit in (*UNITS, *_former(directory)):
        # Drop-ins first: if a removal stops here, what is left is a unit that works without them.
        for path in map(directory.joinpath, reversed(files_of(unit))):
            try:
                if not path.is_symlink() and _read_ours(path) is not None and remove(path):
                    removed.append(path)
            except InsidersError as error:
                failed.append(error)
        _remove_empty(directory / f"{unit}.d")
    # What `systemctl disable` cannot do without the unit.
    removed += [link for link in _links(directory) if remove(link)]
    if failed:
        raise failed[0]
    return removed


def installed(directory: Path) -> list[Path]:
    """Return all unit files and drop-ins that are ours, and the links by which they are enabled.

    Raises:
        InsidersError: a file of that name is not ours, or cannot be read.
    """
    units = (*UNITS, *_former(directory))
    files = [directory / name for unit in units for name in files_of(unit)]
    ours = [path for path in files if not path.is_symlink() and _read_ours(path) is not None]
    return [*ours, *_links(directory)]


def _links(directory: Path) -> list[Path]:
    links = [wants / part.trigger for wants in directory.glob("*.wants") for part in PARTS]
    return [link for link in links if link.is_symlink()]


def _remove_empty(directory: Path) -> None:
    if directory.name.endswith(".d"):
        with contextlib.suppress(OSError):
            directory.rmdir()
