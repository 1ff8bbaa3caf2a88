"""Find the user and password for an upload."""

import netrc
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from pypi_insiders.remote_index.destination import Destination
from pypi_insiders.remote_index.errors import PublishError
from pypi_insiders.util import process
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import read_text

VARIABLE = "PYPI_INSIDERS_INDEX_PASSWORD"
"""The environment variable with the password."""

_CREDENTIAL = "pypi-insiders-index-password"
# The user name for API tokens, of PyPI and indexes like it.
_DEFAULT_USER = "__token__"
# A backend of keyring may ask the user to unlock it.
_KEYRING_TIMEOUT_S = 60


@dataclass(frozen=True)
class Credentials:
    """A user and a password; `None`: the index is used without one."""

    user: str
    password: str | None = field(default=None, repr=False)


def take_password() -> str | None:
    """Remove the password from the environment; return it."""
    # Every program that is started later would inherit it, builds included.
    return os.environ.pop(VARIABLE, None)


def find_credentials(destination: Destination, environment: Mapping[str, str]) -> Credentials:
    """Return user and password from the environment, a systemd credential, netrc or the keyring.

    The first password counts.

    Raises:
        InsidersError: a file with a password cannot be read.

    Source: systemd.exec(5), `$CREDENTIALS_DIRECTORY`.
    """
    user = destination.user or _DEFAULT_USER
    # The most specific source first: this command, this unit, this user.
    given = destination.password or environment.get(VARIABLE)
    if password := given or _of_unit(environment):
        return Credentials(user, _checked(password))
    if credentials := _of_netrc(destination, environment):
        return credentials
    return Credentials(user, _of_keyring(destination.url, user, environment))


def _checked(password: str) -> str:
    if not password.isprintable():
        raise PublishError(
            "the password of the index has several lines or control characters",
            f"check {VARIABLE}, or the file with the password",
        )
    return password


def _of_unit(environment: Mapping[str, str]) -> str | None:
    directory = environment.get("CREDENTIALS_DIRECTORY")
    text = read_text(Path(directory) / _CREDENTIAL) if directory else None
    return text.rstrip("\r\n") if text else None


def _of_netrc(destination: Destination, environment: Mapping[str, str]) -> Credentials | None:
    # $NETRC as in requests; the module `netrc` reads ~/.netrc only.
    home = environment.get("HOME") or Path.home()
    path = Path(environment.get("NETRC") or Path(home, ".netrc"))
    try:
        found = netrc.netrc(path).authenticators(urlsplit(destination.url).hostname or "")
    except FileNotFoundError:
        return None
    except netrc.NetrcParseError:
        # Without its message, which quotes a word of the file: it may be the password.
        raise PublishError(f"{path} is not a valid netrc file", f"edit {path}") from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise PublishError(f"cannot read {path}: {reason}") from None
    if found is None:
        return None
    login, _, password = found
    # The password of another user would fail, and count as a failed login of this one.
    if not password or (destination.user and login and login != destination.user):
        return None
    return Credentials(destination.user or login or _DEFAULT_USER, _checked(password))


def _of_keyring(url: str, user: str, environment: Mapping[str, str]) -> str | None:
    """Return the password of the program `keyring`: by URL as twine asks, or by host as pip."""
    program = shutil.which("keyring", path=environment.get("PATH"))
    if program is None:
        return None
    # The program, not the module, as pip does: the backends are installed where the user's keyring
    # is, not in the environment of this package.
    for service in (url, urlsplit(url).hostname or ""):
        try:
            done = process.run(
                (program, "get", service, user),
                timeout_s=_KEYRING_TIMEOUT_S,
                environment=environment,
            )
        except InsidersError:
            return None
        password = done.stdout.rstrip("\r\n")
        if done.status == 0 and password:
            return _checked(password)
    return None
