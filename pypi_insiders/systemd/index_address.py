"""Find out where clients reach the index: where its socket listens, or where it will."""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from pypi_insiders.config.settings import Settings, load_settings
from pypi_insiders.systemd import service_status, systemctl, unit_names
from pypi_insiders.systemd.unit_names import SERVER
from pypi_insiders.util import listeners
from pypi_insiders.util.errors import InsidersError


@dataclass(frozen=True)
class Address:
    """Where clients reach the index."""

    url: str
    """Up to the port."""
    configured: str
    """What `config.toml` sets."""
    note: str | None = None
    """In what they differ, and what to do."""

    @property
    def host(self) -> str:
        """The IP address in the URL."""
        return urlsplit(self.url).hostname or ""

    @property
    def strangers(self) -> list[str]:
        """Name the other users who listen there."""
        port = urlsplit(self.url).port or 0
        return sorted(it.user for it in listeners.strangers(port, (self.host,)))


def find(path: Path) -> Address:
    """Find the address by the socket, if it listens or a drop-in moves it, and else by settings.

    Args:
        path: of `config.toml`.

    Raises:
        InsidersError: `config.toml` cannot be read, and no socket listens.
    """
    listening = _listening()
    try:
        settings = load_settings(path)
    except InsidersError as error:
        if listening is None:
            raise
        return Address(listening.url, Settings().server.url, error.message)
    configured = settings.server.url
    if listening is None or listening.url == configured:
        return Address(configured, configured)
    hint = (
        f"a drop-in says so: `systemctl --user cat {SERVER.trigger}`"
        if listening.is_moved
        else "`pypi-insiders server restart` moves it"
    )
    note = f"config.toml sets {configured}, but the index listens at {listening.url}; {hint}"
    return Address(listening.url, configured, note)


@dataclass(frozen=True)
class _Listening:
    url: str
    is_moved: bool
    """Whether a drop-in of the user may say where."""


def _listening() -> _Listening | None:
    """Ask the socket; `None`: config.toml says where it will listen at the next start."""
    try:
        socket = systemctl.show(SERVER.trigger, "ActiveState", "DropInPaths")
        is_moved = bool(unit_names.own_drop_ins(socket["DropInPaths"]))
        if socket["ActiveState"] != "active" and not is_moved:
            return None
        url = service_status.index_url()
    except InsidersError:  # no user manager
        return None
    return _Listening(url, is_moved) if url else None
