"""Look whether who listens where clients call the index is this user."""

from pypi_insiders.config.addresses import join
from pypi_insiders.doctor.finding import Finding, problem, together, warning
from pypi_insiders.util.listeners import strangers

_ROOT = 0


def stranger(check: str, port: int, addresses: tuple[str, ...], hint: str) -> Finding | None:
    """Tell that another user listens there, whose packages clients would install.

    Root could change anything, so that is a warning: a container's port is held by root, too.

    Args:
        check: what is looked at.
        port: of the index.
        addresses: IP addresses at which clients call it.
        hint: how to get away from there.
    """
    found = strangers(port, addresses)
    if not found:
        return None
    users = together(sorted(it.user for it in found))
    where = join(addresses[0], port)
    message = f"{where} belongs to the user {users}: clients would install what {users} serves"
    verdict = warning if all(it.user_id == _ROOT for it in found) else problem
    return verdict(check, message, hint)
