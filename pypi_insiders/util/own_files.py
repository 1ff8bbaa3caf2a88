"""Read the program's own state files, and set damaged ones aside."""

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from pypi_insiders.util.errors import InsidersError, reason
from pypi_insiders.util.files import NotAFileError, cannot, open_file, read_all, set_aside

_log = logging.getLogger(__name__)

_T = TypeVar("_T")


class NewerError(InsidersError):
    """A file was written by a newer version of this program."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"{path} was written by a newer version of this program",
            "install that version again; the file is left unchanged",
        )
        self.path = path


def recall(path: Path, parse: Callable[[str], _T]) -> _T | None:
    """Read and parse a state file; set it aside if it is damaged.

    A file is damaged if it cannot be parsed or read, or if it is a directory or FIFO.

    Args:
        path: the file.
        parse: parses its text, and raises ValueError, TypeError or LookupError for invalid ones.

    Returns:
        The parsed content; `None` if the file does not exist or was set aside.

    Raises:
        NewerError: raised by `parse`; the file is left unchanged.
        InsidersError: the file system fails, or a damaged file cannot be set aside.
    """
    seen = None
    try:
        with open_file(path) as file:
            # Of the file that is read, which another process may replace meanwhile.
            seen = os.fstat(file.fileno()).st_ino
            return parse(read_all(file))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        # EIO, EMFILE and the like pass: the file may be whole, and must not be set aside for them.
        if not isinstance(error, PermissionError | IsADirectoryError | NotAFileError):
            raise cannot("read", path, error) from error
        why = reason(error)
    # OverflowError: JSON of Python has `Infinity`, of which no whole number can be made.
    except (
        ValueError, TypeError, AttributeError, LookupError, RecursionError, OverflowError,
    ) as error:  # fmt: skip
        why = reason(error)
    # A damaged file must not stop every update from now on, so it counts as missing. A file that
    # another process has written since is whole, and stays.
    if seen is None or _is_still(path, seen):
        try:
            aside = set_aside(path)
        except InsidersError as error:
            raise InsidersError(f"cannot read {path}: {why}", error.hint) from error
        _log.warning("%s is damaged (%s); set aside as %s", path, why, aside.name)
    return None


def recall_or(otherwise: _T, path: Path, parse: Callable[[str], _T]) -> _T:
    """Return what `recall` does, or `otherwise` without it; log why a file cannot be read."""
    try:
        found = recall(path, parse)
    except InsidersError as error:
        _log.warning("%s", error.message)
        return otherwise
    return otherwise if found is None else found


def _is_still(path: Path, inode: int) -> bool:
    try:
        return path.stat().st_ino == inode
    except OSError:
        return False
