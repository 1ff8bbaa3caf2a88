"""Remember what was judged of the services, for the index, from which systemd is hidden."""

import json
import logging
from dataclasses import asdict, dataclass

from pypi_insiders.config.paths import Paths
from pypi_insiders.reporting.snapshot import Snapshot
from pypi_insiders.reporting.verdict import Item, Judgement, Severity
from pypi_insiders.systemd.service_status import Services
from pypi_insiders.systemd.unit_names import PARTS, WATCHER
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import write_atomic
from pypi_insiders.util.json_fields import shaped, written
from pypi_insiders.util.own_files import recall

_log = logging.getLogger(__name__)

# Not the server: who reads the page sees that it runs.
_SUBJECTS = (WATCHER.name, *(f"{part.name} units" for part in PARTS))
_LASTS_S = 60


@dataclass(frozen=True)
class ServicesSeen:
    """What was judged of the services when somebody last looked at them."""

    at_s: int
    """In seconds of the epoch."""
    items: tuple[Item, ...] = ()


@dataclass(frozen=True)
class _Kept:
    """What is in the file."""

    at: int
    items: list[dict[str, object]]


def remember(paths: Paths, snapshot: Snapshot, judged: Judgement) -> None:
    """Write down what is judged of the services; what cannot be written down is not remembered.

    Args:
        paths: where everything lies.
        snapshot: what was seen; one without services tells nothing.
        judged: what was made of it.
    """
    if not isinstance(snapshot.services, Services):
        return
    items = judged.about(_SUBJECTS)
    at_s = int(snapshot.now.timestamp())
    before = load(paths)
    if before and before.items == items and 0 <= at_s - before.at_s < _LASTS_S:
        return
    content = {"at": at_s, "items": [asdict(item) for item in items]}
    try:
        write_atomic(paths.services_seen, written(content, indent=1))
    except InsidersError as error:
        _log.debug("%s", error.message)


def load(paths: Paths) -> ServicesSeen | None:
    """Read what was judged of the services; `None`: nobody has looked yet, or nobody can tell."""
    try:
        return recall(paths.services_seen, _understand)
    except InsidersError:
        return None


def _understand(text: str) -> ServicesSeen:
    kept = shaped(_Kept, json.loads(text))
    items = (
        shaped(Item, item | {"severity": Severity(str(item["severity"]))}) for item in kept.items
    )
    return ServicesSeen(kept.at, tuple(items))
