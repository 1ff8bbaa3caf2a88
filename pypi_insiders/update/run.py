"""Bring the index up to date: one pass over the watched repositories."""

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum, auto
from typing import Any, TypeVar

from pypi_insiders import git, remote_index
from pypi_insiders.builder import sandbox
from pypi_insiders.builder.environ import build_environment
from pypi_insiders.builder.errors import BuildError
from pypi_insiders.config.paths import Paths
from pypi_insiders.config.settings import Settings
from pypi_insiders.git import SignatureError, UnreachableError
from pypi_insiders.index import distribution, store
from pypi_insiders.index.metadata_cache import MetadataCache
from pypi_insiders.index.release_lists import TAKEN_BACK
from pypi_insiders.remote_index import PublishError
from pypi_insiders.repositories import (
    comparison,
    held_names,
    ownership,
    public_versions,
    registry,
    releases,
    running,
    state,
)
from pypi_insiders.repositories.comparison import Comparison, Difference, Kind
from pypi_insiders.repositories.model import Repository
from pypi_insiders.repositories.state import Build, Check, Failure, RepositoryState
from pypi_insiders.update import naming, retention
from pypi_insiders.update.progress import Progress
from pypi_insiders.update.release import (
    Made,
    Maker,
    Release,
    RemovedError,
    TakenBackError,
    is_lasting,
)
from pypi_insiders.update.selection import Chooser, Request
from pypi_insiders.util import log, times
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import hint_for, list_names, locked, make_directory, shortage, sweep
from pypi_insiders.util.plain_text import Block
from pypi_insiders.util.process_group import ProcessGroup
from pypi_insiders.util.time_limit import TimeLimit
from pypi_insiders.util.trees import remove_foreign_tree, remove_tree

_log = logging.getLogger(__name__)

_T = TypeVar("_T")
_Result = TypeVar("_Result")

_CHECKS_AT_ONCE = 16
_FETCHES_AT_ONCE = 8
_FIRST_PAUSE_S = 3600
_LONGEST_PAUSE_S = 86400


@dataclass
class Outcome:
    """What one pass did for one repository, or found of a project that none builds."""

    repository: str
    """Or else the project."""
    is_watched: bool = True
    """Whether it is a repository."""
    published: list[str] = field(default_factory=list)
    """File names, in the order of their publication."""
    errors: list[InsidersError] = field(default_factory=list)
    unreachable: bool = False
    """Its host is out of reach, not for long enough yet to be an error."""
    warnings: list[str] = field(default_factory=list)
    """Of tags that have moved after they were built, and of what was built again."""
    seconds: dict[str, float] = field(default_factory=dict)
    """How long each step took: `check`, `fetch`, `build`, `publish`, `upload`."""


def update(paths: Paths, settings: Settings, request: Request, progress: Progress) -> list[Outcome]:
    """Check repositories, build their new tags and publish what was built.

    A failure of one repository does not stop the others, one of a tag not the other tags. Of two
    updates at once the second waits for the first.

    Args:
        paths: where everything lies.
        settings: those of `config.toml`.
        request: what is to be done.
        progress: told what is done, from several threads.

    Returns:
        One outcome a repository, and one a project of which files are lost that none builds.

    Raises:
        InsidersError: one of the names is not watched.
    """
    destination = remote_index.destination(
        settings.publish, request.index_url, request.index_user, request.index_password
    )
    with (
        locked(paths.lock, lambda: _waiting(progress)),
        build_environment(settings.server.url, settings.server.fallback_url),
    ):
        # Read only now: while we waited, somebody may have removed a repository.
        watched = registry.load(paths.repositories)
        chosen = registry.select(watched, request.names)
        _sweep(paths)
        _unmark(paths, watched)
        releases.mend_lists(paths)
        keep = settings.watcher.keep
        chosen = [item if item.keep is not None else replace(item, keep=keep) for item in chosen]
        owners = ownership.owners(paths, watched.values())
        containment = ProcessGroup()
        record = MetadataCache(paths.record, paths.distributions)
        maker = Maker(paths, settings, record, owners, containment, progress, destination)
        chooser = Chooser(paths, settings, request, record)
        now_s = int(time.time())
        is_whole = not request.names and _is_verification_due(paths, settings, now_s)
        compared = comparison.begin(paths, record, verify=is_whole)
        checks = state.load_checks(paths.state)
        checks = {name: check for name, check in checks.items() if name in watched}
        held_names.sync(paths)
        public_url = settings.server.fallback if settings.watcher.public_versions else None
        naming.learn(paths, [item for item in chosen if _is_unnamed(paths, item)], public_url)
        try:
            with running.announced(paths, [item.name for item in chosen]) as finish:
                outcomes = _Pass(
                    paths,
                    settings,
                    request,
                    chosen,
                    checks,
                    chooser,
                    maker,
                    containment,
                    progress,
                    compared,
                ).run(finish)
            _tell_of_strangers(paths, outcomes, chosen, record)
            if not request.names:
                outcomes += _lost_of_others(paths, compared, chosen)
            if is_whole:
                state.save_verified(paths.state, now_s)
        finally:
            maker.end()
            record.close()
        held_names.sync(paths)
        if settings.watcher.public_versions:
            progress.tell("asking which releases are public")
            names = (project for _, project in _projects(paths, chosen))
            public_versions.look_up(paths.state, settings.server.fallback, names)
    for outcome in outcomes:
        outcome.seconds = progress.seconds(outcome.repository)
        if outcome.published:
            with log.about(outcome.repository):
                _log.info("%s: %s", outcome.repository, _summary(outcome))
    for outcome in outcomes:
        with log.about(outcome.repository):
            for line in outcome.warnings:
                _log.warning("%s: %s", outcome.repository, line)
    return outcomes


def _is_verification_due(paths: Paths, settings: Settings, now_s: int) -> bool:
    """Tell whether all files are to be read, which takes long, and so is done now and then."""
    interval_s = settings.watcher.verify_interval_s
    return bool(interval_s) and not 0 <= now_s - state.load_verified(paths.state) < interval_s


def _lost_of_others(
    paths: Paths, compared: Comparison, chosen: Sequence[Repository]
) -> list[Outcome]:
    """Find what is lost of what no watched repository has built; what differs is set aside."""
    watched = {item.name.casefold() for item in chosen}
    found: list[Difference] = []
    known_files: set[str] = set()
    outcomes: dict[str, Outcome] = {}
    for name, known in state.everything(paths.state):
        known_files.update(file for build in known.builds for file in build.files)
        if name.casefold() not in watched:
            found += compared.of(name, known)
    for item in (*found, *compared.of_others(known_files)):
        error = InsidersError(_put_aside(paths, item), comparison.hint(item))
        _log.error("%s", error.message)
        _log.info("hint: %s", error.hint)
        outcome = outcomes.setdefault(item.project, Outcome(item.project, is_watched=False))
        outcome.errors.append(error)
    return list(outcomes.values())


def _tell_of_strangers(
    paths: Paths, outcomes: Sequence[Outcome], chosen: Iterable[Repository], record: MetadataCache
) -> None:
    """Say which files of a repository's project no build of it made."""
    found = comparison.strangers(
        list_names(paths.distributions),
        {project: name for name, project in _projects(paths, chosen)},
        state.everything(paths.state),
        record.entries(),
        TAKEN_BACK.load(paths.distributions, paths.state),
    )
    for item in found:
        hint = item.hint(paths.distributions)
        with log.about(item.repository):
            _log.error("%s: %s", item.repository, item.text)
            _log.info("hint: %s", hint)
        told = [outcome for outcome in outcomes if outcome.repository == item.repository]
        told[0].errors.append(InsidersError(item.text, hint))


def _put_aside(paths: Paths, item: Difference) -> str:
    """Move away a file that is not the published one; say in a line what is wrong, and where it is.

    One that cannot be read may be the right one.
    """
    if item.kind != Kind.CHANGED:
        return item.text
    aside = store.put_aside(paths.distributions, item.file)
    return f"{item.text}; it is set aside as {aside}"


def _is_unnamed(paths: Paths, repository: Repository) -> bool:
    """Tell whether nobody has said which project a repository builds, nor any build of it."""
    with contextlib.suppress(InsidersError):  # which the log tells of in its turn
        known = state.load(paths.state, repository.name)
        return repository.distribution is None and known.distribution is None
    return False


def _sweep(paths: Paths) -> None:
    """Remove what commands that were killed left unfinished."""
    store.sweep(paths.distributions)
    for directory in (paths.state, paths.config, paths.distributions):
        sweep(directory)
    with contextlib.suppress(OSError):  # what is fetched there says what is wrong with it
        for path in paths.mirror("a/b").parent.parent.glob("*/*.git.new"):
            remove_tree(path)


def _unmark(paths: Paths, watched: Mapping[str, Repository]) -> None:
    """Forget of repositories that are watched again that somebody had stopped that."""
    removed = state.load_removed(paths.state)
    if again := removed & {name.casefold() for name in watched}:
        state.save_removed(paths.state, removed - again)


def _waiting(progress: Progress) -> None:
    _log.info("another update is running; waiting for it to end")
    progress.tell("waiting for another update to end")


def _summary(outcome: Outcome) -> str:
    """Tell which releases are published now, and how long that took."""
    published = (distribution.release_of(name) for name in outcome.published)
    names = dict.fromkeys(f"{project} {version}" for project, version in published)
    steps = ", ".join(f"{step} {times.took(spent)}" for step, spent in outcome.seconds.items())
    return f"{', '.join(names)} in {times.took(sum(outcome.seconds.values()))} ({steps})"


def _projects(paths: Paths, chosen: Iterable[Repository]) -> Iterator[tuple[str, str]]:
    """Name repositories with their projects, of those that have one already."""
    for item in chosen:
        with contextlib.suppress(InsidersError):  # which the log has told
            if name := item.distribution or state.load(paths.state, item.name).distribution:
                yield item.name, name


@dataclass(frozen=True)
class _Job:
    """One tag that is to be built."""

    release: Release
    is_lost: bool = False
    """Whether it was built before, and is made again as it was."""
    error: Exception | None = None
    """Why it cannot be built now."""


@dataclass(frozen=True, eq=False)
class _Work:
    """What is to be done for one repository."""

    repository: Repository
    known: RepositoryState
    refs: dict[str, str]
    tags: tuple[str, ...]
    lost: tuple[Difference, ...]
    """What is to be built again."""
    limit: TimeLimit
    is_steady: bool
    """Whether nothing of it failed last time."""
    jobs: list[_Job] = field(default_factory=list)
    """What is built, in this order; known when the repository is fetched."""

    def lost_of(self, tag: str) -> list[Difference]:
        """Tell what is to be built again of a tag."""
        return [item for item in self.lost if item.build and item.build.tag == tag]


class _Stage(Enum):
    CHECK = auto()
    FETCH = auto()
    BUILD = auto()


def _may_begin(
    waiting: Iterable[_Work], steady: Container[str], pending: Iterable[tuple[_Stage, str]]
) -> list[_Work]:
    """Choose what is fetched now: what failed last time waits until nothing else is before it."""
    if first := [work for work in waiting if work.is_steady]:
        return first
    is_any_ahead = any(stage is not _Stage.BUILD and name in steady for stage, name in pending)
    return [] if is_any_ahead else list(waiting)


class _Pass:
    """One pass: each repository is checked, fetched and built, many of them at once.

    Each of the three has threads of its own, so that no host that hangs keeps others from being
    built. A repository of which nothing failed last time never waits for one of which something
    did: until all of the former are fetched, none of the latter is begun.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - what one pass is about
        self,
        paths: Paths,
        settings: Settings,
        request: Request,
        chosen: list[Repository],
        checks: dict[str, Check],
        chooser: Chooser,
        maker: Maker,
        containment: ProcessGroup,
        progress: Progress,
        comparison: Comparison,
    ) -> None:
        self._comparison = comparison
        self._paths = paths
        self._settings = settings
        self._request = request
        self._chosen = chosen
        self._progress = progress
        self._outcomes = {item.name: Outcome(item.name) for item in chosen}
        self._interrupted = threading.Event()
        self._containment = containment
        self._checks = checks
        self._before = dict(checks)
        self._chooser = chooser
        self._maker = maker
        self._swept = threading.Lock()
        self._is_swept = False

    def run(self, finish: Callable[[str], None]) -> list[Outcome]:
        """Update all repositories.

        Args:
            finish: called with the name of each repository that is finished.
        """
        self._progress.expect("check", len(self._chosen))
        with (
            ThreadPoolExecutor(_CHECKS_AT_ONCE) as checks,
            ThreadPoolExecutor(_FETCHES_AT_ONCE) as fetches,
            ThreadPoolExecutor(self._settings.build.jobs or os.cpu_count() or 1) as builds,
        ):
            pools = {_Stage.CHECK: checks, _Stage.FETCH: fetches, _Stage.BUILD: builds}
            try:
                self._run(pools, finish)
            except BaseException:
                # What is being published is finished and recorded; nothing else is begun.
                self._interrupted.set()
                self._containment.end()
                git.end()
                for pool in pools.values():
                    pool.shutdown(cancel_futures=True)
                raise
        return list(self._outcomes.values())

    def _run(
        self, pools: Mapping[_Stage, ThreadPoolExecutor], finish: Callable[[str], None]
    ) -> None:
        """Bring each repository from one stage to the next."""
        pending: dict[Future[_Work | None], tuple[_Stage, str]] = {}

        def submit(stage: _Stage, name: str, do: Callable[[Any], _Work | None], of: object) -> None:
            pending[pools[stage].submit(_about, name, do, of)] = (stage, name)

        steady = {item.name for item in self._chosen if self._was_well(item.name)}
        for item in sorted(self._chosen, key=lambda item: item.name not in steady):
            submit(_Stage.CHECK, item.name, self._check, item)
        unchecked, delayed = len(self._chosen), list[_Work]()
        while pending:
            for future in wait(pending, return_when=FIRST_COMPLETED).done:
                stage, name = pending.pop(future)
                work = future.result()
                if stage is _Stage.CHECK:
                    unchecked -= 1
                    if not unchecked:
                        state.save_checks(self._paths.state, self._checks)
                if work is None:
                    finish(name)
                elif stage is _Stage.FETCH:
                    submit(_Stage.BUILD, name, self._build, work)
                else:
                    delayed.append(work)
            for work in _may_begin(delayed, steady, pending.values()):
                delayed.remove(work)
                submit(_Stage.FETCH, work.repository.name, self._fetch, work)
        state.save_checks(self._paths.state, self._checks)

    def _was_well(self, name: str) -> bool:
        before = self._before.get(name, Check())
        return not before.errors and before.unreachable_since is None

    def _check(self, repository: Repository) -> _Work | None:
        self._progress.begin(repository.name, "check")
        now_s = int(time.time())
        before = self._checks.get(repository.name, Check())
        self._checks[repository.name] = replace(
            before, errors=[], warnings=[], hints={}, tried_at=now_s
        )
        known = RepositoryState()
        try:
            known = self._known(repository)
            lost = self._lost(repository, known)
            refs = git.list_tags(repository.remote, git.Access(repository.token))
            self._checks[repository.name] = Check(now_s, tried_at=now_s)
            lost = self._finish(repository, known, lost, refs)
            if self._chooser.recall(repository, known, refs):
                lost = self._lost(repository, known)
            if self._request.tag is None:
                self._warn(repository.name, self._chooser.explain(repository, known, refs))
            wanted = self._chooser.choose(repository, known, refs)
            lacking = (build.tag for build in known.builds if self._maker.lacks(build))
            lost_tags = (item.build.tag for item in lost if item.build)
            tags = dict.fromkeys([*wanted, *lost_tags, *lacking])
            if self._request.tag is None and not self._request.all_tags:
                self._forget_failures(repository, known, tags)
            due = {tag for tag in tags if self._chooser.is_due(known, refs, tag)}
            for tag in tags:
                if tag not in due:
                    self._report_failure(repository, tag, known.failures[tag])
            if not wanted:
                self._chooser.demand_chosen(repository, known, refs)
            wanted = tuple(tag for tag in wanted if tag in due)
            lost = tuple(item for item in lost if item.build and item.build.tag in due)
        except UnreachableError as error:
            self._miss(repository, known, error, now_s)
            return None
        except Exception as error:
            self._fail(repository, error)
            return None
        if not wanted and not lost and not any(map(self._maker.lacks, known.builds)):
            _log.debug("%s: nothing new", repository.name)
            self._prune(repository, known)
            self._progress.end(repository.name)
            return None
        limit = TimeLimit(self._settings.watcher.repository_timeout_s or None)
        is_steady = self._was_well(repository.name) and not known.failures
        work = _Work(repository, known, refs, wanted, lost, limit, is_steady)
        self._progress.expect("build", len(wanted) + len(self._to_restore(work)))
        self._progress.end(repository.name)
        return work

    def _warn(self, name: str, lines: Iterable[str]) -> None:
        for line in lines:
            self._outcomes[name].warnings.append(line)
            self._checks[name].warnings.append(line)

    def _forget_failures(
        self, repository: Repository, known: RepositoryState, tags: Collection[str]
    ) -> None:
        """Forget why tags failed that are gone, or of which nobody wants a release any more."""
        kept = {tag: failure for tag, failure in known.failures.items() if tag in tags}
        if kept != known.failures:
            known.failures = kept
            state.save(self._paths.state, repository.name, known)

    def _report_failure(self, repository: Repository, tag: str, failure: Failure) -> None:
        """Report a tag that failed before and is not tried now: the update is no success."""
        at = times.clock(times.at(failure.next_at, datetime.now().astimezone()))
        error = InsidersError(
            f"{failure.message} (as before; the next try is after {at})",
            failure.hint or f"try it now: `pypi-insiders update {repository.name}`",
        )
        _log.error("%s: tag %s: %s", repository.name, tag, error.message)
        _log.info("hint: %s", error.hint)
        self._outcomes[repository.name].errors.append(error)

    def _lost(self, repository: Repository, known: RepositoryState) -> tuple[Difference, ...]:
        """Find what was published and is not there as it was; what differs is set aside."""
        lost = self._comparison.of(repository.name, known)
        if known.is_old:
            self._migrate(repository, known)
        for item in lost:
            _log.warning("%s: %s", repository.name, _put_aside(self._paths, item))
        differing = {item.build.tag for item in lost if item.build}
        healed = [
            build.tag
            for build in known.builds
            if build.tag in known.failures
            and build.tag not in differing
            and not self._maker.lacks(build)
        ]
        for tag in healed:
            del known.failures[tag]
        if healed:
            state.save(self._paths.state, repository.name, known)
        return tuple(lost)

    def _finish(
        self,
        repository: Repository,
        known: RepositoryState,
        lost: tuple[Difference, ...],
        refs: Mapping[str, str],
    ) -> tuple[Difference, ...]:
        """Go on with releases that a killed update was publishing; return what is still lost.

        What is missing is built again from the same commit. Where the tag does not name that any
        more, the files that were published last are removed.
        """
        differing = {item.build.tag for item in lost if item.build}
        unfinished = [build for build in known.builds if build.unfinished]
        for build in unfinished:
            number = known.builds.index(build)
            if build.tag not in differing:
                known.builds[number] = replace(build, unfinished=[])
            elif refs.get(build.tag) != build.commit:
                removed = ", ".join(self._maker.remove(build.unfinished)) or "nothing"
                self._comparison.forget(build.unfinished)
                left = {
                    name: digest
                    for name, digest in build.files.items()
                    if name not in build.unfinished
                }
                rest = replace(build, files=left, unfinished=[])
                known.builds[number : number + 1] = [rest] if left else []
                text = f"publishing {build.version} was interrupted, and tag {build.tag} "
                text += f"{'has moved' if build.tag in refs else 'is gone'}: removed {removed}"
                self._warn(repository.name, [text])
        if unfinished:
            state.save(self._paths.state, repository.name, known)
        return tuple(item for item in lost if item.build in known.builds)

    def _migrate(self, repository: Repository, known: RepositoryState) -> None:
        """Write down what was taken back while no list of that was kept."""
        expected = self._comparison.expected(known)
        for number, build in enumerate(known.builds):
            if build in expected or not build.files:
                continue
            if build.uploaded_to:
                known.builds[number] = replace(build, local=False)
            else:
                gone = [
                    (project, version) for _, project, version in distribution.releases(build.files)
                ]
                releases.take_back(self._paths, gone)
                _log.info(
                    "%s: %s is not in the index, and counts as taken back; "
                    "`pypi-insiders update %s --tag %s --force` publishes it again",
                    repository.name, build.version, repository.name, build.tag,
                )  # fmt: skip
        state.save(self._paths.state, repository.name, known)

    def _to_restore(self, work: _Work) -> list[Build]:
        """Name the builds of which something is lost, unless they are built anyway."""
        builds = {item.build.tag: item.build for item in work.lost if item.build}
        return [build for tag, build in builds.items() if tag not in work.tags]

    def _known(self, repository: Repository) -> RepositoryState:
        """Recall what was built of a repository, unless its name stands for another one now."""
        known = state.load(self._paths.state, repository.name)
        settings = repository.build_settings
        known.failures = {
            tag: failure
            for tag, failure in known.failures.items()
            if failure.settings in (None, settings)
        }
        if not known.builds or known.is_of(repository.remote, repository.distribution):
            return known
        _log.info("%s: its URL or distribution has changed; it begins anew", repository.name)
        remove_tree(self._paths.mirror(repository.name))
        return RepositoryState(former_files=known.files)

    def _miss(
        self, repository: Repository, known: RepositoryState, error: UnreachableError, now_s: int
    ) -> None:
        """Be quiet about a host that is out of reach, unless it is so for long.

        But not where nothing was built yet: installers have nothing of it meanwhile.
        """
        before = self._checks.get(repository.name, Check())
        # It may answer, and hang whenever it is to send something.
        earlier_s = self._before.get(repository.name, Check()).unreachable_since
        since_s = before.unreachable_since or earlier_s or now_s
        self._checks[repository.name] = replace(before, unreachable_since=since_s)
        if not (self._is_patient(since_s) and known.builds):
            self._fail(repository, error)
            return
        _log.info("%s: %s; the next update tries again", repository.name, error.message)
        self._outcomes[repository.name].unreachable = True
        self._progress.end(repository.name)

    def _is_patient(self, since_s: int) -> bool:
        """Tell whether a host that is out of reach is no failure yet; whoever asks wants to know.

        Args:
            since_s: since when it is, in seconds of the epoch.
        """
        grace_s = self._settings.watcher.unreachable_grace_s
        return not self._request.names and time.time() - since_s < grace_s

    def _fetch(self, work: _Work) -> _Work | None:
        """Bring all that is built of a repository, so that its builds wait for no host."""
        name = work.repository.name
        if work.tags or work.lost:
            try:
                with work.limit.counting():
                    self._sweep()
                    self._maker.fetch(work.repository)
                    work.jobs.extend(self._jobs(work))
            except Exception as error:
                self._progress.expect("build", -len(work.tags) - len(self._to_restore(work)))
                if work.limit.is_over:
                    self._fail(work.repository, self._too_long())
                elif isinstance(error, UnreachableError):
                    self._miss(work.repository, work.known, error, int(time.time()))
                else:
                    self._fail(work.repository, error)
        self._progress.end(name)
        return work

    def _jobs(self, work: _Work) -> list[_Job]:
        """Name what is built of a repository that was fetched, and bring it.

        Raises:
            UnreachableError: its host cannot be reached.
            InsidersError: it cannot be found out which tags are signed.
        """
        repository, refs = work.repository, work.refs
        jobs = []
        for build in self._to_restore(work):
            tag, commit = build.tag, build.commit
            release = Release(repository, tag, commit, is_moved=refs.get(tag, commit) != commit)
            jobs.append(self._brought(work, _Job(release, is_lost=True)))
        wanted = self._signed(work)
        if not wanted:
            self._chooser.demand_chosen(repository, work.known, refs)
        self._progress.expect("build", len(wanted) - len(work.tags))
        new = [_Job(Release(repository, tag, refs[tag])) for tag in wanted]
        return [*jobs, *(self._brought(work, job) for job in new)]

    def _brought(self, work: _Work, job: _Job) -> _Job:
        """Bring what a tag is built from; that this cannot be is the fault of no other tag."""
        release = job.release
        if release.tag not in work.refs:
            why = "the repository has no such tag any more"
            return replace(job, error=_lost_for_good(work, release.tag, why))
        try:
            self._maker.bring(release)
        except UnreachableError:
            raise
        except Exception as error:
            if not (release.is_moved and isinstance(error, InsidersError)):
                return replace(job, error=error)
            why = (
                f"the tag names another commit now, and {release.commit:.9} cannot be fetched: "
                f"{error.message}"
            )
            return replace(job, error=_lost_for_good(work, release.tag, why))
        return job

    def _too_long(self) -> InsidersError:
        limit_s = self._settings.watcher.repository_timeout_s
        return InsidersError(
            f"fetching and building it took longer than {limit_s} s, the `repository-timeout`; "
            "the next update goes on",
            "`pypi-insiders config edit` changes it",
        )

    def _build(self, work: _Work) -> None:
        """Build what was fetched, and publish it."""
        self._progress.end(work.repository.name)
        for job in work.jobs:
            if self._interrupted.is_set():
                return
            if work.limit.is_over:
                self._fail(work.repository, self._too_long())
                break
            had_most = work.limit.share_left > 0.5
            try:
                with work.limit.counting():
                    if job.error is not None:
                        raise job.error
                    make = self._restore if job.is_lost else self._make
                    make(work, job.release)
            except RemovedError as error:
                _log.warning("%s: %s", work.repository.name, error.message)
                self._progress.end(work.repository.name)
                return
            except Exception as error:
                # A tag that had little of the time is tried again with all of it.
                told = self._too_long() if work.limit.is_over and not had_most else error
                self._remember_failure(work, job.release.tag, told)
                self._fail(work.repository, told, job.release.tag)
        self._upload(work)
        self._prune(work.repository, work.known)
        self._progress.end(work.repository.name)

    def _restore(self, work: _Work, release: Release) -> None:
        """Build again what is lost of a build, from the commit of which it was."""
        repository, known = work.repository, work.known
        lost = work.lost_of(release.tag)
        self._maker.verify(release)

        def remember(build: Build) -> None:
            known.remember(build)
            state.save(self._paths.state, repository.name, known)

        made = self._maker.restore(release, known, lost, remember)
        self._outcomes[repository.name].published += made.new
        self._warn(repository.name, made.warnings)

    def _signed(self, work: _Work) -> Sequence[str]:
        """Leave out tags that no allowed signer has signed; others may take their place."""
        if work.repository.signers is None:
            return work.tags
        chosen: Sequence[str] = work.tags
        good: set[str] = set()
        while True:
            unsigned = {}
            for tag in chosen:
                try:
                    if tag not in good:
                        self._maker.verify(Release(work.repository, tag, work.refs[tag]))
                    good.add(tag)
                except SignatureError as error:
                    if self._request.tag is not None:
                        raise
                    unsigned[tag] = work.refs[tag]
                    _log.warning(
                        "%s: tag %s is passed over: %s", work.repository.name, tag, error.message
                    )
            if not unsigned:
                return chosen
            work.known.unsigned |= unsigned
            state.save(self._paths.state, work.repository.name, work.known)
            chosen = tuple(
                tag
                for tag in self._chooser.choose(work.repository, work.known, work.refs)
                if self._chooser.is_due(work.known, work.refs, tag)
            )

    def _upload(self, work: _Work) -> None:
        """Bring to the other index what only ours has."""
        for number, build in enumerate(work.known.builds):
            if self._interrupted.is_set():
                return
            if not self._maker.lacks(build) or not self._chooser.is_due(
                work.known, work.refs, build.tag
            ):
                continue
            try:
                work.known.builds[number] = self._maker.upload(work.repository, build)
                work.known.failures.pop(build.tag, None)
                state.save(self._paths.state, work.repository.name, work.known)
            except PublishError as error:
                if error.is_unreachable and self._is_patient(build.built_at):
                    _log.info("%s: %s", work.repository.name, error.message)
                    self._outcomes[work.repository.name].unreachable = True
                    return
                self._remember_failure(work, build.tag, error)
                self._fail(work.repository, error, build.tag)
            except Exception as error:
                self._fail(work.repository, error, build.tag)

    def _sweep(self) -> None:
        """Remove, once, what an update that was killed left behind."""
        with self._swept:
            if not self._is_swept:
                sandbox.sweep()
                remove_foreign_tree(self._paths.builds)
                make_directory(self._paths.builds)
                self._is_swept = True

    def _make(self, work: _Work, release: Release) -> None:
        known, name, tag = work.known, work.repository.name, release.tag
        is_forced = self._request.force and self._request.tag is not None
        before = replace(known, builds=[*known.builds], failures={**known.failures})

        def remember(made: Made) -> None:
            known.distribution, known.remote = made.distribution, work.repository.remote
            known.remember(made.build)
            state.save(self._paths.state, name, known)

        try:
            made = self._maker.make(
                release, known, work.lost_of(tag), remember, is_forced=is_forced
            )
        except TakenBackError as error:
            _log.info("%s: tag %s: %s", name, tag, error.message)
            made = error.made
        except BaseException:
            if known.builds != before.builds:  # it was about to be published
                vars(known).update(vars(before))
                with contextlib.suppress(InsidersError):  # or else the next update finishes it
                    state.save(self._paths.state, name, known)
            raise
        remember(made)
        self._outcomes[name].published += made.new
        self._warn(name, made.warnings)

    def _remember_failure(self, work: _Work, tag: str, error: Exception) -> None:
        if not is_lasting(error) or self._interrupted.is_set():
            return
        known, now_s = work.known, int(time.time())
        before = known.failures.get(tag)
        is_same = before is not None and before.commit == work.refs[tag]
        count = before.count + 1 if before and is_same else 1
        pause_s = min(_FIRST_PAUSE_S * 2 ** (count - 1), _LONGEST_PAUSE_S)
        told = _in_words(error)
        known.failures[tag] = Failure(
            work.refs[tag],
            told.message,
            count,
            now_s,
            now_s + pause_s,
            told.hint,
            work.repository.build_settings,
        )
        try:
            state.save(self._paths.state, work.repository.name, known)
        except InsidersError as unsaved:
            self._fail(work.repository, unsaved)

    def _prune(self, repository: Repository, known: RepositoryState) -> None:
        try:
            names = retention.superfluous(
                self._paths.distributions, known.builds, repository.keep or 0
            )
            removed = releases.remove_files(self._paths, names, releases.PRUNED)
        except Exception as error:
            self._fail(repository, error)
            return
        if removed:
            _log.info(
                "%s: removed %s; the newest %d versions are kept",
                repository.name, ", ".join(removed), repository.keep,
            )  # fmt: skip

    def _fail(self, repository: Repository, error: Exception, tag: str | None = None) -> None:
        """Say what failed; a bug with its traceback, for it must not stop the others either."""
        self._progress.end(repository.name)
        if self._interrupted.is_set():
            return
        subject = f"{repository.name}: tag {tag}" if tag else repository.name
        if isinstance(error, BuildError) and error.output:
            _log.info("%s: what the build wrote:\n%s", subject, Block(error.output.rstrip()))
        told = _in_words(error)
        if tag is None or not is_lasting(error):  # what lasts is in the state
            place = f"tag {tag}: " if tag else ""
            text, check = f"{place}{told.message}", self._checks[repository.name]
            check.errors.append(text)
            if told.hint:
                check.hints[text] = told.hint
        is_bug = not isinstance(error, InsidersError | OSError | MemoryError)
        _log.error("%s: %s", subject, told.message, exc_info=error if is_bug else None)
        if told.hint:
            _log.info("hint: %s", told.hint)
        self._outcomes[repository.name].errors.append(told)


def _lost_for_good(work: _Work, tag: str, why: str) -> InsidersError:
    """Say why the lost files of a tag cannot be built again."""
    lost = work.lost_of(tag)
    return InsidersError(
        f"{', '.join(item.file for item in lost)} cannot be built again: {why}",
        f"to give it up: `pypi-insiders unpublish {lost[0].project} {lost[0].version}`",
    )


def _about(repository: str, do: Callable[[_T], _Result], argument: _T) -> _Result:
    """Do something with everything that is logged meanwhile being about a repository."""
    with log.about(repository):
        return do(argument)


def _in_words(error: Exception) -> InsidersError:
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
