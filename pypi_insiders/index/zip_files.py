"""Open zip files whose list of members is not larger than it may be."""

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

MOST_MEMBERS = 100_000
_LIST_LIMIT_BYTES = 16 * 1024 * 1024
_END_BYTES = 128 * 1024  # with a comment of 64 KiB
_MEMBER = b"PK\1\2"


@contextmanager
def opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open a zip file for reading.

    Raises:
        BadZipFile: it is damaged, or has too many members.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        guarded = _GuardedFile(file, path)
        with zipfile.ZipFile(guarded) as archive:
            guarded.is_open = True
            yield archive


class _GuardedFile:
    """Let zipfile read the list of members only if that is not too large.

    It takes the list into memory whole, and makes an object of each member, of which some hundred
    megabytes would become many gigabytes. What the end of the file says of their number is not what
    zipfile goes by.

    Source: APPNOTE.TXT, 4.3.12 and 4.3.16; `ZipFile._RealGetContents`.
    """

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file = file
        self.name = str(path)
        self.is_open = False
        """Whether the list has been read."""

    def read(self, size: int = -1) -> bytes:
        """Read some bytes."""
        if self.is_open:
            return self._file.read(size)
        if size > _LIST_LIMIT_BYTES:
            raise zipfile.BadZipFile("its list of members is too large")
        block = self._file.read(size if size >= 0 else _END_BYTES)
        if block.count(_MEMBER) > MOST_MEMBERS:
            raise zipfile.BadZipFile(f"it has more than {MOST_MEMBERS} members")
        return block

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a place in it."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Return the place where it is read next."""
        return self._file.tell()

    def seekable(self) -> bool:
        """Return whether there are places to go to."""
        return self._file.seekable()
