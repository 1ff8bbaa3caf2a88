"""Note what this process does to files."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

Note = Callable[[str, tuple[Any, ...]], None]
_notes: list[Note] = []


@contextmanager
def audited(note: Note) -> Iterator[None]:
    """Call a function for each event of the interpreter, with its details.

    Source: sys.addaudithook; a hook cannot be taken back, so there is one for all.
    """
    if _first not in _notes:
        _notes.append(_first)
        sys.addaudithook(lambda event, details: [it(event, details) for it in _notes] and None)
    _notes.append(note)
    try:
        yield
    finally:
        _notes.remove(note)


def _first(_event: str, _details: tuple[Any, ...]) -> None:
    """Stand for the hook."""
