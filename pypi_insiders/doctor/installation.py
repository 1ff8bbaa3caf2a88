"""Look at the unit files: whether they are what would be written now, and can be run."""

import os
from collections.abc import Iterator
from pathlib import Path

from pypi_insiders import control, systemctl, units
from pypi_insiders.config import Settings
from pypi_insiders.control import Setup
from pypi_insiders.doctor.finding import Finding, ok, problem, warning
from pypi_insiders.errors import InsidersError
from pypi_insiders.paths import Paths
from pypi_insiders.systemctl import Manager
from pypi_insiders.units import DROP_IN, PARTS, SHARED, SLICE, Freshness, Part

_SHEBANG_BYTES = 4096


def look(manager: Manager, paths: Paths, settings: Settings) -> Iterator[Finding]:
    """Look at the units of both services; what is not installed at all is told elsewhere."""
    for part in PARTS:
        if not any(
            os.path.lexists(directory / unit)
            for unit in part.units
            for directory in manager.unit_path
        ):
            continue
        check = f"{part.name} units"
        try:
            texts = control.wanted(manager, Setup(paths, settings))
            found = [*_files(check, manager, texts, part), *_loaded(check, part)]
            yield from found or [ok(check, _own(manager.unit_directory, part))]
        except InsidersError as error:
            yield problem(check, error.message, error.hint)


def _files(check: str, manager: Manager, texts: dict[str, str], part: Part) -> Iterator[Finding]:
    """Compare the files with what `start` would write; one finding for all that are stale."""
    restart = f"`pypi-insiders {part.name} restart`"
    stale, edited = [], []
    for name in units.names(part):
        try:
            found = units.freshness(manager.unit_directory, name, texts)
        except InsidersError as error:
            yield problem(check, error.message, error.hint)
            continue
        if found == Freshness.MISSING and not units.find(manager.unit_path, name):
            yield problem(check, f"{name} is missing", restart)
        elif found in (Freshness.STALE, Freshness.MISSING):  # a package has another one
            stale.append(name)
        elif found == Freshness.EDITED:
            edited.append(name)
    if stale:
        what = ", ".join(stale)
        yield warning(check, f"stale, as after an upgrade or a change of settings: {what}", restart)
    if edited:
        what = ", ".join(edited)
        yield warning(
            check,
            f"not as this version writes them, so probably edited: {what}",
            f"the next `start` overwrites that; keep it by `systemctl --user edit {edited[0]}`",
        )


def _loaded(check: str, part: Part) -> Iterator[Finding]:
    """Ask the manager what it made of the files."""
    of_part = (*part.units, SLICE)  # of a template the manager tells nothing
    found = systemctl.show_each(of_part, "LoadState", "NeedDaemonReload", "DropInPaths")
    for unit, has in zip(of_part, found, strict=True):
        if has["LoadState"] not in ("loaded", "masked", "not-found"):  # the files tell of these
            yield problem(
                check,
                f"systemd cannot load {unit} ({has['LoadState']})",
                f"see why: `systemd-analyze --user verify {unit}`",
            )
        elif has["LoadState"] == "loaded" and has["NeedDaemonReload"] == "yes":
            yield warning(
                check,
                f"{unit} has changed on disk since systemd read it",
                "`systemctl --user daemon-reload`",
            )
        elif unit == part.service and has["LoadState"] == "loaded":
            has_own = bool(units.own_drop_ins(has["DropInPaths"]))
            yield from _program(check, part, has_own=has_own)


def _program(check: str, part: Part, *, has_own: bool) -> Iterator[Finding]:
    """Look whether what the service runs is still there; drop-ins of the person may say what."""
    try:
        commands = systemctl.service(part.service)["ExecStart"]
    except InsidersError:  # the bus is looked at elsewhere
        return
    hint = f"`pypi-insiders {part.name} restart` with the command as it is installed now"
    if has_own:
        hint = f"see its ExecStart=: `systemctl --user cat {part.service}`"
    for path, *_ in commands:
        if trouble := _trouble(Path(path)):
            yield problem(check, f"{part.service} cannot run: {trouble}", hint)


def _trouble(program: Path) -> str | None:
    """Tell why a program cannot be run; also a script outlives the interpreter that it names."""
    if not os.access(program, os.F_OK):
        return f"{program} is gone"
    if program.is_dir() or not os.access(program, os.X_OK):
        return f"{program} cannot be executed"
    try:
        with program.open("rb") as file:
            first = file.read(_SHEBANG_BYTES).partition(b"\n")[0]
    except OSError:  # a program need not be readable
        return None
    words = first.removeprefix(b"#!").split()
    if first.startswith(b"#!") and words and not os.access(words[0], os.X_OK):
        return f"the interpreter of {program}, {os.fsdecode(words[0])}, is gone"
    return None


def _own(directory: Path, part: Part) -> str:
    """Name what the person has added by `systemctl --user edit`, which wins."""
    own = [
        str(path.relative_to(directory))
        for unit in (*part.units, *SHARED)
        for path in sorted((directory / f"{unit}.d").glob("*.conf"))
        if path.name != DROP_IN
    ]
    return f"up to date, with your own {', '.join(own)}" if own else "up to date"
