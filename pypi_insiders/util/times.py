"""Format times and durations for people and for scripts."""

from datetime import UTC, datetime, timedelta


def at(epoch_s: float, now: datetime) -> datetime:
    """Convert seconds of the epoch to the time zone of `now`."""
    return datetime.fromtimestamp(epoch_s, now.tzinfo)


def clock(moment: datetime) -> str:
    """Format a time for people: `2026-11-22 21:30:01 UTC`."""
    return f"{moment:%Y-%m-%d %H:%M:%S %Z}"


def span(span: timedelta) -> str:
    """Format a duration in its largest unit, as systemctl does: `12 min`."""
    seconds = max(0, round(span.total_seconds()))
    for unit_s, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= unit_s:
            return f"{seconds // unit_s} {unit}"
    return f"{seconds} s"


def took(seconds: float) -> str:
    """Format how long an operation took: `0.8 s`, `2 min 5 s`."""
    # Rounded before it is compared, or 59.97 would become "60.0 s".
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s"


def told(epoch_s: float, now: datetime) -> str:
    """Format a time with its distance to now: `2026-11-22 21:30:01 UTC (12 min ago)`."""
    moment = at(epoch_s, now)
    away = f"in {span(moment - now)}" if moment > now else f"{span(now - moment)} ago"
    return f"{clock(moment)} ({away})"


def rfc3339(epoch_s: float) -> str:
    """Format a time for scripts: `2026-11-22T21:30:01Z`. Source: RFC 3339, section 5.6."""
    return f"{datetime.fromtimestamp(epoch_s, UTC):%Y-%m-%dT%H:%M:%SZ}"
