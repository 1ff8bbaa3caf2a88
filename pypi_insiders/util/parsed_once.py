"""Parse a file once while it stays the same, in a command that looks at many files many times."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

_T = TypeVar("_T")

# By path; the identity of the file, `None` if it is missing, and what came of it.
_seen: dict[Path | str, tuple[tuple[int, ...] | None, Any]] | None = None


@contextmanager
def parsed_once() -> Iterator[None]:
    """Remember within this context what `unchanged` has returned, in all threads."""
    global _seen  # noqa: PLW0603  # of the process, as the files are
    before, _seen = _seen, {} if _seen is None else _seen
    try:
        yield
    finally:
        _seen = before


def unchanged(path: Path | str, read: Callable[[], _T | None]) -> _T | None:
    """Return `read()`, or within `parsed_once` its former result if the file is still the same.

    Args:
        path: the file that `read` reads.
        read: its result is shared, so nobody may change it; `None` is not remembered.
    """
    if _seen is None:
        return read()
    # Before the file is read: if it is replaced meanwhile, the next call finds another identity.
    try:
        it = os.stat(path)  # noqa: PTH116 - a text takes a third of the time of a Path
        identity = (it.st_ino, it.st_dev, it.st_size, it.st_mtime_ns, it.st_ctime_ns)
    except FileNotFoundError:
        identity = None
    except OSError:
        return read()
    before = _seen.get(path)
    if before is not None and before[0] == identity:
        found: _T = before[1]
        return found
    if (content := read()) is not None:
        _seen[path] = identity, content
    return content


def own_copy(found: _T) -> _T:
    """Return a copy of an object with lists and tables of its own, whose items are shared."""
    # Not copy.copy(), which takes four times as long: each command copies the states of all
    # repositories.
    copied = object.__new__(type(found))
    fields = vars(copied)
    for key, value in vars(found).items():
        fields[key] = value.copy() if isinstance(value, (list, dict)) else value
    return copied
