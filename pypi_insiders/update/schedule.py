"""Choose the repositories of an update by the common timer."""

import logging
from collections.abc import Sequence

from pypi_insiders.repositories.repository import Repository
from pypi_insiders.systemd import own_timers
from pypi_insiders.update.context import UpdateContext
from pypi_insiders.util import log
from pypi_insiders.util.errors import InsidersError

_log = logging.getLogger(__name__)

_OVERDUE = 3
"""Intervals: one may be missed while the machine sleeps, and another by a long update."""


def due(context: UpdateContext, chosen: Sequence[Repository]) -> list[Repository]:
    """Return the repositories without those that their own timers update.

    A repository is left out only if its timer runs and has updated it lately: it is never left to a
    timer that does not do its work.
    """
    own = {item.name: item.interval_s for item in chosen if item.interval_s}
    try:
        running = own_timers.running(own)
    except InsidersError as error:
        # Without a user manager there are no timers.
        _log.debug("%s", error.message)
        running = frozenset()
    left_out = set()
    for name, interval_s in own.items():
        check = context.checks.get(name)
        ago_s = context.began_at - check.tried_at if check and check.tried_at else None
        why = why_due(interval_s, ago_s, is_running=name in running)
        if why is None:
            left_out.add(name)
            continue
        with log.about(name):
            _log.info("%s: %s, so it is updated with the others", name, why)
    return [item for item in chosen if item.name not in left_out]


def why_due(interval_s: int, ago_s: int | None, *, is_running: bool) -> str | None:
    """Return why a repository with its own timer is updated with the others; `None`: it is not.

    Args:
        interval_s: its own interval.
        ago_s: seconds since its last update; `None`: there was none.
        is_running: whether its own timer runs.
    """
    if not is_running:
        return "its own timer is not running"
    # A time to come is that of a clock that was wrong.
    if ago_s is None or not 0 <= ago_s <= _OVERDUE * interval_s:
        return "its own timer has not updated it lately"
    return None
