"""Answer questions about foreign text in a process of its own, with little time and memory.

What parses foreign text may take a time that grows with its square, or end the process.
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
# On a machine with much to do, that much of a processor takes longer.
_TIMEOUT_S = 60
_EXHAUSTED = 3
# Also by the kernel, which wants memory for others.
_FROM_OTHERS = (signal.SIGHUP, signal.SIGINT, signal.SIGKILL, signal.SIGTERM)


class ExhaustedError(InsidersError):
    """The answer would take too much time or memory.

    Args:
        doing: what was parsed, as `begin` was called with it.
    """

    def __init__(self, doing: str) -> None:
        super().__init__(f"{doing} takes too much time or memory to parse")


def limit(processor_s: int, memory_bytes: int) -> None:
    """Limit what this process may use from now on; it cannot write files any more.

    Args:
        processor_s: time of a processor; after so many seconds the process is killed.
        memory_bytes: address space.

    Source: setrlimit(2).
    """
    # First by SIGXCPU, by which nobody else ends it.
    resource.setrlimit(resource.RLIMIT_CPU, (processor_s, processor_s + 1))
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def ask(module: str, question: object) -> Any:
    """Return what a module answers that is run in a process of its own.

    Args:
        module: which calls `answer` when it is run.
        question: what can be written as JSON.

    Raises:
        ExhaustedError: the process met its limits.
        InsidersError: it cannot be run, or was ended by others.
    """
    argv = (sys.executable, "-I", "-m", module)
    text = json.dumps(question)
    done = run(argv, timeout_s=_TIMEOUT_S, environment={"LC_ALL": "C.UTF-8"}, stdin=text)
    if done.status == 0:
        return json.loads(done.stdout)
    if -done.status in _FROM_OTHERS:
        raise InsidersError(
            f"{module} was ended by signal {-done.status}", "the next update tries again"
        )
    if done.status < 0 or done.status == _EXHAUSTED:  # SIGSEGV: the stack of a parser in C
        raise ExhaustedError("".join(done.stderr.splitlines()[-1:]))
    raise RuntimeError(f"{module} ended with {done.status}: {done.stderr}")


def answer(reply: Callable[[Any], object]) -> None:
    """Read a question on standard input, and write the answer to standard output.

    Args:
        reply: gives the answer.
    """
    question = json.load(sys.stdin)
    limit(_PROCESSOR_S, _MEMORY_BYTES)
    try:
        sys.stdout.write(json.dumps(reply(question)))
        sys.stdout.flush()
    except MemoryError:
        sys.exit(_EXHAUSTED)


def begin(doing: str) -> None:
    """Note, in a process that answers, what is parsed now."""
    sys.stderr.write(f"{doing}\n")
    sys.stderr.flush()
