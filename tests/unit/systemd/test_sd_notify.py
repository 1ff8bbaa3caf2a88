"""sd_notify: what systemd is told of a service."""

import os
import socket
import subprocess
import sys
from pathlib import Path


def test_what_a_service_tells_of_itself_is_printable(tmp_path: Path) -> None:
    """`systemctl status` shows it as it comes."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        code = (
            "from pypi_insiders.systemd.sd_notify import Notifier\n"
            "Notifier().notify('STATUS=building me/probe v1\\u202e\\nMAINPID=1', 'READY=1')"
        )
        environment = {**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify")}
        subprocess.run([sys.executable, "-c", code], env=environment, check=True)
        assert manager.recv(999) == b"STATUS=building me/probe v1? MAINPID=1\nREADY=1"
