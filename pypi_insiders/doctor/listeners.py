"""Check whether the process that listens on the port of the index is of this user."""

from pypi_insiders.config.addresses import join
from pypi_insiders.doctor.finding import Finding, problem, together, warning
from pypi_insiders.util.listeners import strangers

_ROOT = 0


def stranger(check: str, port: int, addresses: tuple[str, ...], hint: str) -> Finding | None:
    """Return the finding that another user listens there; `None`: none does.

    Args:
        check: the name of the check.
        port: of the index.
        addresses: IP addresses that clients use for it.
        hint: how to use another index.
    """
    # Any user of the machine can take a free port above 1023, and serve packages that run code.
    found = strangers(port, addresses)
    if not found:
        return None
    users = together(sorted(it.user for it in found))
    where = join(addresses[0], port)
    message = f"{where} belongs to the user {users}: clients would install what {users} serves"
    # Root could change anything, so that is no problem; and a port of a container is root's, too.
    verdict = warning if all(it.user_id == _ROOT for it in found) else problem
    return verdict(check, message, hint)
