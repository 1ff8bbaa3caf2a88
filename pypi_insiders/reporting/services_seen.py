"""Store the judgement of the services for the page of the index, which cannot reach systemd."""

import json
import logging
from typing import NamedTuple

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

# Not the server: it runs where the page is seen.
_SUBJECTS = (WATCHER.name, *(f"{part.name} units" for part in PARTS))
_LASTS_S = 60


class ServicesSeen(NamedTuple):
    """The judgement of the services when they were last observed."""

    at_s: int
    """Seconds of the epoch."""
    items: tuple[Item, ...] = ()


class _Kept(NamedTuple):
    at: int
    items: list[dict[str, object]]


def remember(paths: Paths, snapshot: Snapshot, judged: Judgement) -> None:
    """Store the judgement of the services; nothing happens if it cannot be written.

    Args:
        paths: where everything is.
        snapshot: the observation; without services nothing is stored.
        judged: its judgement.
    """
    if not isinstance(snapshot.services, Services):
        return
    # The server runs confined, without a bus: it reads this file instead of systemd.
    items = judged.about(_SUBJECTS)
    at_s = int(snapshot.now.timestamp())
    before = load(paths)
    # Each write makes the server judge again, and `watch pypi-insiders status` would cause one each
    # two seconds.
    if before and before.items == items and 0 <= at_s - before.at_s < _LASTS_S:
        return
    content = {"at": at_s, "items": [item._asdict() for item in items]}
    try:
        write_atomic(paths.services_seen, written(content, indent=1))
    # The page then has no line about the services; that is no reason for `status` to fail.
    except InsidersError as error:
        _log.debug("%s", error.message)


def load(paths: Paths) -> ServicesSeen | None:
    """Read the last judgement of the services; `None`: none is stored, or it cannot be read."""
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
