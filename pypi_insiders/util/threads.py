"""Run functions in threads that do not keep the process from ending."""

from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from typing import TypeVar

_T = TypeVar("_T")


def begin(work: Callable[[], _T]) -> Future[_T]:
    """Run a function in a thread; what it raises is raised where the result is wanted."""
    future: Future[_T] = Future()

    def do() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    # Not a ThreadPoolExecutor: its import takes 1 ms of `status`, and Python waits for its threads
    # at its end, also after Ctrl-C.
    Thread(target=do, daemon=True).start()
    return future
