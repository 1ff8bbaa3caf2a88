"""What the log looks like on standard error, seen from outside a real process."""

import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pypi_insiders.util.journal import identifier

_CODE = """
import logging, os, sys
from pathlib import Path
from pypi_insiders.util import journal, log
if sys.argv[2] == "journal":
    journal.SOCKET = Path(sys.argv[3])
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


def _stderr(
    verbosity: int = 0,
    stream: str = "pipe",
    code: str = _CODE,
    socket: Path = Path("/nonexistent"),
    **environ: str,
) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, str(verbosity), stream, socket],
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
def test_without_the_journals_socket_every_line_has_its_priority(
    verbosity: int, before: str
) -> None:
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
from pypi_insiders.util import log
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


def test_what_is_put_into_a_message_begins_no_line() -> None:
    """A name with line ends stays in its line; only what a build wrote has lines of its own."""
    code = _CODE.partition("logger.debug")[0] + (
        "from pypi_insiders.util.plain_text import Block\n"
        "name = Path('x\\nerror: forged\\r\\n\\udcff')\n"
        "logger.warning('%s: %d of %s failed: %r', 'me\\n<0>x', 1, name, str(name))\n"
        "logger.info('%(a)s', {'a': 'of\\na table'})\n"
        "logger.info('%s:\\n%s', 'wrote', Block('one\\ntwo \\udcff'))\n"
    )
    told = "me <0>x: 1 of x error: forged ? failed: 'x\\nerror: forged\\r\\n\\udcff'"
    assert _stderr(0, code=code) == f"warning: {told}\nof a table\nwrote:\none\ntwo ?\n"
    assert _stderr(0, "journal", code) == (
        f"<4>{told}\n<6>of a table\n<6>wrote:\n<6>one\n<6>two ?\n"
    )


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[socket.socket]:
    """The end of a socket at which the journal would read."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.bind(str(tmp_path / "socket"))
        journal.settimeout(30)
        yield journal


def _entry(message: str, priority: int, *further: str) -> bytes:
    """Write an entry as https://systemd.io/JOURNAL_NATIVE_PROTOCOL/ says."""
    text = message.encode()
    first = b"MESSAGE=" + text
    if b"\n" in text:
        first = b"MESSAGE\n" + struct.pack("<Q", len(text)) + text
    rest = [f"PRIORITY={priority}", "SYSLOG_IDENTIFIER=pypi-insiders", *further]
    return b"\n".join([first, *(line.encode() for line in rest), b""])


def test_each_record_is_one_entry_of_the_journal(journal: socket.socket) -> None:
    """With its priority and all its lines, and nothing on standard error; with a text between."""
    code = _CODE + "log.tell('told')\nlog.tell('bad', is_error=True)\n"
    assert _stderr(-1, "journal", code, Path(journal.getsockname())) == ""
    assert [journal.recv(4096) for _ in range(5)] == [
        _entry("strange\n\n  details", 4),
        _entry("broken", 3),
        _entry("", 2),
        _entry("told", 6),
        _entry("bad", 3),
    ]


def test_an_entry_names_the_repository_that_it_is_about(journal: socket.socket) -> None:
    """In each thread another one, and afterwards none."""
    code = (
        _CODE.partition("logger.debug")[0]
        + """
import threading
def other():
    logger.info("there")
    with log.about("me/other"):
        logger.info("other")
with log.about("me/probe"):
    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    logger.info("here")
logger.info("nowhere")
"""
    )
    assert _stderr(0, "journal", code, Path(journal.getsockname())) == ""
    assert [journal.recv(4096) for _ in range(4)] == [
        _entry("there", 6),
        _entry("other", 6, "PYPI_INSIDERS_REPOSITORY=me/other"),
        _entry("here", 6, "PYPI_INSIDERS_REPOSITORY=me/probe"),
        _entry("nowhere", 6),
    ]


def test_an_entry_may_be_larger_than_a_datagram(journal: socket.socket) -> None:
    """It comes as a file, which nobody can change any more; and what is no text does no harm."""
    code = _CODE.partition("logger.debug")[0] + "logger.info('\\udcff' + 4_000_000 * 'x')\n"
    assert _stderr(0, "journal", code, Path(journal.getsockname())) == ""
    content, (descriptor,), _, _ = socket.recv_fds(journal, 4096, 1)
    with os.fdopen(descriptor, "r+b") as file:
        assert (content, os.pread(descriptor, 5_000_000, 0)) == (
            b"",
            _entry("?" + 4_000_000 * "x", 6),
        )
        with pytest.raises(PermissionError):
            file.truncate(0)


@pytest.mark.parametrize(
    ("cgroup", "expected"),
    [
        ("0::/user.slice/a.slice/pypi-insiders-watcher.service\n", "pypi-insiders-watcher"),
        ("3:cpu:/\n1:name=systemd:/a/pypi-insiders-server.service\n", "pypi-insiders-server"),
        ("0::/user.slice/run-u12.service\n", "pypi-insiders"),
        ("0::/pypi-insiders-watcher.service/below\n", "pypi-insiders"),
        ("", "pypi-insiders"),
        (
            "0::/user.slice/a/pypi-insiders.slice/pypi-insiders-notify@server-ok.service\n",
            "pypi-insiders-notify",
        ),
    ],
)
def test_entries_of_our_units_are_filed_under_their_names(cgroup: str, expected: str) -> None:
    assert identifier(cgroup) == expected


def test_what_is_put_together_keeps_its_spaces() -> None:
    """A part that is empty or begins with a space; only one of several lines is stripped."""
    code = (
        "import logging; from pypi_insiders.util import log; log.setup(0)\n"
        "log = logging.getLogger('pypi_insiders.room')\n"
        "log.info('update%s, %s', ' me/probe', ' a\\n b ')"
    )
    assert _stderr(code=code) == "update me/probe, a b\n"


def test_a_module_that_knows_of_no_repository_is_said_to_be_about_one() -> None:
    """Of several that are built at once, a warning of a build names its own."""
    code = """
import logging
from pypi_insiders.util import log
log.setup(1)
for name in ("builder.build", "builder.sandbox_probe"):
    logger = logging.getLogger(f"pypi_insiders.{name}")
    logger.warning("before")
    with log.about("me/probe"):
        logger.warning("no Python")
        logger.debug("step")
"""
    probe = "warning: before\nwarning: no Python\nstep\n"
    assert _stderr(code=code) == probe.replace("no", "me/probe: no") + probe
