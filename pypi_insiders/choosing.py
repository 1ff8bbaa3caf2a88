"""Choose which tags of a repository are built now, and say what is to be said of the others."""

import hashlib
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pypi_insiders import adoption, state, tags
from pypi_insiders.config import Settings, did_you_mean
from pypi_insiders.errors import InsidersError, UsageError
from pypi_insiders.paths import Paths
from pypi_insiders.record import Record
from pypi_insiders.repository import Repository
from pypi_insiders.state import RepositoryState

_log = logging.getLogger(__name__)


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


class Chooser:
    """Chooses tags, in several threads.

    Args:
        paths: where everything lies.
        settings: those of `config.toml`.
        request: what is asked for.
        record: of the distributions directory.
    """

    def __init__(self, paths: Paths, settings: Settings, request: Request, record: Record) -> None:
        self._paths = paths
        self._settings = settings
        self._request = request
        self._record = record

    def recall(self, repository: Repository, known: RepositoryState, refs: dict[str, str]) -> None:
        """Find out anew what was lost, and forget what does not hold any more.

        Raises:
            InsidersError: the index cannot be read, or the state not written.
        """
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

    def choose(
        self, repository: Repository, known: RepositoryState, refs: dict[str, str]
    ) -> tuple[str, ...]:
        """Choose the tags to build now, of those that are not known to be unsigned.

        Args:
            repository: which one.
            known: what is known of it.
            refs: what it has, tag to commit.

        Returns:
            In the order in which they are to be built.

        Raises:
            InsidersError: the tag that is asked for is not there.
        """
        request, rules = self._request, self._rules(repository)
        refs = {tag: commit for tag, commit in refs.items() if known.unsigned.get(tag) != commit}
        if request.tag is not None:
            return self._named(repository, known, refs, request.tag)
        if request.all_tags:
            return tags.unbuilt(refs, () if request.force else known.built, rules)
        choice = tags.choose(refs, known.built, rules, known.left_out)
        return tuple(tag for tag in choice.build if self.is_due(known, refs, tag))

    def _named(
        self, repository: Repository, known: RepositoryState, refs: dict[str, str], tag: str
    ) -> tuple[str, ...]:
        if tag in known.unsigned:
            return ()
        if tag not in refs:
            raise InsidersError(
                f"it has no tag {tag}{did_you_mean(tag, refs) if refs else ''}",
                f"its tags: `git ls-remote --tags {repository.remote}`",
            )
        if tag in known.built and not self._request.force:
            _log.info("%s: tag %s is built already; --force builds it again", repository.name, tag)
            return ()
        return (tag,)

    def is_due(self, known: RepositoryState, refs: dict[str, str], tag: str) -> bool:
        """Tell whether a tag that failed is tried again: after pauses that grow, or if asked to."""
        failure = known.failures.get(tag)
        is_same = failure is not None and failure.commit == refs.get(tag)
        if failure is None or not is_same or self._request.names or time.time() >= failure.next_at:
            return True
        _log.debug("%s: tag %s failed before; later it is tried again", known.name, tag)
        return False

    def explain(
        self,
        repository: Repository,
        known: RepositoryState,
        refs: dict[str, str],
    ) -> list[str]:
        """Say once which tags are not built.

        Returns:
            What is to be said each time: which tags have moved.

        Raises:
            InsidersError: none of its tags is a release, or the state cannot be written.
        """
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
        if not refs:
            raise InsidersError("it has no tags", "releases are built from tags such as v1.0")
        if not any(rules.pattern.version_of(tag) for tag in refs):
            form = f" of the form {repository.tags}" if repository.tags else ""
            raise InsidersError(
                f"none of its tags is a version{form}: {tags.summary(sorted(refs))}",
                "releases are built from tags such as v1.0",
            )
        return [
            f"tag {tag} was built from {known.built[tag]:.9} and names {refs[tag]:.9} now; "
            "what is published stays"
            for tag in choice.moved
        ]


def _sha256(path: Path) -> str | None:
    """Hash a file of the person; `None` where it cannot be read, which is said when it matters."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None
