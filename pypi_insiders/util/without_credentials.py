"""Remove credentials from URLs before they are shown."""

import re


def without_credentials(url: str) -> str:
    """Remove user, password and query from a URL, even from a malformed one.

    The user of `user@host:path` stays.
    """
    # Not urlsplit: what it cannot parse would be shown with its password.
    url = url.partition("?")[0]
    # ssh's short form has no password, and its user is part of the address.
    if re.fullmatch(r"[A-Za-z0-9_.-]+@[^@]*", url):
        return url
    return re.sub(r"^([a-z+]+:/*)?.*@", r"\1", url, flags=re.DOTALL | re.IGNORECASE)


def without_any_credentials(text: str) -> str:
    """Remove user and password from every URL in a text."""
    # Only from the start of a word: the search would be quadratic in the length of a word.
    pattern = r"(?<![a-z+])[a-z+]+://[^\s'\"]+"
    return re.sub(pattern, lambda match: without_credentials(match[0]), text)


def without_passwords(text: str) -> str:
    """Remove from a text what can be a password in an address; the user of ssh stays.

    For https, even the user can be a token.
    """
    text = re.sub(r"(?<![a-z+])(https?://)[^\s/'\"`@]+@", r"\1", text, flags=re.IGNORECASE)
    # `user:password@host`, with a scheme or as pasted; `git@host:path` has the colon behind.
    return re.sub(r"(?<![^\s/'\"`(])[^\s/'\"`(@:]+:[^\s/'\"`@]+@(?=\w)", "", text)
