"""Open zip files whose list of members is of bounded size."""

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from pypi_insiders.util.files import open_file

# zipfile creates an object for each member; real wheels have some thousand.
MOST_MEMBERS = 100_000
_LIST_LIMIT_BYTES = 16 * 1024 * 1024
_END_BYTES = 128 * 1024  # with a comment of 64 KiB
_MEMBER = b"PK\1\2"


@contextmanager
def opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open a zip file for reading.

    Raises:
        BadZipFile: the file is damaged, or has too many members.
        OSError: the file cannot be read.
    """
    with open_file(path) as file:
        guarded = _GuardedFile(file, path)
        with zipfile.ZipFile(guarded) as archive:
            guarded.is_open = True
            yield archive


class _GuardedFile:
    """Limit the size of the list of members that zipfile reads.

    Source: APPNOTE.TXT, 4.3.12 and 4.3.16; `ZipFile._RealGetContents`.
    """

    # zipfile reads the list into memory whole and creates an object for each member: some hundred
    # megabytes become many gigabytes. It ignores the number of members in the end record, so
    # counting their signatures is the only limit.

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file = file
        self.name = str(path)
        self.is_open = False
        """Whether the list has been read."""

    def read(self, size: int = -1) -> bytes:
        """Read up to `size` bytes; all for -1."""
        if self.is_open:
            return self._file.read(size)
        if size > _LIST_LIMIT_BYTES:
            raise zipfile.BadZipFile("its list of members is too large")
        block = self._file.read(size if size >= 0 else _END_BYTES)
        if block.count(_MEMBER) > MOST_MEMBERS:
            raise zipfile.BadZipFile(f"it has more than {MOST_MEMBERS} members")
        return block

    def seek(self, offset: int, whence: int = 0) -> int:
        """Set the position; return it."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Return the position."""
        return self._file.tell()

    def seekable(self) -> bool:
        """Return whether the position can be set."""
        return self._file.seekable()
