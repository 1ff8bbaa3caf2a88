"""Read files that the program wrote for itself, and that may be damaged."""

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import NotAFileError, hint_for, open_file, read_all, set_aside

_log = logging.getLogger(__name__)

_T = TypeVar("_T")


class NewerError(InsidersError):
    """A file was written by a newer version of this program, and is not damaged."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"{path} was written by a newer version of this program",
            "install that version again; the file is left as it is",
        )
        self.path = path


def recall(path: Path, understand: Callable[[str], _T]) -> _T | None:
    """Read a file, or set it aside where it is damaged: then it is as if there were none.

    Damaged is what cannot be understood, what nobody may read, and a directory or a FIFO in its
    place. One line in the log says that it was set aside, and why.

    Args:
        path: the file.
        understand: makes of its text what it says; raises whatever it likes for other texts.

    Returns:
        What it says; `None` where there is no such file, or no longer.

    Raises:
        NewerError: `understand` does; the file stays as it is.
        InsidersError: the directory cannot be read, or a damaged file not be set aside.
    """
    seen = None
    try:
        with open_file(path) as file:
            seen = os.fstat(file.fileno()).st_ino
            return understand(read_all(file))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except NewerError:
        raise
    except OSError as error:
        if not isinstance(error, PermissionError | IsADirectoryError | NotAFileError):
            reason = error.strerror or str(error)
            raise InsidersError(f"cannot read {path}: {reason}", hint_for(error)) from error
        reason = error.strerror or str(error)
    except (ValueError, TypeError, AttributeError, LookupError, RecursionError) as error:
        reason = str(error) or type(error).__name__
    if seen is None or _is_still(path, seen):
        try:
            aside = set_aside(path)
        except InsidersError as error:
            raise InsidersError(f"cannot read {path}: {reason}", error.hint) from error
        _log.warning("%s is damaged (%s); it is set aside as %s", path, reason, aside.name)
    return None


def _is_still(path: Path, inode: int) -> bool:
    """Tell whether no other file has taken its place meanwhile."""
    try:
        return path.stat().st_ino == inode
    except OSError:
        return False
