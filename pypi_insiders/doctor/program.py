"""Check whether the installed command, and that of the units, is this program.

The original pypi-insiders on PyPI bears the same name: `pip install -U pypi-insiders` brings it.
"""

import os
import shutil
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from pypi_insiders import __version__
from pypi_insiders.doctor.finding import Finding, ok, problem, together, warning
from pypi_insiders.systemd import systemctl
from pypi_insiders.systemd.unit_names import PARTS
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.process import run

_NAME = "pypi-insiders"
_TIMEOUT_S = 30
SUMMARY = "Depend on private Insiders releases by their public name"
"""The beginning of the summary in the metadata of this program."""
_AGAIN = "in a clone of this program: `uv tool install --force .`"


def look(*, has_manager: bool) -> Iterator[Finding]:
    """Check what is installed in this environment, and the commands of that name.

    Args:
        has_manager: whether a user manager runs, whose units run the command.
    """
    found = [*_distribution(), *_commands(has_manager=has_manager)]
    yield from found or [ok("program", f"{_NAME} {__version__}")]


def _distribution() -> Iterator[Finding]:
    try:
        installed = metadata.metadata(_NAME)
    except metadata.PackageNotFoundError:  # from a checkout, nothing is installed
        return
    version, summary = installed["Version"], installed["Summary"] or ""
    # By the summary too: the original has versions of its own, and one may be equal some day.
    if version != __version__ or not summary.startswith(SUMMARY):
        message = f"{_NAME} {version} is installed here ({summary}), but this is {__version__}"
        yield problem("program", message, _AGAIN)


def _commands(*, has_manager: bool) -> Iterator[Finding]:
    """Compare the versions of the command in `PATH` and of those that the units run."""
    users: dict[Path, list[str]] = {}
    if in_path := shutil.which(_NAME):
        users.setdefault(Path(in_path), []).append("your shell")
    for part in PARTS if has_manager else ():
        for path in _of(part.service):
            users.setdefault(path, []).append(part.service)
    for path, names in users.items():
        # This process is that program, and to run it once more would only take time.
        if path == Path(sys.argv[0]).absolute() or not os.access(path, os.X_OK):
            continue
        version = _version(path)
        if version is None or version == __version__:
            continue
        message = f"{path}, which {together(names)} runs, is version {version}, not {__version__}"
        # The versions of the original begin so; any other is a copy of this program.
        if version.partition(".")[0] in ("0", "1"):
            message += ": the original project of that name"
            yield problem("program", message, _AGAIN)
        else:
            yield warning("program", message, _AGAIN)


def _of(service: str) -> Iterator[Path]:
    """Return the commands of a service that are called like this program."""
    # A drop-in may run a wrapper, which need not know `--version`.
    try:
        commands = systemctl.service(service)["ExecStart"]
    except InsidersError:  # the checks of the bus and of the units report why
        return
    for path, *_ in commands:
        if Path(path).name == _NAME:
            yield Path(path)


def _version(command: Path) -> str | None:
    """Return the version of a command; `None`: it does not print one, as other checks report."""
    try:
        result = run((str(command), "--version"), timeout_s=_TIMEOUT_S)
    except InsidersError:
        return None
    name, _, version = result.stdout.strip().partition(" ")
    return version if result.status == 0 and name == _NAME else None
