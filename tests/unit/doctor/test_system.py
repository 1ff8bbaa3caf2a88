"""system: what doctor finds of systemd itself."""

import os
import pwd
from pathlib import Path

import pytest

from pypi_insiders.doctor.system import journal, of_version


@pytest.mark.parametrize(
    ("version", "verdict", "message"),
    [
        ("252.39-1~deb12u2", "ok", "systemd 252.39-1~deb12u2 answers"),
        ("250", "ok", "systemd 250 answers"),
        ("249.11-0ubuntu3", "warning", "systemd 249.11-0ubuntu3 answers, and is older than 250"),
    ],
)
def test_a_systemd_that_is_too_old_is_a_warning(version: str, verdict: str, message: str) -> None:
    """What it prints cannot be read by us."""
    found = of_version(version)
    assert (found.verdict, found.message) == (verdict, message)


@pytest.mark.parametrize(
    ("printed", "verdict"),
    [
        ("-- No entries --", "ok"),
        # As Debian 13 says it to a user that `useradd --system` made.
        ("No journal files were opened due to insufficient permissions.", "warning"),
    ],
)
def test_a_journal_that_this_user_cannot_read_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, printed: str, verdict: str
) -> None:
    """Its logs would be empty otherwise, without a reason."""
    program = tmp_path / "journalctl"
    program.write_text(f"#!/bin/sh\necho '{printed}' >&2\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    found = journal()
    assert found.verdict == verdict
    name = pwd.getpwuid(os.getuid()).pw_name
    hint = f"`sudo usermod -aG systemd-journal {name}`, then log in again"
    assert found.hint == (hint if verdict == "warning" else None)
