"""Look at both services as the judgement does, and at the port."""

from collections.abc import Iterator
from urllib.parse import urlsplit

from pypi_insiders.config import addresses
from pypi_insiders.config.settings import ServerSettings, Settings
from pypi_insiders.doctor import listeners
from pypi_insiders.doctor.finding import Finding, Verdict, ok, problem, warning
from pypi_insiders.reporting.snapshot import Snapshot
from pypi_insiders.reporting.verdict import INDEX, Item, Judgement
from pypi_insiders.systemd.service_status import Condition, Services
from pypi_insiders.systemd.unit_names import SERVER, WATCHER
from pypi_insiders.util import listeners as listening

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
        yield from found or [ok(SERVER.name, services.server.summary)]
    yield from _index(snapshot, judgement)
    if services:
        found = [of_item(item) for item in judgement.about((WATCHER.name,))]
        yield from found or [ok(WATCHER.name, services.watcher.summary)]


def _port(snapshot: Snapshot, settings: ServerSettings) -> Finding:
    port = urlsplit(url(snapshot) or "").port or settings.port
    stranger = listeners.stranger("port", port, addresses.of_host(settings.host), _OTHER_PORT)
    is_answering = snapshot.fetched is not None and snapshot.fetched.is_answering
    if stranger and (is_answering or is_listening(snapshot)):
        return stranger
    if is_listening(snapshot):
        return ok("port", f"{port} is held by {SERVER.trigger}")
    holders = [item.holder for item in listening.on(port, addresses.of_host(settings.host))]
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
