"""The state and the report of one repository during an update."""

import contextlib
import hashlib
import json
import logging
import time
from collections.abc import Iterable

from pypi_insiders.builder.errors import BuildError
from pypi_insiders.config.paths import build_log, build_logs
from pypi_insiders.git import UnreachableError
from pypi_insiders.repositories import heads, state
from pypi_insiders.repositories.repository import Repository
from pypi_insiders.repositories.state import Check, RepositoryState
from pypi_insiders.update import failures
from pypi_insiders.update.context import UpdateContext
from pypi_insiders.update.outcome import Outcome
from pypi_insiders.util import log
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import list_names, remove, write_atomic
from pypi_insiders.util.plain_text import Block, printable
from pypi_insiders.util.trees import remove_tree

_log = logging.getLogger(__name__)


# Keys without an influence on builds: changing them does not end the pause of a failed tag.
_NOT_OF_BUILDS = ("keep", "interval", "max-new", "backfill", "public-until-built")


def build_settings(item: Repository) -> str:
    """Return a hash of the keys of a repository that may change the result of a build."""
    text = json.dumps([item.name, item.remote, {**item.keys, **dict.fromkeys(_NOT_OF_BUILDS)}])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class TrackedRepository:
    """A repository during its update, with its state; only `commit` writes the state."""

    def __init__(self, context: UpdateContext, repository: Repository) -> None:
        self._context = context
        self.before = context.checks.get(repository.name, Check())
        """The result of the last check."""
        self.repository = repository
        self.name = repository.name
        self.known = RepositoryState()
        self.check = self.before
        """The result of this check."""
        self.outcome = Outcome(repository.name)

    @property
    def was_well(self) -> bool:
        """Return whether the last check had no failure; failed tags do not count."""
        return not self.before.errors and self.before.unreachable_since is None

    def load(self) -> None:
        """Read its state, unless its name belongs to another repository now.

        Raises:
            InsidersError: the state cannot be read.
        """
        known = state.load(self._context.paths.state, self.name)
        settings = build_settings(self.repository) if known.failures else None
        known.failures = {
            tag: failure
            for tag, failure in known.failures.items()
            # A tag that failed with other settings may build now, so it does not wait. `None` is
            # of an older version, which did not record them.
            if failure.settings in (None, settings)
        }
        if known.builds and not known.is_of(self.repository.remote, self.repository.project):
            _log.info("%s: its url or project has changed; starting from scratch", self.name)
            # The objects of the other repository would stay in the mirror for ever.
            remove_tree(self._context.paths.mirror(self.name))
            # The names of its files stay: they are still published, and their project is held.
            known = RepositoryState(former_files=known.files)
        self.known = known

    def commit(self) -> None:
        """Write its state.

        Raises:
            InsidersError: the state cannot be written; the old one stays.
        """
        state.save(self._context.paths.state, self.name, self.known)

    def warn(self, lines: Iterable[str]) -> None:
        """Add warnings to the outcome and to the check, one line each."""
        for line in lines:
            self.outcome.warnings.append(line)
            self.check = self.check._replace(warnings=[*self.check.warnings, line])

    def fail(self, error: Exception, tag: str | None = None) -> None:
        """Report a failure; a bug with its traceback.

        Args:
            error: the reason.
            tag: the failed tag; `None`: the repository as a whole.
        """
        self._context.progress.end(self.name)
        # The error is a consequence of the interruption, which has killed git and the builds.
        if self._context.interrupted.is_set():
            return
        subject = f"{self.name}: {heads.subject(tag)}" if tag else self.name
        if isinstance(error, BuildError) and error.output:
            _log.info("%s: output of the build:\n%s", subject, Block(error.output.rstrip()))
            self._keep_output(tag, error.output)
        shown = failures.in_words(error)
        # The lasting failure of a tag is in the state, until the tag builds.
        if tag is None or not failures.is_lasting(error):
            place = f"{heads.subject(tag)}: " if tag else ""
            text = f"{place}{shown.message}"
            hints = {text: shown.hint} if shown.hint else {}
            self.check = self.check._replace(
                errors=[*self.check.errors, text], hints={**self.check.hints, **hints}
            )
        bug = error if failures.is_bug(error) else None
        with log.together():
            _log.error("%s: %s", subject, shown.message, exc_info=bug)
            if shown.hint:
                _log.info("hint: %s", shown.hint)
        self.outcome.errors.append(shown)
        if tag is not None:
            self.outcome.failed_tags[shown] = tag

    def _keep_output(self, tag: str | None, output: str) -> None:
        """Keep what a build wrote: of an update by hand no journal has it, and with -q no terminal.

        Logs of tags that do not fail any more are removed.
        """
        paths = self._context.paths
        keep = {build_log(paths, self.name, name) for name in (*self.known.failures, tag) if name}
        with contextlib.suppress(InsidersError):  # the failure itself is what counts
            directory = build_logs(paths, self.name)
            for path in map(directory.joinpath, list_names(directory)):
                if path not in keep:
                    remove(path)
            if tag is not None:
                write_atomic(build_log(paths, self.name, tag), printable(output))

    def fail_tag(self, tag: str, commit: str, error: Exception) -> None:
        """Report the failure of a tag, and save it if it is lasting."""
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
        """Report a failed tag that is not retried yet, so that the update fails too."""
        error = failures.repeated(self.known.failures[tag], self.repository)
        with log.together():
            _log.error("%s: %s: %s", self.name, heads.subject(tag), error.message)
            _log.info("hint: %s", error.hint)
        self.outcome.errors.append(error)
        self.outcome.failed_tags[error] = tag

    def record_unreachable(self, error: UnreachableError, now_s: int) -> None:
        """Record an unreachable host; report it as a failure after the grace time.

        Before the first build it is a failure at once, as installers have no version meanwhile.
        """
        # The last check counts too: a host may answer, and hang whenever it has to send objects.
        since_s = self.check.unreachable_since or self.before.unreachable_since or now_s
        self.check = self.check._replace(unreachable_since=since_s)
        if not (self.is_within_grace(since_s) and self.known.builds):
            self.fail(error)
            return
        _log.info("%s: %s; the next update tries again", self.name, error.message)
        self.outcome.unreachable = True
        self._context.progress.end(self.name)

    def is_within_grace(self, since_s: int) -> bool:
        """Return whether a host is not yet unreachable for long enough to be a failure.

        Args:
            since_s: when it became unreachable, in seconds of the epoch.
        """
        grace_s = self._context.settings.watcher.unreachable_grace_s
        # No grace for a named repository: the user waits for the result.
        return not self._context.request.is_by_hand and time.time() - since_s < grace_s
