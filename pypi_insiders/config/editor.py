"""Edit a file through a draft, which survives errors."""

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
    """Return the user's editor: `$VISUAL`, `$EDITOR`, or one that is installed.

    Args:
        on_terminal: whether there is a terminal for an editor that the user did not name.

    Returns:
        The command; the file is appended.

    Raises:
        InsidersError: no editor was found.

    Source: environ(7); systemctl(1), `$EDITOR`; sensible-editor(1).
    """
    for variable in ("VISUAL", "EDITOR"):
        try:
            # Often with options: `code --wait`.
            words = shlex.split(os.environ.get(variable, ""))
        except ValueError as error:
            raise InsidersError(
                f"cannot parse ${variable}: {error}", "check its quotes, as in a shell"
            ) from error
        if words:
            return tuple(words)
    # Without a terminal vi would wait for ever.
    if not on_terminal:
        raise InsidersError("not a terminal", "set EDITOR to a program that needs none")
    for program in _FOUND_ANYWHERE:
        if shutil.which(program):
            return (program,)
    raise InsidersError("no editor was found", "set EDITOR, or install nano")


@dataclass(frozen=True)
class Draft:
    """A copy of a file in the same directory."""

    path: Path
    of: Path
    original: str | None
    """The content of the file when the draft was created; `None`: the file did not exist."""
    begun_as: str
    """The first content of the draft."""

    @classmethod
    def begin(cls, of: Path, template: str) -> "Draft":
        """Create a draft of a file, or of the template if the file does not exist.

        Raises:
            InsidersError: the file cannot be read, or the draft cannot be written.
        """
        original = read_text(of)
        text = template if original is None else original
        # In the same directory, where the user finds it again, and with the same suffix, by which
        # editors know the syntax. A random name: two editors must not share a draft.
        path = of.with_name(f".{of.stem}.{secrets.token_hex(4)}{of.suffix}")
        # The settings may name a command with a token in it.
        write_atomic(path, text, mode=0o600)
        return cls(path, of, original, text)

    def edit(self, words: tuple[str, ...]) -> str:
        """Run an editor on the draft; return the new content of the draft.

        Raises:
            InsidersError: the editor fails, or removes the draft.
        """
        # The draft stays after an error: `close` removes it only if it has no changes.
        status = interactive((*words, str(self.path)))
        # Such as `:cq` in vi: the user has cancelled.
        if status != 0:
            raise InsidersError(f"{words[0]} exited with {status}", "nothing was changed")
        text = read_text(self.path)
        if text is None:
            raise InsidersError(f"{words[0]} left no file", "nothing was changed")
        return text

    def save(self, text: str) -> None:
        """Write a text to the file and remove the draft.

        Raises:
            InsidersError: the file was changed meanwhile, or cannot be written.
        """
        if read_text(self.of) != self.original:
            raise InsidersError(
                f"{self.of} was changed by another program", "nothing was saved; edit again"
            )
        write_atomic(self.of, text)
        # Only after the file is written: until then the draft is the only copy of the changes.
        remove(self.path)

    def discard(self) -> None:
        """Remove the draft."""
        remove(self.path)

    def close(self) -> Path | None:
        """Remove the draft if it has no changes; otherwise return its path."""
        if read_text(self.path) in (None, self.begun_as, self.original):
            remove(self.path)
            return None
        return self.path
