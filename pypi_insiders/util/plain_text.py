"""Show text of foreign origin as what it is."""

import re

# Source: console_codes(4), "CSI sequences".
_SEQUENCE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_CONTROLS = r"\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029"
# They would show a line in another order than it is. Source: Unicode Standard Annex 9, section 2.
_BIDIRECTIONAL = r"\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
# What JSON can name, and file names in another encoding become: no stream and no file takes them.
_SURROGATES = r"\ud800-\udfff"
_UNSHOWN = re.compile(f"[{_CONTROLS}{_BIDIRECTIONAL}{_SURROGATES}]")


class Block(str):
    """Text of foreign origin that is logged as the lines that it has."""

    __slots__ = ()


def printable(text: str) -> str:
    """Return a text with `?` for what would move the cursor, colour the rest or turn it around.

    Also for what cannot be encoded. Lines and tabs stay. To be called wherever a text that may come
    from a repository, a build or a host leaves this program for people: tags, versions, summaries,
    what a hook has written.
    """
    if text.isascii() and text.isprintable():
        return text
    return _UNSHOWN.sub("?", re.sub("\r\n?", "\n", _SEQUENCE.sub("", text)))


def one_line(text: str) -> str:
    """Return a text as `printable` does, in one line: a space takes the place of each line end.

    To be called where a line has a meaning, so that no name can add another one.
    """
    lines = (line.strip() for line in printable(text).split("\n"))
    return " ".join(line for line in lines if line)


def encodable(text: str) -> str:
    """Return a text with `?` for what UTF-8 does not have."""
    return text.encode(errors="replace").decode()
