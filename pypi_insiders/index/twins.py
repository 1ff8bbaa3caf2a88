"""Find files that are the same file of a release under two names."""

import os
import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

from pypi_insiders.index import distribution

_NUMBERS = re.compile("[1-9][0-9]*")


def served_instead(
    directory: Path, name: str, others: Iterable[str], is_published: Callable[[str], bool]
) -> str | None:
    """Return the file that is served in place of a new one; `None`: the new one is served.

    Of two files of one release and kind, such as `Probe-1.0.tar.gz` and `probe-1.0.zip`, an
    installer takes either. A published file stays; of new ones the oldest is served.

    Args:
        directory: of the files.
        name: of an sdist or wheel that was never served.
        others: the sdists and wheels of its project, with itself.
        is_published: whether a file was served before.
    """
    near = _numbers(name)
    # Few names have the same numbers, and it takes ten times as long to parse one.
    same = [other for other in others if _numbers(other) == near and _kind(other) == _kind(name)]
    if len(same) < 2:
        return None
    first = min(same, key=lambda it: (not is_published(it), _modified_ns(directory / it), it))
    return first if first != name else None


def problem(name: str, served: str) -> str:
    """Return why a file is not served, one line."""
    project, version = distribution.release_of(name)
    return f"{name} is the same file of {project} {version} as {served}"


def _numbers(name: str) -> frozenset[str]:
    return frozenset(_NUMBERS.findall(name))


@lru_cache(maxsize=64)
def _kind(name: str) -> tuple[Any, ...]:
    return distribution.release_of(name)[1], distribution.kind_of(name)


def _modified_ns(path: Path) -> float:
    try:
        return os.lstat(path).st_mtime_ns
    except OSError:  # it is gone
        return float("inf")
