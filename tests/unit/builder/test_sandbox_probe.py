"""builder.sandbox_probe: what counts as isolated, and what follows where it is not."""

from collections.abc import Callable
from pathlib import Path

import pytest
from stand_ins import programs, write_program

from pypi_insiders.builder.errors import SandboxError
from pypi_insiders.builder.launcher import DirectLauncher
from pypi_insiders.builder.sandbox import Sandbox
from pypi_insiders.builder.sandbox_probe import SandboxReport, choose, measure
from pypi_insiders.util.process_group import ProcessGroup

__all__ = ["programs"]
_RESOURCES = ("home", "bus", "processes", "network", "groups")
# The probe runs in a unit; here nothing does, but that it writes where it may.
_RUN = """#!/bin/sh
echo begun >&0
printf '%s\\n' {lines}
for work in {scratch}/*/root/work; do touch "$work/written"; done
echo ended >&0
"""

Probe = Callable[..., Path]


@pytest.fixture
def probe(programs: Path, tmp_path: Path) -> Probe:
    """Let the probe print some lines; return the directory in which it writes."""

    def probe(*lines: str) -> Path:
        scratch = tmp_path / "scratch"
        scratch.mkdir(exist_ok=True)
        words = " ".join(f"'{line}'" for line in lines)
        write_program(programs / "systemd-run", _RUN.format(lines=words, scratch=scratch))
        return scratch

    return probe


def test_only_what_is_hidden_by_its_own_line_is_isolated(probe: Probe) -> None:
    """Without that line, as after a change of the probe, it counts as visible."""
    lines = [f"{name} hidden" for name in _RESOURCES]
    kept = ("home", "bus", "other processes", "network", "control groups")
    assert measure(ProcessGroup(), (), probe(*lines)) == SandboxReport(kept)
    for number, name in enumerate(_RESOURCES):
        for line in (f"{name} seen", ""):
            found = measure(ProcessGroup(), (), probe(*lines[:number], line, *lines[number + 1 :]))
            assert found.kept == (*kept[:number], *kept[number + 1 :])
            assert found.trouble


def test_builds_run_without_a_sandbox_only_where_there_never_was_one(probe: Probe) -> None:
    """And only where none is required."""
    scratch, processes = probe("home seen"), ProcessGroup()
    for wanted, had_before in (("required", False), ("required", True), ("auto", True)):
        with pytest.raises(SandboxError, match="the user's files are visible"):
            choose(wanted, processes, (), scratch, had_before=had_before)
    launcher = choose("auto", processes, (), scratch, had_before=False)
    assert isinstance(launcher, DirectLauncher)
    assert launcher.trouble
    assert choose("off", processes, (), scratch, had_before=True) == DirectLauncher(processes)
    scratch = probe(*(f"{name} hidden" for name in _RESOURCES))
    assert isinstance(choose("auto", processes, (), scratch, had_before=False), Sandbox)
