"""What all parts of one update share."""

import contextlib
import logging
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from pypi_insiders import remote_index
from pypi_insiders.builder.hook_variables import build_environment
from pypi_insiders.config.paths import Paths
from pypi_insiders.config.settings import Settings
from pypi_insiders.index import store
from pypi_insiders.index.metadata_cache import MetadataCache
from pypi_insiders.repositories import comparison, ownership, registry, releases, running, state
from pypi_insiders.repositories.comparison import Comparison
from pypi_insiders.repositories.repository import Repository
from pypi_insiders.repositories.state import Check
from pypi_insiders.update.build_workspace import BuildSpace
from pypi_insiders.update.progress import Progress
from pypi_insiders.update.request import UpdateRequest
from pypi_insiders.util.files import sweep
from pypi_insiders.util.process_group import ProcessGroup
from pypi_insiders.util.trees import remove_tree

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class UpdateContext:
    """What one update works with, from its lock on; its parts are safe in threads."""

    paths: Paths
    settings: Settings
    request: UpdateRequest
    progress: Progress
    watched: dict[str, Repository]
    """All watched repositories, by name."""
    destination: remote_index.Destination | None
    """Another index, for all that is built."""
    processes: ProcessGroup
    """Runs foreign code, and ends it when this process is to end."""
    cache: MetadataCache
    """Of the distributions directory."""
    builds: BuildSpace
    owners: dict[str, str]
    """Which repository may publish which project; what is built is added."""
    comparison: Comparison
    checks: Mapping[str, Check]
    """How the last look at each watched repository ended."""
    began_at: int
    """In seconds of the epoch."""
    interrupted: threading.Event = field(default_factory=threading.Event)
    """Set when nothing more is to be begun."""

    @property
    def public_url(self) -> str | None:
        """Return the fallback index, if it may be asked which names are public."""
        settings = self.settings
        return settings.server.fallback if settings.watcher.public_versions else None


@contextlib.contextmanager
def opened(
    paths: Paths, settings: Settings, request: UpdateRequest, progress: Progress
) -> Iterator[UpdateContext]:
    """Wait for an update that is running, and clean up after those that were killed.

    Raises:
        InsidersError: a name of the request is not watched, or a directory cannot be used.
    """
    destination = remote_index.destination(
        settings.publish, request.index_url, request.index_user, request.index_password
    )
    with (
        running.updates_stopped(paths, lambda line: _report_waiting(line, progress)),
        # Once for all threads: os.environ is one for the process, and must not change under them.
        build_environment(settings.server.url, settings.server.fallback_url),
    ):
        # Read only now: while we waited, somebody may have removed a repository.
        watched = registry.load(paths.repositories)
        # For its error: a name of the request may have been removed meanwhile.
        registry.select(watched, request.names)
        _sweep(paths)
        _unmark(paths, watched)
        releases.mend_lists(paths)
        owners = ownership.owners(paths, watched.values())
        processes, now_s = ProcessGroup(), int(time.time())
        builds = BuildSpace(paths, settings, processes)
        checks = state.load_checks(paths.state)
        with contextlib.closing(MetadataCache(paths.record, paths.distributions)) as cache:
            is_whole = not request.names and _is_verification_due(paths, settings, now_s)
            compared = comparison.begin(paths, cache, verify=is_whole)
            try:
                yield UpdateContext(
                    paths=paths,
                    settings=settings,
                    request=request,
                    progress=progress,
                    watched=watched,
                    destination=destination,
                    processes=processes,
                    cache=cache,
                    builds=builds,
                    owners=owners,
                    comparison=compared,
                    checks={name: check for name, check in checks.items() if name in watched},
                    began_at=now_s,
                )
            finally:
                builds.end()


def _report_waiting(line: str, progress: Progress) -> None:
    _log.info("%s", line)
    progress.tell(line)


def _sweep(paths: Paths) -> None:
    """Remove what commands that were killed left unfinished."""
    store.sweep(paths.distributions)
    for directory in (paths.state, paths.config, paths.distributions):
        sweep(directory)
    with contextlib.suppress(OSError):  # what is fetched there says what is wrong with it
        # Of any name: where mirrors are is known to `Paths` alone.
        for path in paths.mirror("a/b").parent.parent.glob("*/*.git.new"):
            remove_tree(path)


def _unmark(paths: Paths, watched: Mapping[str, Repository]) -> None:
    """Forget of repositories that are watched again that somebody had stopped that."""
    removed = state.load_removed(paths.state)
    if again := removed & {name.casefold() for name in watched}:
        state.save_removed(paths.state, removed - again)


def _is_verification_due(paths: Paths, settings: Settings, now_s: int) -> bool:
    """Return whether all files are read, which takes long, and so is done now and then."""
    interval_s = settings.watcher.verify_interval_s
    return bool(interval_s) and not 0 <= now_s - state.load_verified(paths.state) < interval_s
