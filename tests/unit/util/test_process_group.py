"""process_group: what is killed is killed with all that it has started."""

import os
import select
import subprocess
import sys

from pypi_insiders.util.process_group import kill_with_descendants

# Of a process with much memory, a fork takes longer than it takes to look for its children.
_FORKS = """
import os, signal, sys
memory = bytearray(200 * 1024**2)
os.write(1, b".")
for _ in range(100):
    if os.fork() == 0:
        signal.pause()
"""


def test_a_child_that_is_just_being_started_is_killed_too() -> None:
    """Left behind, it would keep the output of git open until the time limit."""
    for _ in range(6):
        reader, writer = os.pipe()
        with subprocess.Popen([sys.executable, "-c", _FORKS], stdout=writer) as process:
            os.close(writer)
            assert os.read(reader, 1) == b"."
            kill_with_descendants(process.pid)
        # The pipe ends with the last process that has it.
        assert select.select([reader], [], [], 10)[0]
        assert os.read(reader, 1) == b""
        os.close(reader)
