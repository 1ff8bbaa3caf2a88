"""The tests start programs as a shell does, however the tests were started themselves."""

import signal
import subprocess
import sys

import pytest
from fixtures import ROOT

NUMBERS = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT)


def ignored() -> set[signal.Signals]:
    """Read which of the signals a program ignores that is started here. Source: proc(5)."""
    done = subprocess.run(["cat", "/proc/self/status"], capture_output=True, text=True, check=True)
    (mask,) = (line[7:] for line in done.stdout.splitlines() if line.startswith("SigIgn:"))
    return {number for number in NUMBERS if int(mask, 16) & 1 << (number - 1)}


def test_a_program_gets_the_default_signals() -> None:
    """It can be interrupted by a test."""
    assert ignored() == set()


@pytest.mark.parametrize("workers", ["0", "1"])
def test_nohup_and_a_job_in_the_background_change_nothing(workers: str) -> None:
    """Whatever is ignored where the tests start, also where other processes run them."""
    test = f"{__file__}::{test_a_program_gets_the_default_signals.__name__}"
    shell = ("sh", "-c", 'trap "" HUP INT QUIT; grep SigIgn: /proc/self/status; exec "$@"', "sh")
    done = subprocess.run(
        [*shell, sys.executable, "-m", "pytest", "-q", "-n", workers, "-pno:cacheprovider", test],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    first, *_, last = done.stdout.splitlines()
    assert int(first.split()[1], 16) & 0b111 == 0b111
    assert last.startswith("1 passed"), done.stdout
