"""Write text with commands between backticks as HTML."""

import re
from html import escape

from pypi_insiders.util.plain_text import printable

# What can be pasted into a shell as it stands; `update` alone is a word of a sentence.
_COMMAND = re.compile(r"(?:pypi-insiders|systemctl|journalctl|loginctl|git|ss) ")
_SPAN = re.compile(r"`([^`\n]+)`")


def html(text: str, *, has_copy: bool = False) -> str:
    """Return a text as HTML, with `<code>` in place of backticks.

    Args:
        text: of any origin.
        has_copy: whether the script of the pages adds a button to what is a command.
    """
    parts = _SPAN.split(printable(text))
    # `re.split` alternates between what is outside and what the group has matched.
    return "".join(
        _code(part, has_copy=has_copy) if number % 2 else escape(part)
        for number, part in enumerate(parts)
    )


def _code(text: str, *, has_copy: bool) -> str:
    shown = escape(text)
    if has_copy and _COMMAND.match(text):
        return f'<code data-copy="{shown}">{shown}</code>'
    return f"<code>{shown}</code>"
