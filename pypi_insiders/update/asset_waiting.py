"""Wait for the assets of a release, which follow its tag after minutes or hours."""

import logging
import time

from pypi_insiders.builder.errors import BuildError
from pypi_insiders.forges import ForgeError, NoReleaseError, PassingError
from pypi_insiders.repositories.published_assets import Waiting
from pypi_insiders.update.sources import TaggedRelease
from pypi_insiders.update.tracked import TrackedRepository
from pypi_insiders.util.errors import InsidersError

_log = logging.getLogger(__name__)

# Programs of a forge build wheels after a tag was pushed, which takes minutes, and for some
# platforms hours. A project that is only preferred from there is not held up for that long.
_WAIT_S = {"only": 6 * 3600, "prefer": 3600}
_HOST_WAIT_S = 6 * 3600


class WaitingError(InsidersError):
    """A release has no assets yet; the next update asks again."""


def demand_patience(
    tracked: TrackedRepository, release: TaggedRelease, error: ForgeError, *, is_named: bool
) -> None:
    """Return if a release without assets is to be built; record that it waits.

    Args:
        tracked: the repository; its state is updated.
        release: the release.
        error: why there are no assets.
        is_named: whether the user named its tag, and so waits for its build.

    Raises:
        WaitingError: it waits for assets.
        BuildError: it has waited for hours, and nothing is to be built.
        ForgeError: the forge has not answered for hours.
    """
    known, mode = tracked.known, str(tracked.repository.assets)
    now_s, before = int(time.time()), known.waiting.get(release.tag)
    limit_s = _WAIT_S[mode] if isinstance(error, NoReleaseError) else _HOST_WAIT_S
    # Of a repository that is new here, a program has built the files long ago, or never will.
    is_first = not known.builds or is_named
    if mode == "prefer" and isinstance(error, NoReleaseError) and is_first:
        limit_s = 0
    is_same = before is not None and before.commit == release.commit
    since_s = min(before.since, now_s) if before and is_same else now_s
    known.waiting[release.tag] = Waiting(release.commit, since_s, error.message)
    tracked.commit()
    if now_s - since_s < limit_s:
        raise WaitingError(error.message)
    if isinstance(error, PassingError):
        raise error
    if mode == "only":
        raise BuildError(
            f"no assets after {limit_s // 3600} hours: {error.message}",
            hint="build what its release lacks: "
            f"`pypi-insiders repos set {tracked.name} assets=prefer`",
        )
    _log.info("%s: tag %s: %s, so it is built", tracked.name, release.tag, error.message)
