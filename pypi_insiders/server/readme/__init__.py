"""Read summary, links and README of a distribution, rendered in a separate process."""

import json
import logging
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from io import FileIO
from typing import Any

from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.process import run

_log = logging.getLogger(__name__)

# Longer than the limit of processor time that the process sets itself.
_TIMEOUT_S = 15
_PATIENCE_S = 2
_KEPT = 16


@dataclass(frozen=True)
class Readme:
    """The summary, links and README of a distribution."""

    summary: str = ""
    """One line."""
    links: dict[str, str] = field(default_factory=dict)
    """Label to URL, of http or https."""
    facts: dict[str, str] = field(default_factory=dict)
    """Label to one line: the licence, who wrote it, keywords; only what the metadata has."""
    dependencies: list[str] = field(default_factory=list)
    """As the metadata has them, such as `rich>=13; extra == 'cli'`."""
    html: str = ""
    """The README, safe within a page; empty: there is none.

    It makes no requests, its links have `rel="noopener nofollow noreferrer"`, its headings start
    at level 3, and every `id` in it starts with `readme-`.
    """
    problem: str = ""
    """Why it is missing, cut or not rendered."""
    info: dict[str, Any] = field(default_factory=dict)
    """The metadata for the JSON API of PyPI; empty: it is too large, or cannot be read."""


BUSY = Readme(problem="Another README is being rendered; reload this page.")


class Reader:
    """Reads distributions, and caches the last results."""

    # Rendering takes 30 MB and may take long, so it runs in a process, one at a time.

    def __init__(self) -> None:
        self._known: dict[str, Readme] = {}
        self._turn = threading.Lock()

    def read(self, sha256: str, name: str, open_file: Callable[[], FileIO | None]) -> Readme:
        """Read a distribution; returns the same object while it is cached.

        Args:
            sha256: the hash of the file.
            name: its file name.
            open_file: opens the file; returns `None` if it is gone.
        """
        known = self._known.get(sha256)
        if known is not None:
            return known
        if not self._turn.acquire(timeout=_PATIENCE_S):
            return BUSY  # the waiting thread would be missing for installers
        try:
            return self._known.get(sha256) or self._find_out(sha256, name, open_file)
        finally:
            self._turn.release()

    def _find_out(self, sha256: str, name: str, open_file: Callable[[], FileIO | None]) -> Readme:
        file = open_file()
        if file is None:
            return Readme()
        with file:
            found = self._known[sha256] = _read(name, file)
        if len(self._known) > _KEPT:
            # The oldest, as dictionaries keep their order.
            del self._known[next(iter(self._known))]
        return found


def _read(name: str, file: FileIO) -> Readme:
    # -I, and no environment: nothing of the user's is imported or inherited.
    argv = (sys.executable, "-I", "-m", __name__, name)
    try:
        done = run(argv, timeout_s=_TIMEOUT_S, environment={"LC_ALL": "C.UTF-8"}, stdin=file)
        if done.status == 0:
            return Readme(**json.loads(done.stdout))
        reason = f"status {done.status}: {done.stderr.strip()[-400:]}"
    except (InsidersError, ValueError, TypeError) as error:
        reason = str(error)
    _log.warning("cannot render the README of %s: %s", name, reason)
    return Readme(problem="The README cannot be rendered.")
