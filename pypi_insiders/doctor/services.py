"""Look at both services as the judgement does, and at the port."""

import http.client
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from pypi_insiders.config import addresses
from pypi_insiders.config.settings import ServerSettings, Settings
from pypi_insiders.doctor import listeners
from pypi_insiders.doctor.finding import Finding, Verdict, ok, problem, warning
from pypi_insiders.reporting.snapshot import Snapshot
from pypi_insiders.reporting.verdict import INDEX, Item, Judgement
from pypi_insiders.systemd.service_status import Condition, Services
from pypi_insiders.systemd.unit_names import SERVER, WATCHER

_TIMEOUT_S = 30
_OTHER_PORT = "end it, or set another `port` under [server]"


def of_item(item: Item) -> Finding:
    """Make a finding of an item of the judgement; what is only worth knowing is well."""
    verdicts = {"problem": Verdict.PROBLEM, "warning": Verdict.WARNING, "note": Verdict.OK}
    return Finding(item.subject, verdicts[item.severity], item.text, item.hint)


def url(snapshot: Snapshot) -> str | None:
    """Tell where the index should answer, up to the port; `None`: it does not listen on TCP.

    A drop-in may say, and even while the service fails.
    """
    if is_listening(snapshot) and isinstance(snapshot.services, Services):
        return snapshot.services.server.url
    settings = snapshot.settings
    return (settings if isinstance(settings, Settings) else Settings()).server.url


def is_listening(snapshot: Snapshot) -> bool:
    """Tell whether the socket takes connections, even if the service fails."""
    services = snapshot.services
    if not isinstance(services, Services):
        return False
    server = services.server
    return server.condition == Condition.RUNNING or server.url is not None


def look(snapshot: Snapshot, judgement: Judgement) -> Iterator[Finding]:
    """Look at the port, the index and the watcher."""
    settings = snapshot.settings if isinstance(snapshot.settings, Settings) else Settings()
    if is_listening(snapshot) or isinstance(snapshot.settings, Settings):
        yield _port(snapshot, settings.server)
    services = snapshot.services if isinstance(snapshot.services, Services) else None
    if services:
        found = [of_item(item) for item in judgement.about((SERVER.name,))]
        yield from found or [ok(SERVER.name, services.server.told)]
    yield from _index(snapshot, judgement)
    if services:
        found = [of_item(item) for item in judgement.about((WATCHER.name,))]
        yield from found or [ok(WATCHER.name, services.watcher.told)]


@dataclass(frozen=True)
class HealthCheck:
    """What came of asking a server whether it is well."""

    status: int | None = None
    """`None`: it does not answer."""
    is_well: bool = False
    reason: str = ""
    """Why there is no answer."""


def health(url: str) -> HealthCheck:
    """Ask an index at its URL, up to the port, without any proxy."""
    place = urlsplit(url)
    try:
        connection = http.client.HTTPConnection(
            place.hostname or "", place.port, timeout=_TIMEOUT_S
        )
        connection.request("GET", "/health")
        answer = connection.getresponse()
        return HealthCheck(answer.status, (answer.status, answer.read(16)) == (200, b"Ok"))
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        return HealthCheck(reason=reason or str(error))


def _port(snapshot: Snapshot, settings: ServerSettings) -> Finding:
    """Tell who listens where the index should."""
    port = urlsplit(url(snapshot) or "").port or settings.port
    stranger = listeners.stranger("port", port, addresses.of_host(settings.host), _OTHER_PORT)
    is_answering = snapshot.fetched is not None and snapshot.fetched.is_answering
    if stranger and (is_answering or is_listening(snapshot)):
        return stranger
    if is_listening(snapshot):
        return ok("port", f"{port} is held by {SERVER.trigger}")
    holders = [item.holder for item in listeners.on(port, addresses.of_host(settings.host))]
    if not holders:
        return ok("port", f"{port} is free")
    who = " and ".join(sorted(set(holders)))
    if snapshot.fetched is not None and snapshot.fetched.is_index:
        return ok("port", f"{port} is held by {who}, an index")
    message = f"{port} is held by {who}, so the index cannot listen there"
    return problem("port", message, _OTHER_PORT)


def _index(snapshot: Snapshot, judgement: Judgement) -> Iterator[Finding]:
    found = [of_item(item) for item in judgement.about((INDEX,))]
    fetched = snapshot.fetched
    if found or fetched is None:
        yield from found
    elif fetched.error is not None:
        yield warning(INDEX, fetched.error, "`pypi-insiders server enable`, or `server run`")
    elif fetched.file is None:
        yield ok(INDEX, f"answers at {fetched.url}/simple/, and has no file to fetch yet")
    else:
        what = f"a page and {fetched.file} were fetched"
        yield ok(INDEX, f"answers at {fetched.url}/simple/: {what}")
