"""Notice at once that a directory has changed."""

import contextlib
import fcntl
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def watching(directory: Path | None, on_change: Callable[[], None]) -> Iterator[None]:
    """Call back whenever a file appears in a directory, disappears or is renamed.

    Where the system or the file system cannot tell, nobody is called: look now and then as well.

    Args:
        directory: `None` is none.
        on_change: called as a signal handler is, in the main thread, where this must be too.

    Source: fcntl(2), `F_NOTIFY`.
    """
    if directory is None or not hasattr(fcntl, "F_NOTIFY"):
        yield
        return
    handler = signal.signal(signal.SIGIO, lambda _number, _frame: on_change())
    events = fcntl.DN_CREATE | fcntl.DN_DELETE | fcntl.DN_RENAME | fcntl.DN_MULTISHOT
    descriptor = -1
    try:
        with contextlib.suppress(OSError):
            descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.fcntl(descriptor, fcntl.F_NOTIFY, events)
        yield
    finally:
        # First, so that no signal comes after the handler has gone: SIGIO ends a process.
        if descriptor >= 0:
            os.close(descriptor)
        signal.signal(signal.SIGIO, handler)
