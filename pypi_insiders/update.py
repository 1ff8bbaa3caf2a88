"""Bring the index up to date: one pass over the watched repositories."""

import logging
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from pathlib import Path

from pypi_insiders import (
    builder,
    ownership,
    releases,
    remotes,
    repositories,
    retention,
    sandbox,
    state,
    store,
    tags,
)
from pypi_insiders.errors import InsidersError
from pypi_insiders.files import hint_for, locked, make_directory, remove_tree
from pypi_insiders.paths import Paths
from pypi_insiders.process import Containment
from pypi_insiders.record import Origin, Record
from pypi_insiders.repository import Repository
from pypi_insiders.state import Build, RepositoryState

_log = logging.getLogger(__name__)

_CHECKS_AT_ONCE = 16

Report = Callable[[str, str | None], None]
"""Told the name of a repository and what happens to it now; `None` when nothing does any more."""


@dataclass
class Outcome:
    """What one pass did for one repository."""

    repository: str
    published: list[str] = field(default_factory=list)
    """File names, in the order of their publication."""
    errors: list[InsidersError] = field(default_factory=list)


def update(
    paths: Paths, names: Sequence[str], *, own_index: str, keep: int, report: Report
) -> list[Outcome]:
    """Check repositories, build their new tags and publish what was built.

    A failure of one repository does not stop the others, one of a tag not the other tags. Of two
    updates at once the second waits for the first.

    Args:
        paths: where everything lies.
        names: of the repositories to bring up to date; none are all.
        own_index: the URL of our index up to the port.
        keep: how many versions stay of a repository that does not say so itself; 0 is all.
        report: called from several threads.

    Returns:
        One outcome a repository.

    Raises:
        InsidersError: one of the names is not watched.
    """
    with (
        locked(paths.lock, lambda: _log.info("another update is running; waiting for it to end")),
        builder.build_environment(own_index),
    ):
        # Read only now: while we waited, somebody may have removed a repository.
        watched = repositories.load(paths.repositories)
        chosen = repositories.select(watched, names)
        _sweep(paths.builds)
        store.sweep(paths.distributions)
        chosen = [item if item.keep is not None else replace(item, keep=keep) for item in chosen]
        return _Pass(paths, chosen, ownership.owners(paths, watched.values()), report).run()


def _sweep(builds: Path) -> None:
    """Remove what an update that was killed left behind."""
    shutil.rmtree(builds, ignore_errors=True)
    make_directory(builds)


@dataclass(frozen=True)
class _Work:
    """What is to be built of one repository."""

    repository: Repository
    known: RepositoryState
    refs: dict[str, str]
    tags: tuple[str, ...]


class _Pass:
    """One pass: checks, many at once, each followed by its builds, as many as processors."""

    def __init__(
        self,
        paths: Paths,
        chosen: list[Repository],
        owners: dict[str, str],
        report: Report,
    ) -> None:
        self._paths = paths
        self._chosen = chosen
        self._report = report
        self._outcomes = {item.name: Outcome(item.name) for item in chosen}
        self._owners = owners
        self._interrupted = threading.Event()
        self._containment = Containment()
        self._record = Record(paths.record, paths.distributions)

    def run(self) -> list[Outcome]:
        with (
            ThreadPoolExecutor(_CHECKS_AT_ONCE) as checks,
            ThreadPoolExecutor(os.cpu_count() or 1) as builds,
        ):
            try:
                checking = [checks.submit(self._check, item) for item in self._chosen]
                found = (check.result() for check in as_completed(checking))
                building = [builds.submit(self._build, work) for work in found if work]
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
        try:
            known = self._known(repository)
            refs = remotes.list_tags(repository.remote)
            choice = tags.choose(refs, known.built)
            self._explain(repository, known, refs, choice)
        except Exception as error:
            self._fail(repository, error)
            return None
        if not choice.build:
            _log.debug("%s: nothing new", repository.name)
            self._prune(repository, known)
            self._report(repository.name, None)
            return None
        return _Work(repository, known, refs, choice.build)

    def _known(self, repository: Repository) -> RepositoryState:
        """Recall what was built of a repository, unless its name stands for another one now."""
        known = state.load(self._paths.state, repository.name)
        if not known.builds or known.is_of(repository.remote, repository.distribution):
            return known
        _log.info("%s: its URL or distribution has changed; it begins anew", repository.name)
        remove_tree(self._paths.mirror(repository.name))
        return RepositoryState(former_files=known.files)

    def _explain(
        self,
        repository: Repository,
        known: RepositoryState,
        refs: dict[str, str],
        choice: tags.Choice,
    ) -> None:
        """Say once which tags are no version, and each time which tags have moved."""
        if list(choice.passed_over) != known.passed_over:
            known.passed_over = list(choice.passed_over)
            if choice.passed_over:
                _log.info(
                    "%s: passed over, because no version: %s",
                    repository.name,
                    tags.summary(choice.passed_over),
                )
            state.save(self._paths.state, repository.name, known)
        for tag in choice.moved:
            _log.warning(
                "%s: tag %s was built from %.9s and names %.9s now; what is published stays",
                repository.name, tag, known.built[tag], refs[tag],
            )  # fmt: skip
        if not refs:
            raise InsidersError("it has no tags", "releases are built from tags such as v1.0")
        if len(choice.passed_over) == len(refs):
            raise InsidersError(
                f"none of its tags is a version: {tags.summary(refs)}",
                "releases are built from tags such as v1.0",
            )

    def _build(self, work: _Work) -> None:
        name = work.repository.name
        try:
            mirror = self._paths.mirror(name)
            self._report(name, "fetching")
            remotes.fetch(work.repository.remote, mirror)
        except Exception as error:
            self._fail(work.repository, error)
            return
        for tag in work.tags:
            if self._interrupted.is_set():
                return
            try:
                self._build_tag(work, mirror, tag)
            except Exception as error:
                self._fail(work.repository, error, tag)
        self._prune(work.repository, work.known)
        self._report(name, None)

    def _build_tag(self, work: _Work, mirror: Path, tag: str) -> None:
        name, commit = work.repository.name, work.refs[tag]
        self._report(name, f"building {tag}")
        _log.info("%s: building tag %s (%.9s)", name, tag, commit)
        with tempfile.TemporaryDirectory(
            dir=self._paths.builds, ignore_cleanup_errors=True
        ) as directory:
            workspace = Path(directory)
            epoch_s = remotes.export(mirror, commit, workspace / "source")
            built = builder.build_distributions(
                workspace / "source",
                workspace,
                builder.Recipe(epoch_s, readable=(mirror,)),
                sandbox.Unconfined(self._containment),
            )
            self._claim(work, built.name)
            self._report(name, f"publishing {built.name} {built.version}")
            files, new = store.publish(
                self._paths.distributions,
                self._record,
                built.files,
                Origin(name, tag, commit),
            )
        work.known.distribution, work.known.remote = built.name, work.repository.remote
        work.known.builds.append(Build(tag, commit, built.version, int(time.time()), files))
        state.save(self._paths.state, name, work.known)
        self._outcomes[name].published += new
        _log.info("%s: published %s", name, ", ".join(new) or "nothing new")

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

    def _claim(self, work: _Work, distribution: str) -> None:
        """Refuse what was built unless its name is the one that this repository may have."""
        expected = work.repository.distribution or work.known.distribution
        if expected and distribution != expected:
            raise InsidersError(
                f"it builds {distribution}, but {expected} was expected",
                f"if that is right: `pypi-insiders repos remove {work.repository.name}` and add it "
                f"as {work.repository.name}:{distribution}",
            )
        owner = self._owners.setdefault(distribution, work.repository.name)
        if owner != work.repository.name:
            raise repositories.conflict(f"it builds {distribution}, which", owner)

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


def _in_words(error: Exception) -> InsidersError:
    if isinstance(error, InsidersError):
        return error
    if isinstance(error, OSError):
        place = f" {error.filename}" if error.filename else ""
        return InsidersError(f"{error.strerror or error}{place}", hint_for(error))
    return InsidersError(
        f"a bug in pypi-insiders: {error!r}", "please report it, with the traceback"
    )
