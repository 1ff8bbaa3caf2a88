"""Keep credentials out of what is shown."""

import re


def without_credentials(url: str) -> str:
    """Take user, password and query out of a URL, even out of a malformed one.

    Of `user@host:path` the user stays.
    """
    url = url.partition("?")[0]
    if re.fullmatch(r"[A-Za-z0-9_.-]+@[^@]*", url):
        return url
    return re.sub(r"^([a-z+]+:/*)?.*@", r"\1", url, flags=re.DOTALL | re.IGNORECASE)


def without_any_credentials(text: str) -> str:
    """Take user and password out of every URL in a text."""
    # It begins where a word does, or a long word would be read again from each letter of it.
    pattern = r"(?<![a-z+])[a-z+]+://[^\s'\"]+"
    return re.sub(pattern, lambda match: without_credentials(match[0]), text)
