"""Store the secrets by which forges sign their hooks."""

import base64
import os
import re
from pathlib import Path

from pypi_insiders.config import passwords
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import write_atomic

CREDENTIAL = "pypi-insiders-hooks"
"""The systemd credential that replaces the file. Source: systemd.exec(5)."""
PREFIX = "whsec_"
"""The start of a secret that is a key in base64. Source: the Standard Webhooks specification."""

# From 24 to 64. Source: the Standard Webhooks specification.
_KEY_BYTES = 32
_FEWEST_CHARS = 16


def load(path: Path) -> tuple[str, ...]:
    """Read the secrets, one a line; each of them is accepted.

    Args:
        path: the file, unless a systemd credential replaces it.

    Raises:
        InsidersError: there is none, one is too short or cannot be pasted into a form, or the file
            cannot be read or is accessible by other users.
    """
    path = passwords.source(path, CREDENTIAL)
    text = passwords.read_private(path) or ""
    lines = (line.strip() for line in text.splitlines())
    found = tuple(line for line in lines if line and not line.startswith("#"))
    # Fail closed: with a guessable secret anyone starts updates.
    for number, secret in enumerate(found, 1):
        if len(secret) < _FEWEST_CHARS or not re.fullmatch(r"[!-~]+", secret):
            raise InsidersError(
                f"secret {number} in {path} is not {_FEWEST_CHARS} or more printable characters",
                "create another one: `pypi-insiders server hook --new`",
            )
    if not found:
        raise InsidersError(
            f"`hooks` is set, but {path} has no secret", "`pypi-insiders server hook`"
        )
    return found


def create(path: Path) -> str:
    """Create a secret, which replaces all others, and return it.

    Raises:
        InsidersError: the file cannot be written.
    """
    # Forges take any text. Only GitLab's signing token must have this form.
    key = base64.b64encode(os.urandom(_KEY_BYTES)).decode()
    secret = f"{PREFIX}{key}"
    write_atomic(path, f"{secret}\n", mode=0o600)
    return secret
