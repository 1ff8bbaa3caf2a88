"""Classify failures: their messages, which are lasting, and when a failed tag is retried."""

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
    """Return the seconds to wait after failure number `count` of a tag, counted from 1."""
    # An hour, two, four ... a day: a failing build costs minutes of processor time, and mostly
    # succeeds only after a change by the user or upstream.
    return int(min(_FIRST_PAUSE_S * 2 ** (count - 1), _LONGEST_PAUSE_S))


def is_lasting(error: Exception) -> bool:
    """Return whether a tag will fail again until something changes, and so is retried less often.

    A shortage of this machine (disk, memory, descriptors) is not lasting.
    """
    # A PublishError may be temporary too; the pause then only delays the next upload.
    return isinstance(error, BuildError | PublishError) and not shortage(error)


def is_bug(error: Exception) -> bool:
    """Return whether an error is a bug of this program, which is logged with its traceback."""
    return not isinstance(error, InsidersError | OSError | MemoryError)


def in_words(error: Exception) -> InsidersError:
    """Return an error with a message and a hint for the user."""
    if isinstance(error, InsidersError):
        return error
    # MemoryError has no message of its own.
    if isinstance(error, MemoryError) and (lacking := shortage(error)):
        return InsidersError(str(lacking.strerror), hint_for(lacking))
    if isinstance(error, OSError):
        place = f" {error.filename}" if error.filename else ""
        return InsidersError(f"{error.strerror or error}{place}", hint_for(error))
    return InsidersError(
        f"a bug in pypi-insiders: {error!r}", "report it with the traceback in the log"
    )


def following(before: Failure | None, commit: str, error: Exception, settings: str) -> Failure:
    """Return the failure of a tag for the state.

    Args:
        before: its previous failure; ignored if it was of another commit.
        commit: the commit of the tag.
        error: why it failed.
        settings: the settings of the build, from `build_settings`.
    """
    # A moved tag starts with the shortest pause again.
    is_same = before is not None and before.commit == commit
    count = before.count + 1 if before and is_same else 1
    now_s, shown = int(time.time()), in_words(error)
    return Failure(
        commit, shown.message, count, now_s, now_s + pause_s(count), shown.hint, settings
    )


def is_due(failure: Failure | None, commit: str | None, now_s: float) -> bool:
    """Return whether a tag may be built: its pause is over, or it has moved since it failed."""
    return failure is None or failure.commit != commit or now_s >= failure.next_at


def repeated(failure: Failure, repository: Repository) -> InsidersError:
    """Return the error of a failed tag that is not retried yet."""
    at = times.clock(times.at(failure.next_at, datetime.now().astimezone()))
    return InsidersError(
        f"{failure.message} (failed before; next try after {at})",
        failure.hint or f"retry now: `pypi-insiders update {repository.name}`",
    )


def too_long(limit_s: int) -> InsidersError:
    """Return the error of a repository whose time limit is over."""
    return InsidersError(
        f"fetch and build took longer than {limit_s} s (`repository-timeout`); "
        "the next update continues",
        "raise the limit: `pypi-insiders config edit`",
    )
