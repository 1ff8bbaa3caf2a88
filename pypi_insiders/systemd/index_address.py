"""Find the address of the index: that of its socket, or of the settings."""

from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from pypi_insiders.config import addresses
from pypi_insiders.config.settings import ServerSettings, Settings, load_settings
from pypi_insiders.systemd import service_status, systemctl, unit_names
from pypi_insiders.systemd.unit_names import SERVER
from pypi_insiders.util import listeners
from pypi_insiders.util.errors import InsidersError

OTHER_PORT = "stop that program, or set another `port` under [server]"
"""The hint if another program has the port of the index."""


class Address(NamedTuple):
    """The address of the index."""

    url: str
    """The URL for clients, up to the port."""
    configured: str
    """The URL by the settings in `config.toml`."""
    note: str | None = None
    """The difference between both, and what to do."""

    @property
    def host(self) -> str:
        """The IP address in the URL."""
        return urlsplit(self.url).hostname or ""

    @property
    def strangers(self) -> list[str]:
        """Return the names of other users who listen there."""
        port = urlsplit(self.url).port or 0
        return sorted(it.user for it in listeners.strangers(port, (self.host,)))


def find(path: Path) -> Address:
    """Find the address: that of an active or edited socket, or else of the settings.

    Args:
        path: `config.toml`.

    Raises:
        InsidersError: `config.toml` cannot be read, and no socket listens.
    """
    listening = _listening()
    try:
        settings = load_settings(path)
    except InsidersError as error:
        # While the index listens, its address is known: an error in config.toml must not break
        # `env`.
        if listening is None:
            raise
        return Address(listening.url, Settings().server.url, error.message)
    server = settings.server
    if listening is None or listening.url == server.url:
        return Address(server.url, server.url)
    elsewhere = compare(listening.url, server, is_moved=listening.is_moved)
    return Address(listening.url, server.url, f"{elsewhere.text}; {elsewhere.hint}")


class Elsewhere(NamedTuple):
    """The index listens at another address than config.toml sets."""

    text: str
    hint: str


def compare(url: str, server: ServerSettings, *, is_moved: bool) -> Elsewhere:
    """Describe that the index listens elsewhere than the settings say, and what to do.

    Args:
        url: of the index, up to the port.
        server: the settings, with another URL.
        is_moved: whether a drop-in of the user sets the address.
    """
    text = f"config.toml sets {server.url}, but the index listens at {url}"
    if is_moved:
        hint = f"a drop-in sets its address: `systemctl --user cat {SERVER.trigger}`"
        return Elsewhere(text, hint)
    if urlsplit(url).port != server.port and (
        users := listeners.holders(server.port, addresses.of_host(server.host))
    ):
        # Not `server restart`, which would fail.
        return Elsewhere(f"{text}: port {server.port} is used by {users}", OTHER_PORT)
    return Elsewhere(text, "run `pypi-insiders server restart` to move it")


class _Listening(NamedTuple):
    url: str
    is_moved: bool
    """Whether a drop-in of the user may set the address."""


def _listening() -> _Listening | None:
    """Return the address of the socket; `None`: config.toml sets it at the next start."""
    try:
        socket = systemctl.show(SERVER.trigger, "ActiveState", "DropInPaths")
        # A stopped socket has the address of the loaded files. That of a user's drop-in is right;
        # that of our own is outdated after a change of config.toml.
        is_moved = bool(unit_names.own_drop_ins(socket["DropInPaths"]))
        if socket["ActiveState"] != "active" and not is_moved:
            return None
        url = service_status.index_url()
    except InsidersError:  # no user manager
        return None
    return _Listening(url, is_moved) if url else None
