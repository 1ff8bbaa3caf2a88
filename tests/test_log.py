"""What the log looks like on standard error, seen from outside a real process."""

import subprocess
import sys

import pytest

_CODE = """
import logging, os, sys
from pypi_insiders import log
if sys.argv[2] == "journal":
    status = os.fstat(2)
    os.environ["JOURNAL_STREAM"] = f"{status.st_dev}:{status.st_ino}"
log.setup(int(sys.argv[1]))
logger = logging.getLogger("pypi_insiders.room")
logger.debug("step %d", 1)
logger.info("done")
logger.warning("strange\\n\\n  details")
logger.error("broken")
logger.critical("")
logging.getLogger("elsewhere").info("not ours")
"""


def _stderr(verbosity: int = 0, stream: str = "pipe", code: str = _CODE, **environ: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, str(verbosity), stream],
        env={"PYTHONUTF8": "1", **environ},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout == ""
    return done.stderr


@pytest.mark.parametrize(
    ("verbosity", "before"),
    [(-2, ""), (-1, ""), (0, "done\n"), (1, "step 1\ndone\n"), (2, "step 1\ndone\n")],
)
def test_in_a_pipe_warnings_and_errors_have_their_level(verbosity: int, before: str) -> None:
    assert _stderr(verbosity) == (
        f"{before}warning: strange\n\n  details\nerror: broken\ncritical: \n"
    )


@pytest.mark.parametrize(
    ("verbosity", "before"), [(-1, ""), (0, "<6>done\n"), (1, "<7>step 1\n<6>done\n")]
)
def test_in_the_journal_every_line_has_its_priority(verbosity: int, before: str) -> None:
    assert _stderr(verbosity, "journal") == (
        f"{before}<4>strange\n<4>\n<4>  details\n<3>broken\n<2>\n"
    )


def test_a_traceback_is_prefixed_line_by_line() -> None:
    code = _CODE.partition("logger.debug")[0] + (
        "try:\n    1 / 0\nexcept ZeroDivisionError:\n    logger.exception('bug')\n"
    )
    lines = _stderr(0, "journal", code).splitlines()
    assert lines[:2] == ["<3>bug", "<3>Traceback (most recent call last):"]
    assert lines[-1] == "<3>ZeroDivisionError: division by zero"
    assert {line[:3] for line in lines} == {"<3>"}


@pytest.mark.parametrize("stream", ["", "1:2", "1", "x:y"])
def test_the_journal_of_another_stream_is_not_ours(stream: str) -> None:
    """A program started from a service may have its output elsewhere."""
    assert _stderr(JOURNAL_STREAM=stream) == _stderr()


def test_setting_up_twice_does_not_say_it_twice() -> None:
    code = _CODE.replace("log.setup(int(sys.argv[1]))", "log.setup(1); log.setup(0)")
    assert _stderr(code=code) == _stderr()


def test_records_go_to_what_standard_error_is_at_that_moment() -> None:
    """A live display replaces it while it runs."""
    code = """
import io, logging, sys
from pypi_insiders import log
log.setup()
logger, real, sys.stderr = logging.getLogger("pypi_insiders"), sys.stderr, io.StringIO()
logger.warning("to the display")
shown, sys.stderr = sys.stderr.getvalue(), real
logger.warning("and back; the display had %r", shown)
"""
    assert _stderr(code=code) == (
        "warning: and back; the display had 'warning: to the display\\n'\n"
    )


def test_what_foreign_programs_write_moves_no_cursor() -> None:
    code = _CODE.partition("logger.debug")[0] + (
        "logger.info('\\x1b[31mred\\x1b[0m\\r\\n50 %\\r100 %\\ttab \\x1b]0;title\\x07 \\x9b2J ü')\n"
    )
    assert _stderr(0, code=code) == "red\n50 %\n100 %\ttab ?]0;title? ?2J ü\n"
