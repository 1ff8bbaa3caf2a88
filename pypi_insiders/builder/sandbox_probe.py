"""Test whether a sandbox is available, and choose the launcher of builds."""

import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pypi_insiders.builder.errors import SANDBOX_LOST, SandboxError
from pypi_insiders.builder.launcher import DirectLauncher, Launcher, Mounts
from pypi_insiders.builder.sandbox import PAUSES_S, Sandbox
from pypi_insiders.config.paths import runtime_directory
from pypi_insiders.systemd import systemctl
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import make_temporary
from pypi_insiders.util.formatting import last_line
from pypi_insiders.util.process import Result
from pypi_insiders.util.process_group import Command, ProcessGroup
from pypi_insiders.util.trees import remove_tree

_log = logging.getLogger(__name__)

_PROBE_TIMEOUT_S = 30
_PATIENT_PROBE_TIMEOUT_S = 180

# In namespaces of its own, the shell is process 1, and `lo` the only network interface.
# Prints for each resource whether it is hidden or visible. $1: a file of the user, $2: the user's
# bus, $3: a writable directory.
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
# The name of each isolated resource, and the problem if it is not isolated.
_RESOURCES = {
    "home": ("home", "the user's files are visible"),
    # Through the bus a build could start a unit outside of the sandbox.
    "bus": ("bus", "the user's bus is visible"),
    "processes": ("other processes", "other processes are visible"),
    "network": ("network", "the network is visible"),
    "groups": ("control groups", "control groups are writable"),
}


@dataclass(frozen=True)
class SandboxReport:
    """The measured isolation of a sandbox."""

    kept: tuple[str, ...] = ()
    """The isolated resources, in words for people."""
    trouble: str | None = None
    """Why the sandbox is unavailable or incomplete; `None`: it is complete."""


def measure(
    processes: ProcessGroup, hidden: Sequence[Path], scratch: Path, *, is_patient: bool = False
) -> SandboxReport:
    """Measure whether a sandbox is available, and what it isolates.

    Args:
        processes: kills the probe when this process ends.
        hidden: as in `Sandbox`.
        scratch: an existing directory of the user.
        is_patient: whether to retry and to wait longer, because a sandbox is expected.

    Raises:
        InsidersError: `scratch` is not writable.
    """
    # By a probe that runs in it: systemd silently ignores directives that it cannot apply.
    for program in ("systemd-run", "unshare", "prlimit", "setsid", "env"):
        if shutil.which(program) is None:
            return SandboxReport(trouble=f"{program} not found")
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
        bus = str(runtime_directory() / "bus")
        try:
            argv = ("sh", "-c", _PROBE, "sh", str(marker), bus, str(work))
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
    lines = result.stdout.strip().splitlines()
    if result.status != 0:
        detail = last_line(result.stdout, f"systemd-run exited with {result.status}")
        return SandboxReport(trouble=detail)
    # Fail closed: without the line that it is hidden, a resource counts as visible.
    is_kept = {key: f"{key} hidden" in lines for key in _RESOURCES}
    problems = [problem for key, (_, problem) in _RESOURCES.items() if not is_kept[key]]
    if not has_written:
        problems.append("the writable directory is not writable")
    kept = tuple(text for key, (text, _) in _RESOURCES.items() if is_kept[key])
    return SandboxReport(kept, "; ".join(problems) or None)


def choose(
    wanted: str,
    processes: ProcessGroup,
    hidden: Sequence[Path],
    scratch: Path,
    *,
    had_before: bool,
) -> Launcher:
    """Choose the launcher of builds.

    Args:
        wanted: the setting: `auto` (use a sandbox if available), `required` or `off`.
        processes: kills builds when this process ends.
        hidden: as in `Sandbox`.
        scratch: an existing directory of the user.
        had_before: whether the sandbox was available at an earlier update.

    Raises:
        SandboxError: the sandbox is required, or was available before, and is unavailable now.
    """
    if wanted == "off":
        return DirectLauncher(processes)
    # With `auto`, too: a sandbox that was available fails for a passing reason, or because
    # something has broken it. Neither may let foreign code run with the user's permissions.
    is_needed = wanted == "required" or had_before
    trouble = measure(processes, hidden, scratch, is_patient=is_needed).trouble
    if trouble is None:
        return Sandbox(processes, hidden)
    if wanted == "required":
        raise SandboxError(
            f"the sandbox is unavailable: {trouble}",
            'with `sandbox = "required"`, nothing is built without it',
        )
    if had_before:
        raise SandboxError(f"the sandbox of builds has become unavailable: {trouble}", SANDBOX_LOST)
    _log.warning("builds are not sandboxed: %s", trouble)
    return DirectLauncher(processes, trouble=trouble)
