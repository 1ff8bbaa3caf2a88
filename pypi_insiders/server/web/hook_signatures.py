"""Check who has sent a hook: by a signature, or by the secret itself."""

import base64
import hmac
import re
from collections.abc import Callable, Iterable

from pypi_insiders.config.hook_secret import PREFIX

Header = Callable[[str], str | None]
"""Returns a header field by its name; `None`: the request has none such."""

# The signature of the body in hexadecimal, after a prefix.
_OF_BODY = (
    ("X-Hub-Signature-256", "sha256="),
    ("X-Gitea-Signature", ""),
    ("X-Forgejo-Signature", ""),
)
# That of the libraries of the Standard Webhooks specification.
_TOLERANCE_S = 5 * 60
_MOST_SIGNATURES = 10


def is_right(header: Header, body: bytes, secrets: Iterable[str], now_s: float) -> bool:
    """Return whether a request is signed with one of the secrets, as one of the forges signs.

    Args:
        header: of the request.
        body: of the request, as it was sent.
        secrets: the secrets.
        now_s: the time, in seconds of the epoch.

    Source: docs.github.com, "Validating webhook deliveries"; docs.gitea.com, "Webhooks";
    forgejo.org, "Webhooks"; docs.gitlab.com, "Webhooks"; the Standard Webhooks specification.
    """
    return any(
        _is_of_body(header, body, secret)
        or _is_secret(header, secret)
        or _is_of_message(header, body, secret, now_s)
        for secret in secrets
    )


def _is_of_body(header: Header, body: bytes, secret: str) -> bool:
    """Check the signatures of GitHub, Gitea and Forgejo."""
    wanted = hmac.digest(secret.encode(), body, "sha256").hex()
    return any(
        given is not None and _is_same(given, f"{prefix}{wanted}")
        for name, prefix in _OF_BODY
        for given in (header(name),)
    )


def _is_secret(header: Header, secret: str) -> bool:
    """Check the secret token of GitLab, which signs nothing."""
    given = header("X-Gitlab-Token")
    return given is not None and _is_same(given, secret)


def _is_of_message(header: Header, body: bytes, secret: str, now_s: float) -> bool:
    """Check the signing token of GitLab, whose signature is valid for some minutes."""
    names = ("webhook-id", "webhook-timestamp", "webhook-signature")
    number, stamp, given = (header(name) or "" for name in names)
    if not (number and given and secret.startswith(PREFIX) and re.fullmatch(r"[0-9]{1,12}", stamp)):
        return False
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except ValueError:
        return False
    if abs(now_s - int(stamp)) > _TOLERANCE_S:
        return False
    # WSGI has decoded the headers as Latin-1. Source: PEP 3333.
    content = f"{number}.{stamp}.".encode("latin-1", "replace") + body
    wanted = base64.b64encode(hmac.digest(key, content, "sha256")).decode()
    # Several, while a key is replaced.
    return any(_is_same(item, f"v1,{wanted}") for item in given.split()[:_MOST_SIGNATURES])


def _is_same(given: str, wanted: str) -> bool:
    # As bytes: of texts, only ASCII can be compared. `==` stops at the first difference.
    return hmac.compare_digest(given.encode("latin-1", "replace"), wanted.encode())
