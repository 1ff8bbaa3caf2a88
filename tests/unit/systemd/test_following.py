"""What is shown of an update that is followed, and why it has failed."""

import json
import logging
import tempfile

import pytest

from pypi_insiders.systemd import following
from pypi_insiders.systemd.unit_names import WATCHER
from pypi_insiders.util import log
from pypi_insiders.util.process import Lines


def test_of_an_update_that_did_not_begin_no_other_status_line_is_told() -> None:
    """Its unit still has that of the one before."""
    state = {"ExecMainStatus": "0", "StatusText": "Checked 1 repository, published 0 files"}
    why = following._why(WATCHER.service, {**state, "Result": "start-limit-hit"})
    assert why == "it was started too often (start-limit-hit)"
    assert following._why(WATCHER.service, {**state, "Result": "signal"}) == state["StatusText"]


def test_an_update_that_ends_with_an_error_is_shown_as_it_ended(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Its hint has a line of its own, and its level is not told twice."""
    entry = {
        "SYSLOG_IDENTIFIER": WATCHER.identifier,
        "PRIORITY": "3",
        "MESSAGE": "error: cannot lock it\nhint: mount it",
    }
    handler, logger = log._StreamHandler(), logging.getLogger("pypi_insiders")
    logger.addHandler(handler)
    try:
        with tempfile.TemporaryFile() as journal:
            journal.write(json.dumps(entry).encode() + b"\n")
            journal.seek(0)
            following._log_entries(Lines(journal), 1)
    finally:
        logger.removeHandler(handler)
    assert capsys.readouterr().err == "error: cannot lock it\nhint: mount it\n"
