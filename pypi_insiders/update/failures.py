"""Judge failures: their words, which of them last, and when a failed tag is tried again."""

import time
from datetime import datetime

from pypi_insiders.builder.errors import BuildError
from pypi_insiders.remote_index import PublishError
from pypi_insiders.repositories.repository import Repository
from pypi_insiders.repositories.state import Failure
from pypi_insiders.util import times
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import hint_for, shortage

_FIRST_PAUSE_S = 3600
_LONGEST_PAUSE_S = 86400


def pause_s(count: int) -> int:
    """Return for how many seconds a tag is left alone after its failure number `count`, from 1."""
    # An hour, two, four ... a day: a tag that does not build costs minutes of processor each time,
    # and mostly waits for somebody to change something.
    return int(min(_FIRST_PAUSE_S * 2 ** (count - 1), _LONGEST_PAUSE_S))


def is_lasting(error: Exception) -> bool:
    """Return whether a tag fails again unless something changes, so that it is tried less often.

    A shortage of this machine (disk, memory, descriptors) is no fault of the tag.
    """
    return isinstance(error, BuildError | PublishError) and not shortage(error)


def is_bug(error: Exception) -> bool:
    """Return whether an error is a fault of this program, and is logged with its traceback."""
    return not isinstance(error, InsidersError | OSError | MemoryError)


def in_words(error: Exception) -> InsidersError:
    """Return an error as the user reads it."""
    if isinstance(error, InsidersError):
        return error
    if isinstance(error, MemoryError) and (lacking := shortage(error)):
        return InsidersError(str(lacking.strerror), hint_for(lacking))
    if isinstance(error, OSError):
        place = f" {error.filename}" if error.filename else ""
        return InsidersError(f"{error.strerror or error}{place}", hint_for(error))
    return InsidersError(
        f"a bug in pypi-insiders: {error!r}", "please report it, with the traceback"
    )


def following(before: Failure | None, commit: str, error: Exception, settings: str) -> Failure:
    """Return what is remembered of a tag that has failed now.

    Args:
        before: its failure before that; one of another commit does not count.
        commit: the commit that the tag names.
        error: why it failed.
        settings: the settings it was built with, as `build_settings` returns them.
    """
    is_same = before is not None and before.commit == commit
    count = before.count + 1 if before and is_same else 1
    now_s, told = int(time.time()), in_words(error)
    return Failure(commit, told.message, count, now_s, now_s + pause_s(count), told.hint, settings)


def is_due(failure: Failure | None, commit: str | None, now_s: float) -> bool:
    """Return whether a tag is tried: its pause is over, or it names another commit by now."""
    return failure is None or failure.commit != commit or now_s >= failure.next_at


def repeated(failure: Failure, repository: Repository) -> InsidersError:
    """Return the error of a tag that failed before and is not tried now."""
    at = times.clock(times.at(failure.next_at, datetime.now().astimezone()))
    return InsidersError(
        f"{failure.message} (as before; the next try is after {at})",
        failure.hint or f"try it now: `pypi-insiders update {repository.name}`",
    )


def too_long(limit_s: int) -> InsidersError:
    """Return the error of a repository for which this update has no time left."""
    return InsidersError(
        f"fetching and building it took longer than {limit_s} s, the `repository-timeout`; "
        "the next update goes on",
        "`pypi-insiders config edit` changes it",
    )
