"""Remember hosts that do not answer: each of a thousand tasks would wait for them in vain."""

import contextlib
import threading
from collections import Counter
from collections.abc import Callable, Iterator


class SilentHosts:
    """The hosts that have not answered lately; thread-safe.

    Args:
        enough: a host that so many tasks in a row have not reached is silent. At least as many as
            ask at once, since a host may lose its connections together, and answer again.
    """

    def __init__(self, enough: int) -> None:
        self.enough = enough
        self._lock = threading.Lock()
        self._in_vain = Counter[str]()

    def is_silent(self, host: str) -> bool:
        """Return whether the host is not worth asking."""
        return self._in_vain[host] >= self.enough

    @contextlib.contextmanager
    def asking(self, host: str, is_silence: Callable[[Exception], bool]) -> Iterator[None]:
        """Remember whether the host answers in this context.

        Args:
            host: any name for it.
            is_silence: whether an error is none of its answers.
        """
        try:
            yield
        except Exception as error:
            with self._lock:
                self._in_vain[host] = self._in_vain[host] + 1 if is_silence(error) else 0
            raise
        self._in_vain[host] = 0
