"""Require the passwords and secrets of the server, in files or in credentials of its unit."""

from pypi_insiders.config import access, hook_secret, passwords
from pypi_insiders.config.paths import Paths
from pypi_insiders.config.settings import Settings
from pypi_insiders.systemd import systemctl
from pypi_insiders.systemd.unit_names import SERVER
from pypi_insiders.util.errors import InsidersError

_KINDS = tuple(f"{kind}Credential{how}" for kind in ("Load", "Set") for how in ("", "Encrypted"))


def demand_passwords(settings: Settings, paths: Paths) -> None:
    """Require the passwords and the token that the server needs to start.

    Raises:
        InsidersError: one is missing, and no credential of the service replaces it.
    """
    try:
        # Before anything is stopped: a running index must not be replaced by one that refuses to
        # start.
        access.passwords_for(settings.server, paths.passwords)
    except InsidersError:
        if not has_credential(passwords.CREDENTIAL):
            raise


def demand_hook_secret(settings: Settings, paths: Paths) -> None:
    """Require a secret for hooks, if they are on.

    Raises:
        InsidersError: it is missing, and no credential of the service replaces it.
    """
    try:
        if settings.server.hooks:
            hook_secret.load(paths.hook_secret)
    except InsidersError:
        if not has_credential(hook_secret.CREDENTIAL):
            raise


def has_credential(name: str) -> bool:
    """Return whether the service of the index has a credential; `False` without a user manager."""
    # Only its name is checked: systemd shows the content to the service alone.
    try:
        service = systemctl.service(SERVER.service)
    except InsidersError:
        return False
    return name in [given for kind in _KINDS for given, *_ in service.get(kind, ())]
