"""Look at the unit files: whether they are what would be written now, and can be run."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from pypi_insiders.doctor.finding import Finding, ok, problem
from pypi_insiders.doctor.services import of_item
from pypi_insiders.reporting.verdict import Judgement
from pypi_insiders.systemd import systemctl, unit_names
from pypi_insiders.systemd.service_status import Services
from pypi_insiders.systemd.unit_names import SHARED, Part
from pypi_insiders.systemd.unit_state import UnitState
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import open_file

_SHEBANG_BYTES = 4096


def look(services: Services, states: Iterable[UnitState], judged: Judgement) -> Iterator[Finding]:
    """Look at the units of both services; what is not installed at all is told elsewhere."""
    for state in states:
        part = state.part
        check = f"{part.name} units"
        found = [of_item(item) for item in judged.about((check,))]
        has = services.units[part.service]
        # Otherwise systemd would tell of a command that is not the one that runs next.
        if has["LoadState"] == "loaded" and has["NeedDaemonReload"] != "yes":
            has_own = bool(unit_names.own_drop_ins(has["DropInPaths"]))
            found += _program(check, part, has_own=has_own)
        yield from found or [ok(check, _own(services.manager.unit_directory, part))]


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
        with open_file(program) as file:
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
        if unit_names.own_drop_ins(str(path))
    ]
    return f"up to date, with your own {', '.join(own)}" if own else "up to date"
