"""notification: how the command gets a message."""

from pathlib import Path

from pypi_insiders.reporting import delivery
from pypi_insiders.reporting.delivery import Message


def test_a_notification_is_printable(tmp_path: Path) -> None:
    """Its command gets it so, in its arguments and its input."""
    script = 'printf %s "$1" >subject; cat >text'
    command = ("sh", "-c", f"cd {tmp_path}; {script}", "sh", "{subject}")
    delivery.send(Message("me/probe\u202e\nx", "tag v1\u2066: \x1b[31mred\n"), command)
    assert (tmp_path / "subject").read_text() == "me/probe? x"
    assert (tmp_path / "text").read_text() == "tag v1?: red\n"
