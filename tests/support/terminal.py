"""Run a command on a terminal of a given width."""

import fcntl
import os
import pty
import struct
import subprocess
import termios
from collections.abc import Mapping, Sequence
from pathlib import Path


def run(
    argv: Sequence[str | Path],
    environment: Mapping[str, str],
    *,
    columns: int,
    status: int = 0,
    **variables: str,
) -> list[str]:
    """Run a command, which must exit with the given status; return the lines that it shows.

    Args:
        argv: the command.
        environment: its variables, but for those of a terminal.
        columns: the width of the terminal.
        status: the exit status.
        variables: more of them; `TERM=xterm` is the default.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    # The terminal in which the tests are run is another one.
    kept = {name: it for name, it in environment.items() if name not in ("NO_COLOR", "COLUMNS")}
    shown = {**kept, "TERM": "xterm", **variables}
    process = subprocess.Popen(argv, env=shown, stdout=theirs, stdin=theirs)
    os.close(theirs)
    output = b""
    try:
        while block := os.read(ours, 4096):
            output += block
    except OSError:  # the other side is closed. Source: pty(7)
        pass
    os.close(ours)
    assert process.wait(60) == status, output
    return output.decode().split("\r\n")[:-1]
