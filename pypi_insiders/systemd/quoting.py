"""Write words so that systemd reads them back unchanged."""

from pathlib import Path


def quoted(word: Path | str) -> str:
    """Write a word for a property that takes several. Source: systemd.syntax(7), "QUOTING"."""
    text = str(word).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


def quote(word: str) -> str:
    """Write one word of a unit file so that systemd reads it back unchanged.

    Source: systemd.service(5), "COMMAND LINES"; systemd.unit(5), "SPECIFIERS". The path of the
    program is not subject to the replacement of variables, so `$` stays.
    """
    # Specifiers are replaced before quotes are read, and within them too.
    word = word.replace("%", "%%")
    if any(character in word for character in " \t'\"\\;"):
        return quoted(word)
    return word
