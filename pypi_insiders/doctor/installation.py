"""Check the unit files: whether they are up to date, and whether their programs can be run."""

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

# More than the kernel reads of a first line. Source: execve(2), "Interpreter scripts".
_SHEBANG_BYTES = 4096


def look(services: Services, states: Iterable[UnitState], judged: Judgement) -> Iterator[Finding]:
    """Check the units of both services.

    A service that is not installed is reported by the check of services.
    """
    for state in states:
        part = state.part
        check = f"{part.name} units"
        found = [of_item(item) for item in judged.about((check,))]
        has = services.units[part.service]
        # Otherwise systemd has the command of an older text, and not the one that runs next.
        if has["LoadState"] == "loaded" and has["NeedDaemonReload"] != "yes":
            has_own = bool(unit_names.own_drop_ins(has["DropInPaths"]))
            found += _program(check, part, has_own=has_own)
        if not found and not state.stale:  # or else the check of the server says where it listens
            found.append(ok(check, _own(services.manager.unit_directory, part)))
        yield from found


def _program(check: str, part: Part, *, has_own: bool) -> Iterator[Finding]:
    """Check whether the program of a service can be run."""
    try:
        commands = systemctl.service(part.service)["ExecStart"]
    except InsidersError:  # the check of the bus reports why
        return
    hint = f"`pypi-insiders {part.name} restart` uses the command that is installed now"
    # Then the user has chosen the program, and `restart` would write the same unit again.
    if has_own:
        hint = f"see its ExecStart=: `systemctl --user cat {part.service}`"
    for path, *_ in commands:
        if fault := _fault(Path(path)):
            yield problem(check, f"{part.service} cannot run: {fault}", hint)


def _fault(program: Path) -> str | None:
    """Return why a program cannot be run; `None`: it can, as far as its file shows."""
    if not os.access(program, os.F_OK):
        return f"{program} was not found"
    if program.is_dir() or not os.access(program, os.X_OK):
        return f"{program} is not executable"
    try:
        with open_file(program) as file:
            first = file.read(_SHEBANG_BYTES).partition(b"\n")[0]
    except OSError:  # a program need not be readable
        return None
    # An entry point outlives the interpreter of its environment: after an upgrade of Python the
    # script is there, and execve(2) fails as if it were not.
    words = first.removeprefix(b"#!").split()
    if first.startswith(b"#!") and words and not os.access(words[0], os.X_OK):
        return f"the interpreter of {program}, {os.fsdecode(words[0])}, was not found"
    return None


def _own(directory: Path, part: Part) -> str:
    """Return that units are up to date, with the drop-ins of the user, which override them."""
    own = [
        str(path.relative_to(directory))
        for unit in (*part.units, *SHARED)
        for path in sorted((directory / f"{unit}.d").glob("*.conf"))
        if unit_names.own_drop_ins(str(path))
    ]
    return f"up to date, with your drop-ins {', '.join(own)}" if own else "up to date"
