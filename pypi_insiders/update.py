"""Bring the index up to date: one pass over the watched repositories."""

import hashlib
import logging
import os
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from pathlib import Path

from pypi_insiders import (
    adoption,
    builder,
    ownership,
    publishing,
    releases,
    remotes,
    repositories,
    retention,
    sandbox,
    state,
    store,
    tags,
)
from pypi_insiders.config import Settings, did_you_mean
from pypi_insiders.errors import InsidersError, UsageError
from pypi_insiders.files import hint_for, locked, make_directory, remove_foreign_tree, remove_tree
from pypi_insiders.making import Maker, Release, Report, is_lasting
from pypi_insiders.paths import Paths
from pypi_insiders.process import Containment
from pypi_insiders.publishing import PublishError
from pypi_insiders.record import Record
from pypi_insiders.remotes import SignatureError, UnreachableError
from pypi_insiders.repository import Repository
from pypi_insiders.state import Check, Failure, RepositoryState

_log = logging.getLogger(__name__)

_CHECKS_AT_ONCE = 16
_FIRST_PAUSE_S = 3600
_LONGEST_PAUSE_S = 86400


@dataclass(frozen=True)
class Request:
    """What one update is to do."""

    names: Sequence[str] = ()
    """Of the repositories to bring up to date; none are all."""
    tag: str | None = None
    """The one tag to build, of the one repository that is named."""
    all_tags: bool = False
    """Whether all releases are built, however old."""
    force: bool = False
    """Whether what was built before is built again."""
    index_url: str | None = None
    """Another index for what is built, instead of the one that the settings name."""
    index_user: str | None = None
    """Who uploads there."""

    def __post_init__(self) -> None:
        """Check that the parts fit together."""
        if self.tag is not None and len(self.names) != 1:
            raise UsageError("--tag goes with one repository", "name it: update NS/PROJ --tag TAG")
        if self.all_tags and (self.tag is not None or not self.names):
            raise UsageError(
                "--all-tags goes with repositories that are named, and without --tag",
                "update NS/PROJ --all-tags",
            )
        if self.force and self.tag is None and not self.all_tags:
            raise UsageError("--force goes with --tag or --all-tags", "say which tag: --tag TAG")


@dataclass
class Outcome:
    """What one pass did for one repository."""

    repository: str
    published: list[str] = field(default_factory=list)
    """File names, in the order of their publication."""
    errors: list[InsidersError] = field(default_factory=list)
    unreachable: bool = False
    """Its host is out of reach, not for long enough yet to be an error."""
    moved: list[str] = field(default_factory=list)
    """What there is to say of tags that have moved after they were built."""


def update(paths: Paths, settings: Settings, request: Request, report: Report) -> list[Outcome]:
    """Check repositories, build their new tags and publish what was built.

    A failure of one repository does not stop the others, one of a tag not the other tags. Of two
    updates at once the second waits for the first.

    Args:
        paths: where everything lies.
        settings: those of `config.toml`.
        request: what is to be done.
        report: called from several threads.

    Returns:
        One outcome a repository.

    Raises:
        InsidersError: one of the names is not watched.
    """
    destination = publishing.destination(settings.publish, request.index_url, request.index_user)
    with (
        locked(paths.lock, lambda: _log.info("another update is running; waiting for it to end")),
        builder.build_environment(settings.server.url),
    ):
        # Read only now: while we waited, somebody may have removed a repository.
        watched = repositories.load(paths.repositories)
        chosen = repositories.select(watched, request.names)
        store.sweep(paths.distributions)
        keep = settings.watcher.keep
        chosen = [item if item.keep is not None else replace(item, keep=keep) for item in chosen]
        owners = ownership.owners(paths, watched.values())
        containment = Containment()
        record = Record(paths.record, paths.distributions)
        maker = Maker(paths, settings, record, owners, containment, report, destination)
        outcomes = _Pass(paths, settings, request, chosen, maker, record, containment, report).run()
    for outcome in outcomes:
        for line in outcome.moved:
            _log.warning("%s", line)
    return outcomes


@dataclass(frozen=True)
class _Work:
    """What is to be built of one repository."""

    repository: Repository
    known: RepositoryState
    refs: dict[str, str]
    tags: tuple[str, ...]


class _Pass:
    """One pass: checks, many at once, each followed by its builds, as many as the settings say."""

    def __init__(  # noqa: PLR0913, PLR0917 - what one pass is about
        self,
        paths: Paths,
        settings: Settings,
        request: Request,
        chosen: list[Repository],
        maker: Maker,
        record: Record,
        containment: Containment,
        report: Report,
    ) -> None:
        self._paths = paths
        self._settings = settings
        self._request = request
        self._chosen = chosen
        self._report = report
        self._outcomes = {item.name: Outcome(item.name) for item in chosen}
        self._interrupted = threading.Event()
        self._containment = containment
        self._record = record
        self._checks = state.load_checks(paths.state)
        self._maker = maker
        self._swept = threading.Lock()
        self._is_swept = False

    def run(self) -> list[Outcome]:
        with (
            ThreadPoolExecutor(_CHECKS_AT_ONCE) as checks,
            ThreadPoolExecutor(self._settings.build.jobs or os.cpu_count() or 1) as builds,
        ):
            try:
                checking = [checks.submit(self._check, item) for item in self._chosen]
                found = (check.result() for check in as_completed(checking))
                building = [builds.submit(self._build, work) for work in found if work]
                state.save_checks(self._paths.state, self._checks)
                for build in as_completed(building):
                    build.result()
            except BaseException:
                # What is being published is finished and recorded; nothing else is begun.
                self._interrupted.set()
                self._containment.end()
                checks.shutdown(cancel_futures=True)
                builds.shutdown(cancel_futures=True)
                raise
        return list(self._outcomes.values())

    def _check(self, repository: Repository) -> _Work | None:
        self._report(repository.name, "checking")
        now_s = int(time.time())
        try:
            known = self._known(repository)
            refs = remotes.list_tags(repository.remote, remotes.Access(repository.token))
            self._checks[repository.name] = Check(now_s)
            wanted = self._wanted(repository, known, refs)
        except UnreachableError as error:
            self._miss(repository, error, now_s)
            return None
        except Exception as error:
            self._fail(repository, error)
            return None
        if not wanted and not any(map(self._maker.lacks, known.builds)):
            _log.debug("%s: nothing new", repository.name)
            self._prune(repository, known)
            self._report(repository.name, None)
            return None
        return _Work(repository, known, refs, wanted)

    def _known(self, repository: Repository) -> RepositoryState:
        """Recall what was built of a repository, unless its name stands for another one now."""
        known = state.load(self._paths.state, repository.name)
        if not known.builds or known.is_of(repository.remote, repository.distribution):
            return known
        _log.info("%s: its URL or distribution has changed; it begins anew", repository.name)
        remove_tree(self._paths.mirror(repository.name))
        return RepositoryState(former_files=known.files)

    def _miss(self, repository: Repository, error: UnreachableError, now_s: int) -> None:
        """Be quiet about a host that is out of reach, unless it is so for long."""
        before = self._checks.get(repository.name, Check())
        since_s = before.unreachable_since or now_s
        self._checks[repository.name] = replace(before, unreachable_since=since_s)
        if not self._is_patient(since_s):
            self._fail(repository, error)
            return
        _log.info("%s: %s; the next update tries again", repository.name, error.message)
        self._outcomes[repository.name].unreachable = True
        self._report(repository.name, None)

    def _is_patient(self, since_s: int) -> bool:
        """Tell whether a host that is out of reach is no failure yet; whoever asks wants to know.

        Args:
            since_s: since when it is, in seconds of the epoch.
        """
        grace_s = self._settings.watcher.unreachable_grace_s
        return not self._request.names and time.time() - since_s < grace_s

    def _wanted(
        self, repository: Repository, known: RepositoryState, refs: dict[str, str]
    ) -> tuple[str, ...]:
        """Choose the tags to build now, and say what there is to say about the others."""
        self._recall(repository, known, refs)
        if self._request.tag is None:
            self._explain(repository, known, refs)
        return self._choose(repository, known, refs)

    def _recall(self, repository: Repository, known: RepositoryState, refs: dict[str, str]) -> None:
        """Find out anew what was lost, and forget what does not hold any more."""
        if not known.builds and not known.former_files and repository.distribution and refs:
            known.builds = adoption.adopt(
                self._paths.distributions, self._record, repository, refs, self._rules(repository)
            )
            if known.builds:
                known.distribution, known.remote = repository.distribution, repository.remote
                state.save(self._paths.state, repository.name, known)
        signers = _sha256(repository.signers) if repository.signers else None
        if signers != known.signers or self._request.names:
            known.signers, known.unsigned = signers, {}

    def _rules(self, repository: Repository) -> tags.Rules:
        return repository.rules(self._settings.watcher.max_new)

    def _choose(
        self, repository: Repository, known: RepositoryState, refs: dict[str, str]
    ) -> tuple[str, ...]:
        """Choose the tags to build now, of those that may be signed."""
        request, rules = self._request, self._rules(repository)
        refs = {tag: commit for tag, commit in refs.items() if known.unsigned.get(tag) != commit}
        if request.tag is not None:
            return self._named(repository, known, refs, request.tag)
        if request.all_tags:
            return tags.unbuilt(refs, () if request.force else known.built, rules)
        choice = tags.choose(refs, known.built, rules, known.left_out)
        work = _Work(repository, known, refs, choice.build)
        return tuple(tag for tag in choice.build if self._is_due(work, tag))

    def _named(
        self, repository: Repository, known: RepositoryState, refs: dict[str, str], tag: str
    ) -> tuple[str, ...]:
        if tag in known.unsigned:
            return ()
        if tag not in refs:
            raise InsidersError(f"it has no tag {tag}{did_you_mean(tag, refs) if refs else ''}")
        if tag in known.built and not self._request.force:
            _log.info("%s: tag %s is built already; --force builds it again", repository.name, tag)
            return ()
        return (tag,)

    def _is_due(self, work: _Work, tag: str) -> bool:
        """Tell whether a tag that failed is tried again: after pauses that grow, or if asked to."""
        failure = work.known.failures.get(tag)
        is_same = failure is not None and failure.commit == work.refs.get(tag)
        if failure is None or not is_same or self._request.names or time.time() >= failure.next_at:
            return True
        _log.debug("%s: tag %s failed before; later it is tried again", work.repository.name, tag)
        return False

    def _explain(
        self,
        repository: Repository,
        known: RepositoryState,
        refs: dict[str, str],
    ) -> None:
        """Say once which tags are not built, and each time which tags have moved."""
        name, rules = repository.name, self._rules(repository)
        choice = tags.choose(refs, known.built, rules, known.left_out)
        before = (known.passed_over, known.left_out)
        if choice.passed_over and list(choice.passed_over) != known.passed_over:
            _log.info(
                "%s: passed over, because no version: %s", name, tags.summary(choice.passed_over)
            )
        known.passed_over = list(choice.passed_over)
        if choice.left_out:
            _log.info(
                "%s: left out, because there are newer ones: %s; build them with "
                "`pypi-insiders update %s --tag TAG`, or all with --all-tags",
                name, tags.summary(choice.left_out), name,
            )  # fmt: skip
        known.left_out = [
            tag for tag in dict.fromkeys([*known.left_out, *choice.left_out]) if tag in refs
        ]
        if (known.passed_over, known.left_out) != before:
            state.save(self._paths.state, name, known)
        self._outcomes[name].moved = [
            f"{name}: tag {tag} was built from {known.built[tag]:.9} and names {refs[tag]:.9} now; "
            "what is published stays"
            for tag in choice.moved
        ]
        if not refs:
            raise InsidersError("it has no tags", "releases are built from tags such as v1.0")
        if not any(rules.pattern.version_of(tag) for tag in refs):
            form = f" of the form {repository.tags}" if repository.tags else ""
            raise InsidersError(
                f"none of its tags is a version{form}: {tags.summary(sorted(refs))}",
                "releases are built from tags such as v1.0",
            )

    def _build(self, work: _Work) -> None:
        tags_to_build: Sequence[str] = ()
        if work.tags:
            try:
                self._sweep()
                self._maker.fetch(work.repository)
                tags_to_build = self._signed(work)
            except Exception as error:
                self._fail(work.repository, error)
        for tag in tags_to_build:
            if self._interrupted.is_set():
                return
            try:
                self._make(work, tag)
            except Exception as error:
                self._remember_failure(work, tag, error)
                self._fail(work.repository, error, tag)
        self._upload(work)
        self._prune(work.repository, work.known)
        self._report(work.repository.name, None)

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
            chosen = self._choose(work.repository, work.known, work.refs)

    def _upload(self, work: _Work) -> None:
        """Bring to the other index what only ours has."""
        for number, build in enumerate(work.known.builds):
            if self._interrupted.is_set():
                return
            if not self._maker.lacks(build) or not self._is_due(work, build.tag):
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

    def _make(self, work: _Work, tag: str) -> None:
        known, name = work.known, work.repository.name
        release = Release(work.repository, tag, work.refs[tag])
        made = self._maker.make(release, known, again=tag in known.built)
        known.distribution, known.remote = made.distribution, work.repository.remote
        known.remember(made.build)
        state.save(self._paths.state, name, known)
        self._outcomes[name].published += made.new

    def _remember_failure(self, work: _Work, tag: str, error: Exception) -> None:
        if not is_lasting(error) or self._interrupted.is_set():
            return
        known, now_s = work.known, int(time.time())
        before = known.failures.get(tag)
        is_same = before is not None and before.commit == work.refs[tag]
        count = before.count + 1 if before and is_same else 1
        pause_s = min(_FIRST_PAUSE_S * 2 ** (count - 1), _LONGEST_PAUSE_S)
        known.failures[tag] = Failure(
            work.refs[tag], _in_words(error).message, count, now_s, now_s + pause_s
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
            removed = releases.remove_files(self._paths, names)
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
        self._report(repository.name, None)
        if self._interrupted.is_set():
            return
        subject = f"{repository.name}: tag {tag}" if tag else repository.name
        if isinstance(error, builder.BuildError) and error.output:
            _log.info("%s: what the build wrote:\n%s", subject, error.output.rstrip())
        told = _in_words(error)
        is_bug = not isinstance(error, InsidersError | OSError)
        _log.error("%s: %s", subject, told.message, exc_info=error if is_bug else None)
        if told.hint:
            _log.info("hint: %s", told.hint)
        self._outcomes[repository.name].errors.append(told)


def _sha256(path: Path) -> str | None:
    """Hash a file of the person; `None` where it cannot be read, which is said when it matters."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None


def _in_words(error: Exception) -> InsidersError:
    if isinstance(error, InsidersError):
        return error
    if isinstance(error, OSError):
        place = f" {error.filename}" if error.filename else ""
        return InsidersError(f"{error.strerror or error}{place}", hint_for(error))
    return InsidersError(
        f"a bug in pypi-insiders: {error!r}", "please report it, with the traceback"
    )
