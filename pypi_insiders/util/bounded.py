"""Parse foreign text in a child process with limited time and memory.

A parser of foreign text may take quadratic time, or crash its process.
"""

import json
import resource
import signal
import sys
from collections.abc import Callable
from typing import Any

from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.process import run

_PROCESSOR_S = 2
_MEMORY_BYTES = 1024 * 1024 * 1024
# Wall-clock time: on a loaded machine two seconds of processor time take longer.
_TIMEOUT_S = 60
_EXHAUSTED = 3
# Signals that do not mean that the text is at fault. SIGKILL is also the kernel's OOM killer.
_EXTERNAL_SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGKILL, signal.SIGTERM)


class ExhaustedError(InsidersError):
    """Parsing takes too much time or memory.

    Args:
        subject: what was parsed, as passed to `begin`.
    """

    def __init__(self, subject: str) -> None:
        super().__init__(f"{subject} takes too much time or memory to parse")


def limit(processor_s: int, memory_bytes: int) -> None:
    """Limit the resources of this process; it cannot write files from now on.

    Args:
        processor_s: processor time, after which the process is killed.
        memory_bytes: address space.

    Source: setrlimit(2).
    """
    # The soft limit sends SIGXCPU, which is sent for nothing else, a second before the hard limit's
    # SIGKILL: so `ask` knows that the text was at fault and not the machine.
    resource.setrlimit(resource.RLIMIT_CPU, (processor_s, processor_s + 1))
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def ask(module: str, question: object) -> Any:
    """Run a module in a child process and return its answer.

    Args:
        module: calls `answer` when it is run.
        question: a JSON value.

    Raises:
        ExhaustedError: the child reached its limits.
        InsidersError: the child cannot be run, or another process killed it.
    """
    # -I: neither the current directory nor PYTHONPATH may add modules.
    argv = (sys.executable, "-I", "-m", module)
    text = json.dumps(question)
    done = run(argv, timeout_s=_TIMEOUT_S, environment={"LC_ALL": "C.UTF-8"}, stdin=text)
    if done.status == 0:
        return json.loads(done.stdout)
    if -done.status in _EXTERNAL_SIGNALS:
        raise InsidersError(
            f"{module} was killed by signal {-done.status}", "the next update tries again"
        )
    # Other signals are the text's doing, such as SIGSEGV where a parser in C overflows its stack.
    if done.status < 0 or done.status == _EXHAUSTED:
        raise ExhaustedError("".join(done.stderr.splitlines()[-1:]))
    raise RuntimeError(f"{module} exited with {done.status}: {done.stderr}")


def answer(reply: Callable[[Any], object]) -> None:
    """Read a question from standard input and write its answer to standard output.

    Args:
        reply: returns the answer to a question.
    """
    question = json.load(sys.stdin)
    # Only now: the imports of the module are not the text's fault.
    limit(_PROCESSOR_S, _MEMORY_BYTES)
    try:
        sys.stdout.write(json.dumps(reply(question)))
        sys.stdout.flush()
    except MemoryError:
        sys.exit(_EXHAUSTED)


def begin(doing: str) -> None:
    """Name the text that this child parses next, for the error message of `ask`."""
    # To standard error, because after a crash there is no result.
    sys.stderr.write(f"{doing}\n")
    sys.stderr.flush()
