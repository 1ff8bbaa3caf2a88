"""Report both services as the judgement has them, and check the port."""

from collections.abc import Iterator
from urllib.parse import urlsplit

from pypi_insiders.config import addresses
from pypi_insiders.config.settings import ServerSettings, Settings
from pypi_insiders.doctor import listeners
from pypi_insiders.doctor.finding import Finding, Verdict, ok, problem, warning
from pypi_insiders.reporting.snapshot import Snapshot
from pypi_insiders.reporting.verdict import INDEX, Item, Judgement, Severity
from pypi_insiders.systemd.index_address import OTHER_PORT
from pypi_insiders.systemd.service_status import Condition, Overview, Services
from pypi_insiders.systemd.unit_names import SERVER
from pypi_insiders.util import listeners as listening


def of_item(item: Item) -> Finding:
    """Return an item of the judgement as a finding; a note is a check that passed."""
    verdicts = {"problem": Verdict.PROBLEM, "warning": Verdict.WARNING, "note": Verdict.OK}
    return Finding(item.subject, verdicts[item.severity], item.text, item.hint)


def url(snapshot: Snapshot) -> str | None:
    """Return the URL of the index, up to the port; `None`: it does not listen on TCP."""
    # A drop-in may set another address than config.toml, and the socket listens there even while
    # the service fails.
    if is_listening(snapshot) and isinstance(snapshot.services, Services):
        return snapshot.services.server.url
    settings = snapshot.settings
    return (settings if isinstance(settings, Settings) else Settings()).server.url


def is_listening(snapshot: Snapshot) -> bool:
    """Return whether the socket takes connections, even if the service fails."""
    services = snapshot.services
    if not isinstance(services, Services):
        return False
    server = services.server
    return server.condition == Condition.RUNNING or server.url is not None


def look(snapshot: Snapshot, judgement: Judgement) -> Iterator[Finding]:
    """Check the port, the index and the watcher."""
    # With a broken config.toml, and nothing that listens, the port is unknown.
    settings = snapshot.settings if isinstance(snapshot.settings, Settings) else Settings()
    if is_listening(snapshot) or isinstance(snapshot.settings, Settings):
        yield _port(snapshot, settings.server)
    services = snapshot.services if isinstance(snapshot.services, Services) else None
    if services:
        yield from _service(services.server, judgement)
    yield from _index(snapshot, judgement)
    if services:
        yield from _service(services.watcher, judgement)


def _service(seen: Overview, judgement: Judgement) -> Iterator[Finding]:
    items = judgement.about((seen.part.name,))
    if all(item.severity == Severity.NOTE for item in items):
        yield ok(seen.part.name, seen.summary)
    yield from map(of_item, items)


def _port(snapshot: Snapshot, settings: ServerSettings) -> Finding:
    port = urlsplit(url(snapshot) or "").port or settings.port
    stranger = listeners.stranger("port", port, addresses.of_host(settings.host), OTHER_PORT)
    is_answering = snapshot.fetched is not None and snapshot.fetched.is_answering
    # Where it does not answer, and the index does not run, the port is only taken: see below.
    if stranger and (is_answering or is_listening(snapshot)):
        return stranger
    if is_listening(snapshot):
        return ok("port", f"{port} is used by {SERVER.trigger}")
    users = listening.holders(port, addresses.of_host(settings.host))
    if not users:
        return ok("port", f"{port} is free")
    if snapshot.fetched is not None and snapshot.fetched.is_index:
        return ok("port", f"{port} is used by {users}, an index")
    message = f"{port} is used by {users}, so the index cannot listen there"
    return problem("port", message, OTHER_PORT)


def _index(snapshot: Snapshot, judgement: Judgement) -> Iterator[Finding]:
    found = [of_item(item) for item in judgement.about((INDEX,))]
    fetched = snapshot.fetched
    if found or fetched is None:
        yield from found
    # The judgement has an item for each error but one: nothing listens, as is right for a stopped
    # index.
    elif fetched.error is not None:
        yield warning(INDEX, fetched.error, "`pypi-insiders server enable`, or `server run`")
    elif fetched.file is None:
        yield ok(INDEX, f"answers at {fetched.url}/simple/, without any file yet")
    else:
        what = f"fetched a page and {fetched.file}"
        yield ok(INDEX, f"answers at {fetched.url}/simple/: {what}")
