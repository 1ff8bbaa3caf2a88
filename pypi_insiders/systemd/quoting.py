"""Quote words for unit files and properties of systemd."""

from pathlib import Path


def quoted(word: Path | str) -> str:
    """Quote a word of a list property. Source: systemd.syntax(7), "QUOTING"."""
    text = str(word).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


def quote(word: str) -> str:
    """Quote a word of a unit file if needed.

    Source: systemd.service(5), "COMMAND LINES"; systemd.unit(5), "SPECIFIERS".
    """
    # Specifiers are expanded within quotes, too. `$` stays: variables are not expanded in the path
    # of a program.
    word = word.replace("%", "%%")
    if any(character in word for character in " \t'\"\\;"):
        return quoted(word)
    return word
