"""Keep credentials out of what is shown."""

import re


def without_credentials(url: str) -> str:
    """Take user and password out of a URL, even out of a malformed one."""
    return re.sub(r"(?<=//).*@", "", url, flags=re.DOTALL)


def without_any_credentials(text: str) -> str:
    """Take user and password out of every URL in a text."""
    return re.sub(r"\S+//\S+", lambda match: without_credentials(match[0]), text)
