"""Run an update: the repositories in parallel, then what belongs to none of them."""

import contextlib
import logging
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from enum import Enum, auto
from queue import Empty, SimpleQueue

from pypi_insiders import git
from pypi_insiders.config.paths import Paths
from pypi_insiders.config.settings import Settings
from pypi_insiders.remote_index import public_versions
from pypi_insiders.repositories import held_names, lookup, running, state
from pypi_insiders.repositories.repository import Repository
from pypi_insiders.update import context as contexts
from pypi_insiders.update import lost_files, naming, schedule
from pypi_insiders.update.context import UpdateContext
from pypi_insiders.update.outcome import Outcome
from pypi_insiders.update.progress import Progress
from pypi_insiders.update.repository_update import RepositoryUpdate
from pypi_insiders.update.request import UpdateRequest
from pypi_insiders.util import log
from pypi_insiders.util.errors import InsidersError

_log = logging.getLogger(__name__)

# A check is one connection to a host; a fetch uses disk and processor too.
_FETCHES_AT_ONCE = 8
_TURN_S = 0.5


def update(
    paths: Paths, settings: Settings, request: UpdateRequest, progress: Progress
) -> list[Outcome]:
    """Check repositories, build their new tags and publish the results.

    A failure stops neither other repositories nor other tags. A second update waits for the first.

    Args:
        paths: all paths of the program.
        settings: the settings of `config.toml`.
        request: the repositories and tags to update.
        progress: gets each step, from several threads.

    Returns:
        One outcome for each repository, and one for each project with lost files that no watched
        repository builds.

    Raises:
        InsidersError: a repository of the request is not watched.
    """
    with contexts.opened(paths, settings, request, progress) as context:
        chosen = lookup.select(context.watched, request.names)
        # When all files are verified, they are those of all repositories.
        if request.is_scheduled and not request.names and not context.comparison.verify:
            chosen = schedule.due(context, chosen)
        context.announcer.resume(context.watched, [item.name for item in chosen])
        # Before the builds, for projects that were added to repos.toml by hand; and after them, for
        # projects that builds have revealed.
        held_names.sync(paths)
        unnamed = [item for item in chosen if _is_unnamed(paths, item)]
        # Before the first build: until a name is known, installers can get a public package of that
        # name.
        naming.learn(paths, unnamed, context.public_url)
        outcomes = _update(context, chosen)
        held_names.sync(paths)
        if context.public_url is not None:
            # After the builds: new releases are published without a wait for these look-ups.
            progress.begin("", "look", "up public versions")
            names = (project for _, project in lost_files.projects(paths, chosen))
            public_versions.look_up(paths.state, context.public_url, names)
            progress.end("")
    _report(outcomes, progress)
    # Without the lock and the environment of the update.
    context.announcer.finish()
    return outcomes


def _update(context: UpdateContext, chosen: Sequence[Repository]) -> list[Outcome]:
    """Update repositories, and check the files that none of them has built."""
    paths = context.paths
    # Announced to the server: clients of a project wait while its first release is built.
    with running.announced(paths, [item.name for item in chosen]) as finish:
        outcomes = UpdateRun(context, chosen).run(finish)
    lost_files.report_strangers(context, outcomes, chosen)
    if not context.request.names:
        outcomes += lost_files.find_of_others(context)
    # Last: an update that was interrupted has not read all files, and it stays due.
    if context.comparison.verify:
        state.save_verified(paths.state, context.began_at)
    return outcomes


def _is_unnamed(paths: Paths, repository: Repository) -> bool:
    """Return whether the project of a repository is neither set nor known from a build."""
    if repository.project is not None:
        return False
    with contextlib.suppress(InsidersError):  # the update of the repository reports it
        return state.load(paths.state, repository.name).project is None
    return False


def _report(outcomes: Iterable[Outcome], progress: Progress) -> None:
    """Log the published releases, then all warnings."""
    for outcome in outcomes:
        outcome.seconds = progress.seconds(outcome.repository)
        if outcome.published:
            with log.about(outcome.repository):
                _log.info("%s: %s", outcome.repository, outcome.summary)
    for outcome in outcomes:
        with log.about(outcome.repository):
            for line in outcome.warnings:
                _log.warning("%s: %s", outcome.repository, line)
                if hint := outcome.hints.get(line):
                    _log.info("hint: %s", hint)


class _Stage(Enum):
    CHECK = auto()
    FETCH = auto()
    BUILD = auto()


class UpdateRun:
    """Check, fetch and build repositories, several at once."""

    # Each stage has its own threads, so that a hanging host does not delay builds. Repositories
    # without a failure last time never wait for those with one: none of the latter is fetched
    # before all of the former are.

    def __init__(self, context: UpdateContext, chosen: Iterable[Repository]) -> None:
        self._context = context
        self._updates = [RepositoryUpdate(context, item) for item in chosen]

    def run(self, finish: Callable[[str], None]) -> list[Outcome]:
        """Update all repositories.

        Args:
            finish: called with the name of each finished repository.
        """
        self._context.progress.expect("check", len(self._updates))
        self._context.connections.expect(item.tracked.repository.remote for item in self._updates)
        builds_at_once = self._context.settings.build.jobs or os.cpu_count() or 1
        with (
            ThreadPoolExecutor(contexts.CHECKS_AT_ONCE) as checks,
            ThreadPoolExecutor(_FETCHES_AT_ONCE) as fetches,
            ThreadPoolExecutor(builds_at_once) as builds,
        ):
            pools = {_Stage.CHECK: checks, _Stage.FETCH: fetches, _Stage.BUILD: builds}
            try:
                self._run(pools, finish)
            # BaseException: SIGTERM and Ctrl-C are raised as KeyboardInterrupt.
            except BaseException:
                # A publication that is running is finished and recorded; no other step starts.
                self._context.interrupted.set()
                self._context.processes.end()
                # Threads that wait for git would delay the exit until their hosts answer.
                git.end()
                # They keep the output of killed sessions open.
                self._context.connections.close()
                for pool in pools.values():
                    pool.shutdown(cancel_futures=True)
                raise
        return [item.tracked.outcome for item in self._updates]

    def _run(
        self, pools: Mapping[_Stage, ThreadPoolExecutor], finish: Callable[[str], None]
    ) -> None:
        """Run the stages of all repositories."""
        pending: dict[Future[bool], tuple[_Stage, RepositoryUpdate]] = {}
        # Not wait(), which looks at all of them each time.
        done = SimpleQueue[Future[bool]]()

        def submit(stage: _Stage, item: RepositoryUpdate) -> None:
            future = pools[stage].submit(_do, stage, item)
            pending[future] = (stage, item)
            future.add_done_callback(done.put)

        # Repositories without a failure first: a hanging one occupies a thread until its timeout.
        for item in sorted(self._updates, key=lambda item: not item.tracked.was_well):
            submit(_Stage.CHECK, item)
        unchecked, delayed = len(self._updates), list[RepositoryUpdate]()
        is_saved = False
        while pending:
            future = _next(done)
            stage, item = pending.pop(future)
            is_more = future.result()
            if stage is _Stage.CHECK:
                unchecked -= 1
                # As soon as all are checked: a build may take an hour, and `status` shows
                # unreachable hosts before its end.
                if not unchecked:
                    self._save_checks()
                    self._context.connections.close()
            is_saved = stage is _Stage.CHECK and not unchecked
            if not is_more:
                self._context.announcer.settle(item.name)
                finish(item.name)
            elif stage is _Stage.FETCH:
                submit(_Stage.BUILD, item)
            else:
                delayed.append(item)
            for item in _may_begin(delayed, pending.values()):
                delayed.remove(item)
                submit(_Stage.FETCH, item)
        if not is_saved:
            self._save_checks()

    def _save_checks(self) -> None:
        checks = {item.name: item.tracked.check for item in self._updates}
        state.save_checks(self._context.paths.state, {**self._context.checks, **checks})


def _next(done: SimpleQueue[Future[bool]]) -> Future[bool]:
    """Wait for the next one that is done."""
    while True:
        # In turns: Python lets signals wait for this thread, and one that comes just before it
        # sleeps, or in another thread, does not wake it. A build may take hours.
        with contextlib.suppress(Empty):
            return done.get(timeout=_TURN_S)


def _do(stage: _Stage, item: RepositoryUpdate) -> bool:
    """Run one stage of a repository; return whether another one follows."""
    steps = {_Stage.CHECK: item.check, _Stage.FETCH: item.fetch, _Stage.BUILD: item.build}
    # In the thread of the pool: it does not inherit the context of the thread that submits.
    with log.about(item.name):
        return steps[stage]()


def _may_begin(
    waiting: Collection[RepositoryUpdate], pending: Iterable[tuple[_Stage, RepositoryUpdate]]
) -> list[RepositoryUpdate]:
    """Return the repositories to fetch now: those that failed last time wait for all others."""
    if not waiting:
        return []
    if first := [item for item in waiting if item.is_steady]:
        return first
    is_any_ahead = any(
        stage is not _Stage.BUILD and item.tracked.was_well for stage, item in pending
    )
    return [] if is_any_ahead else list(waiting)
