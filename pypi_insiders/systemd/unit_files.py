"""Install, compare and remove unit files."""

import contextlib
import os
import re
from collections.abc import Iterable, Mapping
from enum import Enum, auto
from itertools import product
from pathlib import Path
from typing import NamedTuple

from pypi_insiders.config.settings import Settings
from pypi_insiders.systemd import unit_templates
from pypi_insiders.systemd.unit_names import (
    CONFINEMENT,
    DROP_IN,
    FORMER,
    ONE,
    PARTS,
    SHARED,
    UNITS,
    WATCHER,
    Part,
    drop_in_of,
    files_of,
)
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import read_text, remove, write_atomic


class Change(NamedTuple):
    """The changes of an installation."""

    before: dict[Path, str | None]
    """Changed files and their former text; `None`: the file did not exist."""
    units: frozenset[str]
    """The changed units."""

    def undo(self) -> None:
        """Restore all files."""
        for path, text in self.before.items():
            if text is None:
                remove(path)
                _remove_empty(path.parent)
            else:
                write_atomic(path, text)


def install(directory: Path, texts: Mapping[str, str], part: Part) -> Change:
    """Write the missing and outdated units of a service; keep the user's drop-ins.

    Args:
        directory: the user's unit directory.
        texts: the result of `render`.
        part: the service.

    Raises:
        InsidersError: a file was not written by this program, or cannot be written; all changes are
            undone.
    """
    before: dict[Path, str | None] = {}
    units = set()
    try:
        # Not the units of the other service, which its own `start` updates and restarts.
        for unit in (*_units(directory, texts, part), *_former(directory)):
            for name in files_of(unit):
                path, text = directory / name, texts.get(name)
                old = _read_ours(path)
                if old == text:
                    continue
                # Recorded before the write, so that a failed write is undone, too.
                before[path] = old
                units.add(unit)
                if text is None:
                    remove(path)
                    _remove_empty(path.parent)
                else:
                    write_atomic(path, text)
    # Ctrl-C too, or units of two versions would work together.
    except BaseException:
        Change(before, frozenset()).undo()
        raise
    return Change(before, frozenset(units))


def _units(directory: Path, texts: Iterable[str], part: Part) -> tuple[str, ...]:
    """Return the units of a service, with the timers of repositories of their own."""
    # Also those that are installed and no longer wanted: `install` removes what has no text.
    own = dict.fromkeys((*own_timers(texts), *installed_own_timers(directory)))
    return (*part.units, *SHARED, *(own if part == WATCHER else ()))


def own_timers(names: Iterable[str]) -> list[str]:
    """Return the repositories' own timers among units, or those of drop-ins with settings."""
    begin, end = map(re.escape, ONE.trigger.split("@"))
    found = (re.fullmatch(rf"({begin}@[^/]+{end})(\.d/{re.escape(DROP_IN)})?", it) for it in names)
    return [match[1] for match in found if match]


def installed_own_timers(directory: Path) -> list[str]:
    """Return the repositories' own timers for which there are drop-ins with settings."""
    files = directory.glob(drop_in_of(ONE.trigger.replace("@", "@?*")))
    return own_timers(str(path.relative_to(directory)) for path in sorted(files))


def names(directory: Path, texts: Iterable[str], part: Part) -> tuple[str, ...]:
    """Return all possible files of a service, relative to the unit directory."""
    return tuple(name for unit in _units(directory, texts, part) for name in files_of(unit))


def _former(directory: Path) -> tuple[str, ...]:
    """Return units of older versions that the user has not masked or replaced."""
    return tuple(
        unit
        for unit in FORMER
        # A link to /dev/null is of `systemctl mask`, and the user's decision.
        if not (directory / unit).is_symlink()
        and unit_templates.is_ours(read_text(directory / unit) or "")
    )


def _read_ours(path: Path) -> str | None:
    # Writing through a link would change a file of a dotfiles repository, or /dev/null.
    if path.is_symlink():
        # A drop-in that is such a link cannot be unmasked.
        masked = path.resolve() == Path(os.devnull) and not path.parent.name.endswith(".d")
        raise InsidersError(
            f"{path.name} is masked"
            if masked
            else f"{path} is a link, which was not created by pypi-insiders",
            f"`systemctl --user unmask {path.name}`" if masked else "move that link away",
        )
    text = read_text(path)
    if text is not None and not unit_templates.is_ours(text):
        raise InsidersError(
            f"{path} already exists, and was not written by pypi-insiders",
            "move that file away",
        )
    return text


def are_current(directory: Path, texts: Mapping[str, str], part: Part) -> bool:
    """Return whether all files of a service are up to date.

    Raises:
        InsidersError: a file was not written by this program, or cannot be read.
    """
    return all(
        _read_ours(directory / name) == texts.get(name) for name in names(directory, texts, part)
    )


class Freshness(Enum):
    """The state of an installed file."""

    CURRENT = auto()
    MISSING = auto()
    UNCONFINED = auto()
    """The missing file is a drop-in that confines a service."""
    STALE = auto()
    """Written by another version, or for another command, directory or setting."""
    EDITED = auto()
    """Changed after it was written."""


def freshness(directory: Path, name: str, texts: Mapping[str, str]) -> Freshness:
    """Compare an installed file with its current text.

    Args:
        directory: the user's unit directory.
        name: one of `names`.
        texts: the result of `render`.

    Raises:
        InsidersError: the file was not written by this program, or cannot be read.
    """
    text = _read_ours(directory / name)
    if text == texts.get(name):
        return Freshness.CURRENT
    if text is None and name.endswith(CONFINEMENT):
        return Freshness.UNCONFINED
    if text is None:
        # A drop-in that is missing has settings that are not in force.
        return Freshness.MISSING if name in UNITS else Freshness.STALE
    return Freshness.EDITED if unit_templates.is_edited(text) else Freshness.STALE


def find(directories: Iterable[Path], unit: str) -> Path | None:
    """Find a unit in the first directory that has it."""
    return next((path for directory in directories if (path := directory / unit).exists()), None)


def is_enabled(unit_path: Iterable[Path], unit: str, has: Mapping[str, str]) -> bool:
    """Return whether a unit starts with the user manager.

    Args:
        unit_path: the directories in which systemd looks for units.
        unit: its name.
        has: its properties `UnitFileState` and `WantedBy`.
    """
    wanted_by = has["WantedBy"].split()
    if has["UnitFileState"] != "enabled":
        return has["UnitFileState"] != "disabled" or bool(wanted_by)
    # Of a link that was removed by hand, systemd does not know before it reloads.
    links = [Path(f"{target}.wants", unit) for target in wanted_by]
    return not links or any(
        os.path.lexists(path / link) for path, link in product(unit_path, links)
    )


def is_installed(directories: Iterable[Path], part: Part) -> bool:
    """Return whether the units of a service exist in a directory of the manager."""
    return all(find(directories, unit) for unit in part.units)


def are_packaged(directories: Iterable[Path], command: str) -> bool:
    """Return whether a system package has all units, with the same text and command.

    Args:
        directories: the manager's unit directories without the user's.
        command: quoted, for `ExecStart=`.

    Raises:
        InsidersError: a unit cannot be read.
    """
    return all(
        # The whole text: units of another version may have another confinement or other options.
        (path := find(directories, unit)) is not None and read_text(path) == text
        for unit, text in unit_templates.render(command, None, Settings()).items()
    )


def uninstall(directory: Path) -> list[Path]:
    """Remove all unit files and drop-ins of this program; return the removed files.

    Raises:
        InsidersError: the first error, after all other files were removed.
    """
    removed, failed = [], []
    former: tuple[str, ...] = ()
    try:
        former = _former(directory)
    except InsidersError as error:
        failed.append(error)
    for unit in (*installed_own_timers(directory), *UNITS, *former):
        # Drop-ins first: if this is interrupted, the unit still works.
        for path in map(directory.joinpath, reversed(files_of(unit))):
            try:
                # A link is the user's: of `systemctl mask`, or into a repository of dotfiles.
                if not path.is_symlink() and _read_ours(path) is not None and remove(path):
                    removed.append(path)
            except InsidersError as error:
                failed.append(error)
        _remove_empty(directory / f"{unit}.d")
    # `systemctl disable` leaves the links of a unit whose file is missing.
    removed += [link for link in _links(directory) if remove(link)]
    if failed:
        raise failed[0]
    return removed


def installed(directory: Path) -> list[Path]:
    """Return all unit files and drop-ins that are ours, and the links by which they are enabled.

    Raises:
        InsidersError: a file of that name is not ours, or cannot be read.
    """
    units = (*installed_own_timers(directory), *UNITS, *_former(directory))
    files = [directory / name for unit in units for name in files_of(unit)]
    ours = [path for path in files if not path.is_symlink() and _read_ours(path) is not None]
    return [*ours, *_links(directory)]


def _links(directory: Path) -> list[Path]:
    places = list(directory.glob("*.wants"))
    links = [wants / part.trigger for wants in places for part in PARTS]
    # Of timers of repositories, which the user may have enabled.
    links += [link for wants in places for link in wants.glob(ONE.trigger.replace("@", "@*"))]
    return [link for link in links if link.is_symlink()]


def _remove_empty(directory: Path) -> None:
    if directory.name.endswith(".d"):
        with contextlib.suppress(OSError):
            # Fails if the user has drop-ins of their own there, which stay.
            directory.rmdir()
