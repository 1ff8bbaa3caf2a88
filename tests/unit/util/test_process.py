"""Programs that are run to their end, with their output, or in our place."""

import logging
import os
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pypi_insiders.util import foreground
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.process import Result, run
from pypi_insiders.util.process_group import Command, ProcessGroup


def _python(code: str, *arguments: str) -> list[str]:
    return [sys.executable, "-c", code, *arguments]


def _refusal(call: Callable[[], object]) -> tuple[str, str | None]:
    with pytest.raises(InsidersError) as caught:
        call()
    return caught.value.message, caught.value.hint


_BOTH = """
import sys
for number in range(3):
    print("out", number, flush=True)
    print("err", number, file=sys.stderr, flush=True)
sys.exit(3)
"""


def test_status_and_both_outputs_are_the_result() -> None:
    assert run(_python(_BOTH), timeout_s=60) == Result(
        3, "out 0\nout 1\nout 2\n", "err 0\nerr 1\nerr 2\n"
    )


def _contained(code: str, *, directory: Path = Path("/"), timeout_s: float = 60) -> Result:
    return ProcessGroup().run(Command(_python(code), os.environ, directory, timeout_s))


def test_merged_output_keeps_its_order() -> None:
    assert _contained(_BOTH) == Result(3, "out 0\nerr 0\nout 1\nerr 1\nout 2\nerr 2\n", "")


def test_a_program_that_a_signal_ends_has_its_negative_number() -> None:
    code = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    assert run(_python(code), timeout_s=60) == Result(-9, "", "")


_FLOOD = """
import os, sys
for _ in range(64):
    os.write(1, bytes(1024 * 1024))
os.write(1, "ä".encode() * 1024 * 1024 + b"last")
print(os.path.realpath("/proc/self/fd/1").startswith("/proc/"), end="", file=sys.stderr)
"""


def test_of_very_much_output_the_end_is_kept_and_nothing_is_written_to_a_disk() -> None:
    """Nobody measures the disk where it would lie, and foreign code may write without end."""
    tracemalloc.start()
    result = _contained(_FLOOD)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(result.stdout.encode()) <= 4 * 1024 * 1024 + 2
    assert result.stdout.endswith("ä" * 1024 * 1024 + "lastTrue")
    assert peak_bytes < 32 * 1024 * 1024


_LEFT = """
import os, signal, sys
print("told", flush=True)
if not os.fork():
    os.setsid()
    signal.setitimer(signal.ITIMER_REAL, 20)
    if sys.argv[1] == "writes":
        while True:
            os.write(1, bytes(65536))
    signal.pause()
"""


@pytest.mark.parametrize("what", ["waits", "writes"])
def test_what_is_left_behind_is_not_waited_for(what: str) -> None:
    """It has the pipe open, and may write to it without end."""
    begun_s = time.monotonic()
    command = Command(_python(_LEFT, what), dict(os.environ), Path("/"), 60)
    result = ProcessGroup().run(command)
    assert result.status == 0
    assert (result.stdout == "told\n") is (what == "waits")
    assert time.monotonic() - begun_s < 15


def test_output_that_is_closed_early_is_no_end() -> None:
    code = (
        "import os, signal; print('told', flush=True); os.close(1); os.close(2); "
        "signal.setitimer(signal.ITIMER_REAL, 0.5); signal.signal(signal.SIGALRM, lambda *_: 0); "
        "signal.pause(); os._exit(7)"
    )
    assert _contained(code) == Result(7, "told\n", "")


@pytest.mark.parametrize("ignored", ["- INT", "'' HUP INT QUIT", "'' INT"])
def test_contained_programs_begin_with_default_signals(ignored: str) -> None:
    """Also under nohup(1): what ends its helpers by SIGINT would wait for ever."""
    show = "import signal; print([signal.getsignal(n) is signal.SIG_IGN for n in (1, 2, 3)])"
    code = (
        "import os, sys; from pathlib import Path; "
        "from pypi_insiders.util.process_group import Command, ProcessGroup;"
        "command = Command([sys.executable, '-c', sys.argv[1]], os.environ, Path('/'), 60);"
        "print(ProcessGroup().run(command).stdout, end='')"
    )
    done = subprocess.run(
        ["sh", "-c", f"trap {ignored}; exec \"$@\"", "sh", *_python(code, show)],
        capture_output=True, text=True,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("[False, False, False]\n", "")


def test_what_is_not_found_is_named_where_signals_are_ignored() -> None:
    code = (
        "from pypi_insiders.util.process_group import Command, ProcessGroup;"
        "from pathlib import Path; ProcessGroup().run(Command(['nowhere'], {}, Path('/'), 60))"
    )
    done = subprocess.run(
        ["sh", "-c", "trap '' INT; exec \"$@\"", "sh", *_python(code)],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.stderr.splitlines()[-1].endswith("InsidersError: nowhere was not found")


def test_output_that_is_no_text_is_a_result_too() -> None:
    code = r"import sys; sys.stdout.buffer.write('grüße'.encode() + b'\xff')"
    assert run(_python(code), timeout_s=60).stdout == "grüße\N{REPLACEMENT CHARACTER}"


def test_there_is_no_shell() -> None:
    code = "import sys; print(sys.argv[1:])"
    arguments = ["$HOME", "a b", ";id", "*", "", "--"]
    assert run(_python(code, *arguments), timeout_s=60).stdout == f"{arguments}\n"


_ENVIRONMENT = "import os; print([os.environ.get(name) for name in ('LC_ALL', 'OURS')])"


def test_by_default_the_environment_is_ours_with_messages_in_english(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    monkeypatch.setenv("OURS", "1")
    assert run(_python(_ENVIRONMENT), timeout_s=60).stdout == "['C.UTF-8', '1']\n"


def test_an_environment_that_is_given_is_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OURS", "1")
    result = run(_python(_ENVIRONMENT), timeout_s=60, environment={"LC_ALL": "de"})
    assert result.stdout == "['de', None]\n"


def test_directory(tmp_path: Path) -> None:
    code = "import os; print(os.getcwd())"
    assert _contained(code, directory=tmp_path).stdout == f"{tmp_path}\n"


def test_a_program_that_takes_too_long_is_killed(tmp_path: Path) -> None:
    """While it lives it has the pipe open, so that reading would not end."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    end = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    code = 'exec > "$1"; echo started; kill -STOP $$'
    assert _refusal(lambda: run(["sh", "-c", code, "sh", str(pipe)], timeout_s=2.5)) == (
        "sh timed out after 2.5 s",
        None,
    )
    os.set_blocking(end, True)
    with os.fdopen(end) as file:
        assert file.read() == "started\n"


MISSING = "pypi-insiders-no-such-program"


RUNNERS = pytest.mark.parametrize(
    "call",
    [lambda argv: run(argv, timeout_s=60), foreground.attached, foreground.exec_program],
    ids=["run", "attached", "exec"],
)


@RUNNERS
def test_a_missing_program_is_named(
    monkeypatch: pytest.MonkeyPatch, call: Callable[[list[str]], object]
) -> None:
    monkeypatch.setenv("PATH", os.defpath)  # all of it can be searched
    assert _refusal(lambda: call([MISSING])) == (
        f"{MISSING} was not found",
        f"install {MISSING}",
    )


@RUNNERS
def test_a_file_that_is_no_program_is_refused(
    tmp_path: Path, call: Callable[[list[str]], object]
) -> None:
    path = tmp_path / "program"
    path.write_text("#!/bin/sh\n")
    assert _refusal(lambda: call([str(path)])) == (f"cannot run {path}: Permission denied", None)


def test_a_missing_directory_is_not_taken_for_a_missing_program(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    message, _ = _refusal(lambda: _contained("", directory=missing))
    assert str(missing) in message


def test_what_is_run_can_be_pasted_from_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="pypi_insiders.util")
    run(["true", "a b", "$x"], timeout_s=60)
    foreground.attached(["true", "--"])
    assert caplog.messages == ["+ true 'a b' '$x'", "+ true --"]


def _child(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        _python(
            "import os, sys\nfrom pypi_insiders.util.process import run\n"
            "from pypi_insiders.util.foreground import attached, exec_program\n"
            f"{code}"
        ),
        input="for the person's shell",
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


_TELL = "import os, sys; print(os.getpid(), repr(sys.stdin.read())); sys.exit(5)"


def test_a_program_gets_none_of_our_input() -> None:
    done = _child(f"print(run([sys.executable, '-c', {_TELL!r}], timeout_s=60).stdout.split()[1:])")
    assert (done.stdout, done.stderr) == ("[\"''\"]\n", "")


def test_an_attached_program_prints_on_our_output_and_we_go_on() -> None:
    code = f"status = attached([sys.executable, '-c', {_TELL!r}]); print('then', status)"
    done = _child(code)
    told, then = done.stdout.splitlines()
    assert (told.split()[1:], then, done.stderr, done.returncode) == (["''"], "then 5", "", 0)


def test_exec_ends_in_our_place_with_our_input() -> None:
    argv = f"[sys.executable, '-c', {_TELL!r}]"
    code = f"print(os.getpid(), flush=True); exec_program({argv}); print('never')"
    done = _child(code)
    before, after = done.stdout.splitlines()
    assert (after, done.returncode) == (f'{before} "for the person\'s shell"', 5)
    assert done.stderr == ""


def _gate(directory: Path) -> tuple[Path, int]:
    """Make a pipe that is at its end when nobody holds it open for writing any more."""
    path = directory / "gate"
    os.mkfifo(path)
    return path, os.open(path, os.O_RDONLY | os.O_NONBLOCK)


def test_a_process_that_is_left_behind_ends_with_its_parent(tmp_path: Path) -> None:
    """Its end of a pipe is closed when the result is there."""
    path, gate = _gate(tmp_path)
    code = f"import os, signal\nheld = open({str(path)!r}, 'w')\nif os.fork() == 0: signal.pause()"
    assert _contained(code).status == 0
    os.set_blocking(gate, True)
    assert os.read(gate, 1) == b""
    os.close(gate)


def test_foreign_code_that_takes_too_long_is_killed_with_all_its_processes(tmp_path: Path) -> None:
    path, gate = _gate(tmp_path)
    code = (
        f"import os, signal\nheld = open({str(path)!r}, 'w')\nprint('begun', flush=True)\n"
        "os.fork()\nsignal.pause()"
    )
    assert _contained(code, timeout_s=3) == Result(-9, "begun\n\nkilled after 3 s\n", "")
    os.set_blocking(gate, True)
    assert os.read(gate, 1) == b""
    os.close(gate)


def test_foreign_code_has_no_terminal() -> None:
    code = "try: open('/dev/tty')\nexcept OSError as error: print(error.strerror)"
    assert _contained(code).stdout == "No such device or address\n"


def test_all_foreign_code_can_be_ended_at_once(tmp_path: Path) -> None:
    path = tmp_path / "gate"
    os.mkfifo(path)
    code = f"import signal\nheld = open({str(path)!r}, 'w')\nsignal.pause()"
    processes = ProcessGroup()

    def run_it() -> Result:
        return processes.run(Command(_python(code), os.environ, tmp_path, 60))

    with ThreadPoolExecutor() as pool:
        running = pool.submit(run_it)
        with path.open() as gate:  # opens when the code is there
            processes.end()
            assert gate.read() == ""
        assert running.result().status == -9
    assert run_it().status == -9  # and nothing is begun after that
