"""Find out whether a sandbox can be had, and choose in what builds run."""

import logging
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pypi_insiders.builder.errors import SANDBOX_LOST, SandboxError
from pypi_insiders.builder.launcher import DirectLauncher, Launcher, Mounts
from pypi_insiders.builder.sandbox import PAUSES_S, Sandbox, last_line
from pypi_insiders.systemd import systemctl
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import make_temporary
from pypi_insiders.util.process import Result
from pypi_insiders.util.process_group import Command, ProcessGroup
from pypi_insiders.util.trees import remove_tree

_log = logging.getLogger(__name__)

_PROBE_TIMEOUT_S = 30
_PATIENT_PROBE_TIMEOUT_S = 180

# Prints of each thing whether it is hidden or seen. $1: a file of the person, $2: the user's bus,
# $3: where it may write.
_PROBE = """
is() { echo "$2 $1"; }
[ -e "$1" ] && is seen home || is hidden home
[ -e "$2" ] && is seen bus || is hidden bus
read -r first </proc/1/comm
[ "$$ $first" = '1 sh' ] && is hidden processes || is seen processes
found=
while read -r name rest; do
    case $name in Inter-*|face*) ;; *) found="$found ${name%%:*}" ;; esac
done </proc/net/dev
[ "$found" = ' lo' ] && is hidden network || is seen network
groups=hidden
for group in /sys/fs/cgroup/*/ /sys/fs/cgroup/; do
    [ ! -w "$group" ] || groups=seen
done
is $groups groups
echo >"$3/written" || :
"""
# What is kept from a build, and what it means if it is not.
_TOLD = {
    "home": ("home", "the files of the person are seen"),
    "bus": ("bus", "the bus of the user is seen"),
    "processes": ("other processes", "the processes of others are seen"),
    "network": ("network", "the network is seen"),
    "groups": ("writing to control groups", "control groups can be written"),
}


@dataclass(frozen=True)
class SandboxReport:
    """What a sandbox was measured to keep from what runs in it."""

    kept: tuple[str, ...] = ()
    """What that cannot see or do, in words for people."""
    trouble: str | None = None
    """Why it is no sandbox, though it keeps that much; `None`: it is one."""


def measure(
    processes: ProcessGroup, hidden: Sequence[Path], scratch: Path, *, is_patient: bool = False
) -> SandboxReport:
    """Measure whether a sandbox can be had here, and what it keeps from what runs in it.

    Units silently ignore what they cannot do; so the effect is looked at.

    Args:
        processes: ends what runs when this process is to end.
        hidden: as for `Sandbox`.
        scratch: an existing directory of the person.
        is_patient: whether to try again, and to wait longer, where it should work.

    Raises:
        InsidersError: nothing can be written in `scratch`.
    """
    for program in ("systemd-run", "unshare", "prlimit", "setsid", "env"):
        if shutil.which(program) is None:
            return SandboxReport(trouble=f"{program} was not found")
    try:
        systemctl.manager()
    except InsidersError as error:
        return SandboxReport(trouble=error.message)
    directory = make_temporary(scratch)
    try:
        marker, root = directory / "marker", directory / "root"
        work = root / "work"
        work.mkdir(parents=True)
        marker.touch()
        runtime = os.environ.get("XDG_RUNTIME_DIR", f"/run/user/{os.getuid()}")
        try:
            argv = ("sh", "-c", _PROBE, "sh", str(marker), f"{runtime}/bus", str(work))
            timeout_s = _PATIENT_PROBE_TIMEOUT_S if is_patient else _PROBE_TIMEOUT_S
            result = Sandbox(processes, hidden, PAUSES_S if is_patient else ()).run(
                Command(argv, {}, work, timeout_s), Mounts(root, writable=(work,))
            )
        except InsidersError as error:
            return SandboxReport(trouble=error.message)
        return _judge(result, has_written=(work / "written").exists())
    finally:
        remove_tree(directory)


def _judge(result: Result, *, has_written: bool) -> SandboxReport:
    """Read what the probe says; only what it has seen to be kept from it counts."""
    lines = result.stdout.strip().splitlines()
    if result.status != 0:
        said = last_line(result.stdout) or f"systemd-run ended with {result.status}"
        return SandboxReport(trouble=said)
    is_kept = {key: f"{key} hidden" in lines for key in _TOLD}
    troubles = [trouble for key, (_, trouble) in _TOLD.items() if not is_kept[key]]
    if not has_written:
        troubles.append("nothing can be written")
    kept = tuple(words for key, (words, _) in _TOLD.items() if is_kept[key])
    return SandboxReport(kept, "; ".join(troubles) or None)


def choose(
    wanted: str,
    processes: ProcessGroup,
    hidden: Sequence[Path],
    scratch: Path,
    *,
    had_before: bool,
) -> Launcher:
    """Choose in what builds run.

    Args:
        wanted: the setting: `auto` (a sandbox where one can be had), `required` or `off`.
        processes: ends what runs when this process is to end.
        hidden: as for `Sandbox`.
        scratch: an existing directory of the person.
        had_before: whether one could be had here before; then none is built without one.

    Raises:
        SandboxError: it is required, or could be had before, and none can be had.
    """
    if wanted == "off":
        return DirectLauncher(processes)
    is_needed = wanted == "required" or had_before
    trouble = measure(processes, hidden, scratch, is_patient=is_needed).trouble
    if trouble is None:
        return Sandbox(processes, hidden)
    if wanted == "required":
        raise SandboxError(
            f"no sandbox can be had here: {trouble}",
            'without one nothing is built while `sandbox = "required"`',
        )
    if had_before:
        raise SandboxError(
            f"the sandbox of builds is not available any more: {trouble}", SANDBOX_LOST
        )
    _log.warning("builds are not sandboxed: %s", trouble)
    return DirectLauncher(processes, trouble=trouble)
