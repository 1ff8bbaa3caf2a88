"""Run work in a background process."""

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
    """Run work in a child process until the context or this process ends.

    Call it while this process has a single thread. Of the open files the child uses only standard
    error.

    Args:
        work: runs in the child; its argument is a function to call when it is ready. The context
            begins then, and the child is killed when the context ends.

    Raises:
        InsidersError: `work` raised it before it was ready.

    Source: fork(2), setsid(2).
    """
    parent_end, child_end = socket.socketpair()
    with parent_end:
        with child_end:
            # A fork copies only the calling thread: locks that others hold would stay locked.
            process = os.fork()
            if process == 0:
                # Its own copy would keep `recv` below from ever seeing the parent's end.
                parent_end.close()
                _run_child(work, child_end)
        try:
            # Either the ready mark, or an error as JSON, or nothing where the child was killed.
            received = b""
            while not received.endswith(_READY) and (part := parent_end.recv(65536)):
                received += part
            if received != _READY:
                raise _child_error(received)
            yield
        finally:
            # SIGKILL, because the child may ignore or handle other signals.
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)


def _run_child(work: Callable[[Callable[[], None]], None], channel: socket.socket) -> NoReturn:
    try:
        # Ctrl-C reaches the foreground process group; the parent decides when the child ends.
        os.setsid()
        # The child must not write into the output of the command that is run in the foreground.
        nothing = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1):
            os.dup2(nothing, descriptor)
        # `recv` returns when the parent has ended, even by SIGKILL, which runs no `finally`.
        threading.Thread(target=lambda: os._exit(bool(channel.recv(1))), daemon=True).start()
        work(lambda: channel.sendall(_READY))
    except InsidersError as error:
        with contextlib.suppress(OSError):
            channel.sendall(json.dumps([error.message, error.hint]).encode())
    except BaseException:
        traceback.print_exc()
    finally:
        # Not sys.exit: the parent's `finally` blocks and atexit handlers are copied here, too.
        os._exit(1)


def _child_error(received: bytes) -> Exception:
    # Empty after a bug, whose traceback is on standard error, or a signal.
    if not received:
        return RuntimeError("the background process ended before it was ready")
    return InsidersError(*json.loads(received))
