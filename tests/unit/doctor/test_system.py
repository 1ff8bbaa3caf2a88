"""system: what doctor finds of systemd itself."""

import os
import pwd
from pathlib import Path

import pytest

from pypi_insiders.doctor.system import journal, of_version
from pypi_insiders.systemd import journalctl
from pypi_insiders.util.errors import InsidersError


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


@pytest.mark.parametrize("is_persistent", [True, False])
@pytest.mark.parametrize(
    ("printed", "verdict"),
    [
        ("-- No entries --", "ok"),
        # As Debian 13 says it to a user that `useradd --system` made.
        ("No journal files were opened due to insufficient permissions.", "warning"),
    ],
)
def test_a_journal_that_this_user_cannot_read_is_a_warning(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    printed: str,
    verdict: str,
    is_persistent: bool,
) -> None:
    """Its logs would be empty otherwise, without a reason."""
    program = tmp_path / "journalctl"
    program.write_text(f"#!/bin/sh\necho '{printed}' >&2\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    persistent = tmp_path if is_persistent else tmp_path / "nowhere"
    monkeypatch.setattr(journalctl, "_PERSISTENT", persistent)
    found = journal()
    if verdict == "ok":
        assert (found.verdict, found.message, found.hint) == ("ok", "readable", None)
        return
    why = (
        "system users have no journal of their own"
        if is_persistent
        else "it is in memory only, where users have no journal of their own"
    )
    name = pwd.getpwuid(os.getuid()).pw_name
    hint = f"`sudo usermod -aG systemd-journal {name}`, then log in again"
    assert (found.verdict, found.message, found.hint) == (verdict, f"not readable: {why}", hint)
    # journalctl itself would not say it.
    if not is_persistent:
        with pytest.raises(InsidersError, match="the journal is not readable: it is in memory"):
            journalctl.logs("pypi-insiders-watcher", (), ())
