"""Choose which tags of a repository are built, and say what is to be said of the others."""

import hashlib
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from packaging.version import Version

from pypi_insiders.config.paths import Paths
from pypi_insiders.config.schema import did_you_mean
from pypi_insiders.config.settings import Settings
from pypi_insiders.index import distribution, release_lists
from pypi_insiders.index.metadata_cache import MetadataCache
from pypi_insiders.index.release_lists import TAKEN_BACK
from pypi_insiders.repositories import recovery, state, tags
from pypi_insiders.repositories.model import Repository
from pypi_insiders.repositories.state import Build, RepositoryState
from pypi_insiders.util.errors import InsidersError, UsageError
from pypi_insiders.util.files import read_bytes

_log = logging.getLogger(__name__)

_MOST_REMEMBERED = 100


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
    index_password: str | None = field(default=None, repr=False)
    """With what password, if that is known already."""

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

    def __init__(
        self, paths: Paths, settings: Settings, request: Request, record: MetadataCache
    ) -> None:
        self._paths = paths
        self._settings = settings
        self._request = request
        self._record = record

    def recall(self, repository: Repository, known: RepositoryState, refs: dict[str, str]) -> bool:
        """Find out anew what was lost, and forget what does not hold any more.

        Returns:
            Whether builds were found again.

        Raises:
            InsidersError: the index cannot be read, or the state not written.
        """
        is_recalled = False
        if not known.builds and not known.former_files and refs:
            known.builds = recovery.adopt(
                self._paths, self._record, repository, refs, self._rules(repository)
            )
            if is_recalled := bool(known.builds):
                known.distribution = repository.distribution or _project_of(known.builds)
                known.remote = repository.remote
                state.save(self._paths.state, repository.name, known)
        signers = _sha256(repository.signers) if repository.signers else None
        if signers != known.signers or self._request.names:
            known.signers, known.unsigned = signers, {}
        return is_recalled

    def demand_chosen(
        self, repository: Repository, known: RepositoryState, refs: dict[str, str]
    ) -> None:
        """Refuse settings by which nothing was ever built, and nothing is.

        Call it where no tag was chosen.

        Raises:
            InsidersError: no tag is built by them.
        """
        if not known.builds and not known.failures and self._request.tag is None:
            demand_chosen(repository, known, refs, self._rules(repository))

    def _rules(self, repository: Repository) -> tags.Rules:
        return repository.rules(self._settings.watcher.max_new)

    def choose(
        self, repository: Repository, known: RepositoryState, refs: dict[str, str]
    ) -> tuple[str, ...]:
        """Choose the tags to build, of those that are not known to be unsigned.

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
            done = self._taken_back(repository, known, refs)
            return tags.unbuilt(refs, done if request.force else {**known.built, **done}, rules)
        built = self._done(repository, known, refs)
        return tags.choose(refs, built, rules, known.left_out).build

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
        if not self._request.force and tag in self._taken_back(repository, known, refs):
            _log.info(
                "%s: the release of tag %s was taken back; --force publishes it again",
                repository.name, tag,
            )  # fmt: skip
            return ()
        return (tag,)

    def _done(
        self, repository: Repository, known: RepositoryState, refs: dict[str, str]
    ) -> dict[str, str]:
        """Tell what is not built any more, tag to commit, in the order in which it was built."""
        return known.built | {
            tag: commit
            for tag, commit in self._taken_back(repository, known, refs).items()
            if tag not in known.built
        }

    def _taken_back(
        self, repository: Repository, known: RepositoryState, refs: dict[str, str]
    ) -> dict[str, str]:
        """Find the tags whose releases were taken back, tag to commit, lowest version first.

        As long as nobody knows what the repository builds, there are none: then the build tells.
        """
        project = repository.distribution or known.distribution or ""
        listed = TAKEN_BACK.load(self._paths.distributions, self._paths.state)
        pattern = self._rules(repository).pattern
        versions = {
            tag: version
            for tag in refs
            if (version := pattern.version_of(tag))
            and release_lists.names(listed, project, version)
        }
        return {tag: refs[tag] for tag in sorted(versions, key=versions.__getitem__)}

    def is_due(self, known: RepositoryState, refs: dict[str, str], tag: str) -> bool:
        """Tell whether a tag that failed is tried again: after pauses that grow, or if asked to."""
        failure = known.failures.get(tag)
        is_same = failure is not None and failure.commit == refs.get(tag)
        return (
            failure is None
            or not is_same
            or bool(self._request.names)
            or time.time() >= failure.next_at
        )

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
        choice = tags.choose(refs, self._done(repository, known, refs), rules, known.left_out)
        before = (known.passed_over, known.left_out)
        passed_over = list(choice.passed_over[:_MOST_REMEMBERED])
        if passed_over and passed_over != known.passed_over:
            _log.info(
                "%s: passed over, because no version: %s", name, tags.summary(choice.passed_over)
            )
        known.passed_over = passed_over
        if choice.left_out:
            _log.info(
                "%s: left out, because there are newer ones: %s; build them with "
                "`pypi-insiders update %s --tag TAG`, or all with --all-tags",
                name, tags.summary(choice.left_out), name,
            )  # fmt: skip
        taken_back = self._taken_back(repository, known, refs)
        if taken_back and not known.builds:
            _log.info(
                "%s: not built, because it was taken back: %s; publish it again with "
                "`pypi-insiders update %s --tag TAG --force`",
                name, tags.summary(reversed(taken_back)), name,
            )  # fmt: skip
        known.left_out = [
            tag for tag in dict.fromkeys([*known.left_out, *choice.left_out]) if tag in refs
        ]
        if (known.passed_over, known.left_out) != before:
            state.save(self._paths.state, name, known)
        tags.demand_release(refs, rules.pattern)
        return [
            f"tag {tag} was built from {known.built[tag]:.9} and names {refs[tag]:.9} now; "
            "what is published stays"
            for tag in choice.moved
        ]


def demand_chosen(
    repository: Repository, known: RepositoryState, refs: dict[str, str], rules: tags.Rules
) -> None:
    """Refuse settings by which nothing of a repository is ever built.

    Raises:
        InsidersError: all of its versions are pre-releases, or no allowed signer has signed one.
    """
    set_command = f"pypi-insiders repos set {repository.name}"
    versions = {tag: version for tag in refs if (version := rules.pattern.version_of(tag))}
    if rules.pre is False and all(version.is_prerelease for version in versions.values()):
        raise InsidersError(
            f"all its versions are pre-releases, and pre is false: {_newest_first(versions)}",
            f"`{set_command} pre=true`",
        )
    if repository.signers and known.unsigned:
        raise InsidersError(
            f"no allowed signer has signed any of its tags: {_newest_first(versions)}",
            f"add the key of who signs them to {repository.signers}, or name another file: "
            f"`{set_command} allowed-signers=FILE`",
        )


def _newest_first(versions: dict[str, Version]) -> str:
    return tags.summary(sorted(versions, key=versions.__getitem__, reverse=True))


def _project_of(builds: Sequence[Build]) -> str | None:
    """Tell which project some builds are of."""
    files = (name for build in reversed(builds) for name in build.files)
    return next((str(project) for _, project, _ in distribution.releases(files)), None)


def _sha256(path: Path) -> str | None:
    """Hash a file of the person; `None` where it cannot be read, which is said when it matters."""
    try:
        return hashlib.sha256(read_bytes(path)).hexdigest()
    except OSError:
        return None
