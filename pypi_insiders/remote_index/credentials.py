"""Find out who uploads, and with what password."""

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
_DEFAULT_USER = "__token__"
_KEYRING_TIMEOUT_S = 60


@dataclass(frozen=True)
class Credentials:
    """Somebody who may upload; without a password, as far as one can without."""

    user: str
    password: str | None = field(default=None, repr=False)


def take_password() -> str | None:
    """Take the password out of the environment, which every program that we start inherits."""
    return os.environ.pop(VARIABLE, None)


def find_credentials(destination: Destination, environment: Mapping[str, str]) -> Credentials:
    """Find user and password.

    It looks into the environment, the credentials of a systemd unit, netrc and the keyring; the
    first password counts.

    Raises:
        InsidersError: a file with a password cannot be read.

    Source: systemd.exec(5), `$CREDENTIALS_DIRECTORY`.
    """
    user = destination.user or _DEFAULT_USER
    # In the order of how near to this call it was said.
    given = destination.password or environment.get(VARIABLE)
    if password := given or _of_unit(environment):
        return Credentials(user, _checked(password))
    if credentials := _of_netrc(destination, environment):
        return credentials
    return Credentials(user, _of_keyring(destination.url, user, environment))


def _checked(password: str) -> str:
    if not password.isprintable():
        raise PublishError(
            "the password of the index has more than one line, or a control character",
            f"check {VARIABLE}, or the file that it is taken from",
        )
    return password


def _of_unit(environment: Mapping[str, str]) -> str | None:
    directory = environment.get("CREDENTIALS_DIRECTORY")
    text = read_text(Path(directory) / _CREDENTIAL) if directory else None
    return text.rstrip("\r\n") if text else None


def _of_netrc(destination: Destination, environment: Mapping[str, str]) -> Credentials | None:
    """Look into netrc; a password of another user than the one that is set is none."""
    # As requests does; `netrc` alone looks only into the home.
    path = Path(environment.get("NETRC") or _home(environment) / ".netrc")
    try:
        found = netrc.netrc(path).authenticators(urlsplit(destination.url).hostname or "")
    except FileNotFoundError:
        return None
    except netrc.NetrcParseError:
        # What it says has a word of the file, which may be the password.
        raise PublishError(f"{path} is no valid netrc file", f"edit {path}") from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise PublishError(f"cannot read {path}: {reason}") from None
    if found is None:
        return None
    login, _, password = found
    # Another user's password would be refused, and count as an attempt on this one's account.
    if not password or (destination.user and login and login != destination.user):
        return None
    return Credentials(destination.user or login or _DEFAULT_USER, _checked(password))


def _home(environment: Mapping[str, str]) -> Path:
    return Path(environment["HOME"]) if environment.get("HOME") else Path.home()


def _of_keyring(url: str, user: str, environment: Mapping[str, str]) -> str | None:
    """Ask the program `keyring`, by the URL as twine does, then by the host as pip and uv do."""
    program = shutil.which("keyring", path=environment.get("PATH"))
    if program is None:
        return None
    # By its program, as pip does: its backends are where the user has installed it, and not in an
    # environment of ours.
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
