"""Make foreign text safe to print."""

import re

# Source: console_codes(4), "CSI sequences".
_SEQUENCE = r"\x1b\[[0-9;?]*[A-Za-z]"
_CONTROLS = r"\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029"
# They reorder a line on screen, so it reads as something else. Source: Unicode Standard Annex 9,
# section 2.
_BIDIRECTIONAL = r"\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
# From JSON's \u escapes and from file names in other encodings. Writing them raises
# UnicodeEncodeError.
_SURROGATES = r"\ud800-\udfff"
_UNSHOWN = f"[{_CONTROLS}{_BIDIRECTIONAL}{_SURROGATES}]"


class Block(str):
    """Foreign text of several lines that is logged with its line ends."""

    __slots__ = ()


def printable(text: str) -> str:
    """Replace control characters, bidirectional marks and surrogates in a text by `?`.

    Line ends and tabs stay, colours are dropped. Call it wherever text of a repository, build or
    host is shown: tags, versions, summaries, output of hooks.
    """
    # Nearly every text is of this kind, and the substitutions are slow.
    if text.isascii() and text.isprintable():
        return text
    # A lone carriage return would let the rest of a line overwrite its begin.
    return re.sub(_UNSHOWN, "?", re.sub("\r\n?", "\n", re.sub(_SEQUENCE, "", text)))


def one_line(text: str) -> str:
    """Return a text as `printable` does, with its lines joined by spaces."""
    lines = (line.strip() for line in printable(text).split("\n"))
    return " ".join(line for line in lines if line)


def encodable(text: str) -> str:
    """Return a text with `?` for characters that UTF-8 cannot encode."""
    return text.encode(errors="replace").decode()
