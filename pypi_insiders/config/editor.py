"""Edit a file through a copy, of which nothing is lost."""

import os
import secrets
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path

from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import read_text, remove, write_atomic
from pypi_insiders.util.foreground import interactive

_FOUND_ANYWHERE = ("editor", "nano", "vi")


def editor(*, on_terminal: bool) -> tuple[str, ...]:
    """Find the editor of the user: `$VISUAL`, `$EDITOR`, or one that is there.

    Args:
        on_terminal: whether one may be started that nobody asked for.

    Returns:
        The words of the command; the file comes after them.

    Raises:
        InsidersError: there is none.

    Source: environ(7); systemctl(1), `$EDITOR`; sensible-editor(1).
    """
    for variable in ("VISUAL", "EDITOR"):
        try:
            words = shlex.split(os.environ.get(variable, ""))
        except ValueError as error:
            raise InsidersError(
                f"{variable} cannot be understood: {error}", "write it as a shell wants it"
            ) from error
        if words:
            return tuple(words)
    if not on_terminal:
        raise InsidersError("there is no terminal to edit on", "set EDITOR to what needs none")
    for program in _FOUND_ANYWHERE:
        if shutil.which(program):
            return (program,)
    raise InsidersError("no editor was found", "set EDITOR, or install nano")


@dataclass(frozen=True)
class Draft:
    """A copy of a file, beside it."""

    path: Path
    of: Path
    original: str | None
    """What the file has; `None`: there is no file."""
    begun_as: str
    """What the copy had at first."""

    @classmethod
    def begin(cls, of: Path, template: str) -> "Draft":
        """Make a copy of a file, or of the template where there is no file.

        Raises:
            InsidersError: the file cannot be read, or the copy not written.
        """
        original = read_text(of)
        text = template if original is None else original
        path = of.with_name(f".{of.stem}.{secrets.token_hex(4)}{of.suffix}")
        write_atomic(path, text, mode=0o600)
        return cls(path, of, original, text)

    def edit(self, words: tuple[str, ...]) -> str:
        """Run an editor on the copy; return what the copy has then.

        Raises:
            InsidersError: the editor fails, or takes the copy away.
        """
        status = interactive((*words, str(self.path)))
        if status != 0:
            raise InsidersError(f"{words[0]} ended with {status}", "nothing was changed")
        text = read_text(self.path)
        if text is None:
            raise InsidersError(f"{words[0]} left no file", "nothing was changed")
        return text

    def save(self, text: str) -> None:
        """Write a text to the file, unless somebody else has changed it meanwhile.

        Raises:
            InsidersError: they have, or it cannot be written; the file is as it was.
        """
        if read_text(self.of) != self.original:
            raise InsidersError(f"{self.of} was changed meanwhile", "nothing was saved; edit again")
        write_atomic(self.of, text)
        remove(self.path)

    def discard(self) -> None:
        """Remove the copy."""
        remove(self.path)

    def close(self) -> Path | None:
        """Remove the copy if it has nothing new; else return its path."""
        if read_text(self.path) in (None, self.begun_as, self.original):
            remove(self.path)
            return None
        return self.path
