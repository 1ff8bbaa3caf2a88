"""What an update knows and reports of one repository."""

import contextlib
import hashlib
import json
import logging
import time
from collections.abc import Iterable
from dataclasses import replace

from pypi_insiders.builder.errors import BuildError
from pypi_insiders.git import UnreachableError
from pypi_insiders.repositories import state
from pypi_insiders.repositories.repository import Repository
from pypi_insiders.repositories.state import Check, RepositoryState
from pypi_insiders.update import failures
from pypi_insiders.update.context import UpdateContext
from pypi_insiders.update.outcome import Outcome
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import list_names, remove, write_atomic
from pypi_insiders.util.plain_text import Block, printable
from pypi_insiders.util.trees import remove_tree

_log = logging.getLogger(__name__)


# Of a tag that failed, nothing changes by these: it is not tried before its time.
_NOT_OF_BUILDS = ("keep", "max-new", "backfill", "public-until-built")


def build_settings(item: Repository) -> str:
    """Return the keys of a repository on which it depends whether a tag builds, as one text."""
    text = json.dumps([item.name, item.remote, {**item.keys, **dict.fromkeys(_NOT_OF_BUILDS)}])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class TrackedRepository:
    """A repository that is updated, with its state, which `commit` alone writes.

    Args:
        context: of the update.
        repository: which one.
    """

    def __init__(self, context: UpdateContext, repository: Repository) -> None:
        self._context = context
        self._before = context.checks.get(repository.name, Check())
        self.repository = repository
        self.name = repository.name
        self.known = RepositoryState()
        self.check = self._before
        """How this look at it ends."""
        self.outcome = Outcome(repository.name)

    @property
    def was_well(self) -> bool:
        """Return whether nothing failed at the last look, tags that do not build apart."""
        return not self._before.errors and self._before.unreachable_since is None

    def load(self) -> None:
        """Read what was built of it, unless its name stands for another repository now.

        Raises:
            InsidersError: the state cannot be read.
        """
        known = state.load(self._context.paths.state, self.name)
        settings = build_settings(self.repository)
        known.failures = {
            tag: failure
            for tag, failure in known.failures.items()
            # What failed by other settings may build now, without its pause.
            if failure.settings in (None, settings)
        }
        if known.builds and not known.is_of(self.repository.remote, self.repository.project):
            _log.info("%s: its URL or distribution has changed; it begins anew", self.name)
            # The objects of another repository would stay in it for ever.
            remove_tree(self._context.paths.mirror(self.name))
            known = RepositoryState(former_files=known.files)
        self.known = known

    def commit(self) -> None:
        """Write its state.

        Raises:
            InsidersError: it cannot be written; the file is as it was.
        """
        state.save(self._context.paths.state, self.name, self.known)

    def warn(self, lines: Iterable[str]) -> None:
        """Report what is to be known of it, one line each."""
        for line in lines:
            self.outcome.warnings.append(line)
            self.check.warnings.append(line)

    def fail(self, error: Exception, tag: str | None = None) -> None:
        """Report what failed; a bug with its traceback, for it must not stop the others either.

        Args:
            error: why.
            tag: the tag that failed; `None`: all of the repository.
        """
        self._context.progress.end(self.name)
        # Then it was ended by us, and nothing is wrong with it.
        if self._context.interrupted.is_set():
            return
        subject = f"{self.name}: tag {tag}" if tag else self.name
        if isinstance(error, BuildError) and error.output:
            _log.info("%s: what the build wrote:\n%s", subject, Block(error.output.rstrip()))
            self._keep_output(tag, error.output)
        told = failures.in_words(error)
        if tag is None or not failures.is_lasting(error):  # what lasts is in the state
            place = f"tag {tag}: " if tag else ""
            text = f"{place}{told.message}"
            self.check.errors.append(text)
            if told.hint:
                self.check.hints[text] = told.hint
        bug = error if failures.is_bug(error) else None
        _log.error("%s: %s", subject, told.message, exc_info=bug)
        if told.hint:
            _log.info("hint: %s", told.hint)
        self.outcome.errors.append(told)

    def _keep_output(self, tag: str | None, output: str) -> None:
        """Keep what a build wrote: of an update by hand no journal has it, and with -q no terminal.

        Logs of tags that do not fail any more are removed.
        """
        paths = self._context.paths
        keep = {paths.build_log(self.name, name) for name in (*self.known.failures, tag) if name}
        with contextlib.suppress(InsidersError):  # the failure itself is what counts
            directory = paths.build_logs(self.name)
            for path in map(directory.joinpath, list_names(directory)):
                if path not in keep:
                    remove(path)
            if tag is not None:
                write_atomic(paths.build_log(self.name, tag), printable(output))

    def fail_tag(self, tag: str, commit: str, error: Exception) -> None:
        """Report why a tag failed, and remember it, if it fails again unless something changes."""
        if failures.is_lasting(error) and not self._context.interrupted.is_set():
            before = self.known.failures.get(tag)
            settings = build_settings(self.repository)
            self.known.failures[tag] = failures.following(before, commit, error, settings)
            try:
                self.commit()
            except InsidersError as unsaved:
                self.fail(unsaved)
        self.fail(error, tag)

    def report_again(self, tag: str) -> None:
        """Report a tag that failed before and is not tried now: the update is no success."""
        error = failures.repeated(self.known.failures[tag], self.repository)
        _log.error("%s: tag %s: %s", self.name, tag, error.message)
        _log.info("hint: %s", error.hint)
        self.outcome.errors.append(error)

    def record_unreachable(self, error: UnreachableError, now_s: int) -> None:
        """Be quiet about a host that is out of reach, unless it is so for long.

        But not where nothing was built yet: installers have nothing of it meanwhile.
        """
        # It may answer, and hang whenever it is to send something: so the last look counts too.
        since_s = self.check.unreachable_since or self._before.unreachable_since or now_s
        self.check = replace(self.check, unreachable_since=since_s)
        if not (self.is_within_grace(since_s) and self.known.builds):
            self.fail(error)
            return
        _log.info("%s: %s; the next update tries again", self.name, error.message)
        self.outcome.unreachable = True
        self._context.progress.end(self.name)

    def is_within_grace(self, since_s: int) -> bool:
        """Return whether an unreachable host is no failure yet.

        It is one at once where its repository was named: that user waits for the answer.

        Args:
            since_s: since when it is, in seconds of the epoch.
        """
        grace_s = self._context.settings.watcher.unreachable_grace_s
        return not self._context.request.names and time.time() - since_s < grace_s
