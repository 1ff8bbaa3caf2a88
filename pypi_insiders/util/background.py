"""Do work in a process beside this one."""

import contextlib
import json
import logging
import os
import signal
import socket
import threading
import traceback
from collections.abc import Callable, Iterator
from typing import NoReturn

from pypi_insiders.util.errors import InsidersError

_log = logging.getLogger(__name__)

_READY = b"\0"


@contextlib.contextmanager
def background_process(work: Callable[[Callable[[], None]], None]) -> Iterator[None]:
    """Do something in a process of its own until the context ends, or this process, however.

    To be called while there are no other threads. That process is in a session of its own, so no
    terminal ends it, and of our files it uses standard error only.

    Args:
        work: is given what it calls as soon as it is ready, for which the context waits; it is
            killed, whatever it does.

    Raises:
        InsidersError: raised there before it was ready.

    Source: fork(2), setsid(2).
    """
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            process = os.fork()
            if process == 0:
                ours.close()
                _work_beside(work, theirs)
        try:
            told = b""
            while not told.endswith(_READY) and (part := ours.recv(65536)):
                told += part
            if told != _READY:
                raise _as_told(told)
            yield
        finally:
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)


def _work_beside(work: Callable[[Callable[[], None]], None], channel: socket.socket) -> NoReturn:
    """Be the other process."""
    try:
        os.setsid()
        nothing = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1):
            os.dup2(nothing, descriptor)
        # At the other end's end, by whatever way.
        threading.Thread(target=lambda: os._exit(bool(channel.recv(1))), daemon=True).start()
        work(lambda: channel.sendall(_READY))
    except InsidersError as error:
        with contextlib.suppress(OSError):
            channel.sendall(json.dumps([error.message, error.hint]).encode())
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(1)


def _as_told(told: bytes) -> Exception:
    """Read what the other process said, which is nothing if it met a bug or was killed."""
    return InsidersError(*json.loads(told)) if told else RuntimeError("ended before it was ready")
