"""The context that all parts of one update share."""

import contextlib
import logging
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from pypi_insiders import remote_index
from pypi_insiders.builder.hook_variables import build_environment
from pypi_insiders.config.paths import Paths, runtime_directory
from pypi_insiders.config.settings import Settings
from pypi_insiders.git import Access, SharedConnections
from pypi_insiders.index import store
from pypi_insiders.index.metadata_cache import MetadataCache
from pypi_insiders.repositories import (
    comparison,
    lookup,
    ownership,
    registry,
    releases,
    removals,
    running,
    state,
)
from pypi_insiders.repositories.comparison import Comparison
from pypi_insiders.repositories.git_access import access_to
from pypi_insiders.repositories.repository import Repository
from pypi_insiders.repositories.state import Check
from pypi_insiders.update.announcer import Announcer
from pypi_insiders.update.build_workspace import BuildSpace
from pypi_insiders.update.progress import Progress
from pypi_insiders.update.request import UpdateRequest
from pypi_insiders.util.files import sweep
from pypi_insiders.util.process_group import ProcessGroup
from pypi_insiders.util.silent_hosts import SilentHosts
from pypi_insiders.util.trees import remove_tree

_log = logging.getLogger(__name__)

CHECKS_AT_ONCE = 16


@dataclass(frozen=True)
class UpdateContext:
    """The inputs and shared objects of one update, valid under its lock; thread-safe."""

    paths: Paths
    settings: Settings
    request: UpdateRequest
    progress: Progress
    watched: dict[str, Repository]
    """All watched repositories, by name."""
    destination: remote_index.Destination | None
    """The index to upload to; `None`: no uploads."""
    processes: ProcessGroup
    """Runs foreign code, and kills it when this process ends."""
    cache: MetadataCache
    """Of the distributions directory."""
    builds: BuildSpace
    owners: dict[str, str]
    """Project to the repository that may publish it; builds add theirs."""
    comparison: Comparison
    checks: Mapping[str, Check]
    """The last check of each watched repository."""
    began_at: int
    """In seconds of the epoch."""
    announcer: Announcer
    connections: SharedConnections
    """For the checks."""
    hosts: SilentHosts
    """Those that checks and uploads do not reach."""
    interrupted: threading.Event = field(default_factory=threading.Event)
    """Set when no further step may start."""

    def access_to(self, repository: Repository, *, url: str | None = None) -> Access:
        """Return the access to the host of a repository, see `git_access.access_to`."""
        return access_to(repository, self.settings.watcher.token_command, url=url)

    @property
    def public_url(self) -> str | None:
        """Return the fallback index, if there is one that may be asked for project names."""
        settings = self.settings
        return settings.server.fallback if settings.watcher.public_versions else None


@contextlib.contextmanager
def opened(
    paths: Paths, settings: Settings, request: UpdateRequest, progress: Progress
) -> Iterator[UpdateContext]:
    """Wait for a running update, clean up after killed ones, and create the context.

    Raises:
        InsidersError: a repository of the request is not watched, or a directory cannot be used.
    """
    # Before the wait: a wrong URL is reported at once.
    destination = remote_index.destination(
        settings.publish, request.index_url, request.index_user, request.index_password
    )
    with (
        running.updates_stopped(paths, lambda line: _report_waiting(line, progress)),
        # Once for all threads: os.environ is global, and must not change while they run.
        build_environment(settings.server.url, settings.server.fallback_url),
    ):
        # Read after the wait: a repository may have been added or removed meanwhile.
        watched = registry.load(paths.repositories)
        # Called for its error about a repository that is not watched any more.
        lookup.select(watched, request.names)
        # Under the lock only: a running update has temporary files, too.
        _sweep(paths)
        _unmark(paths, watched)
        releases.mend_lists(paths)
        owners = ownership.owners(paths, watched.values())
        processes, now_s = ProcessGroup(), int(time.time())
        builds = BuildSpace(paths, settings, processes)
        checks = state.load_checks(paths.state)
        with (
            contextlib.closing(MetadataCache(paths.record, paths.distributions)) as cache,
            contextlib.closing(SharedConnections(runtime_directory() / "pypi-insiders")) as shared,
        ):
            # An update of named repositories compares only theirs, and so does not count.
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
                    # Removed repositories leave the file of checks when it is written next.
                    checks={name: check for name, check in checks.items() if name in watched},
                    began_at=now_s,
                    announcer=Announcer(paths, settings),
                    connections=shared,
                    hosts=SilentHosts(CHECKS_AT_ONCE),
                )
            finally:
                builds.end()


def _report_waiting(line: str, progress: Progress) -> None:
    _log.info("%s", line)
    progress.tell(line)


def _sweep(paths: Paths) -> None:
    """Remove the temporary files of killed commands."""
    store.sweep(paths.distributions)
    for directory in (paths.state, paths.config, paths.distributions):
        sweep(directory)
    # A directory that cannot be read is reported by the fetch into it.
    with contextlib.suppress(OSError):
        # The name is arbitrary: only `Paths` knows the layout of the mirrors.
        for path in paths.mirror("a/b").parent.parent.glob("*/*.git.new"):
            remove_tree(path)


def _unmark(paths: Paths, watched: Mapping[str, Repository]) -> None:
    # A repository that is watched again would otherwise not be reported when it disappears from
    # repos.toml without `repos remove`.
    removed = removals.load(paths.state)
    if again := removed & {name.casefold() for name in watched}:
        removals.save(paths.state, removed - again)


def _is_verification_due(paths: Paths, settings: Settings, now_s: int) -> bool:
    """Return whether all published files are to be read and hashed, which takes long."""
    interval_s = settings.watcher.verify_interval_s
    # A time in the future, of a clock that was wrong, counts as due.
    return bool(interval_s) and not 0 <= now_s - state.load_verified(paths.state) < interval_s
