"""Why an update that is followed has failed."""

from pypi_insiders.systemd import following
from pypi_insiders.systemd.unit_names import WATCHER


def test_of_an_update_that_did_not_begin_no_other_status_line_is_told() -> None:
    """Its unit still has that of the one before."""
    state = {"ExecMainStatus": "0", "StatusText": "Checked 1 repository, published 0 files"}
    why = following._why(WATCHER.service, {**state, "Result": "start-limit-hit"})
    assert why == "it was started too often (start-limit-hit)"
    assert following._why(WATCHER.service, {**state, "Result": "signal"}) == state["StatusText"]
