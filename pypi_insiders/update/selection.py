"""Select the tags of a repository to build, and report the others."""

import hashlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from packaging.version import Version

from pypi_insiders import git
from pypi_insiders.config.toml_fields import did_you_mean
from pypi_insiders.git import NoCommitError, SignatureError
from pypi_insiders.index import distribution, release_lists
from pypi_insiders.index.release_lists import TAKEN_BACK
from pypi_insiders.repositories import heads, recovery, tags
from pypi_insiders.repositories.repository import Repository
from pypi_insiders.repositories.state import Build, RepositoryState
from pypi_insiders.update import failures
from pypi_insiders.update.context import UpdateContext
from pypi_insiders.update.tracked import TrackedRepository
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import read_bytes

_log = logging.getLogger(__name__)

# The state is read for every repository by each command; a repository may have thousands of tags.
_MOST_REMEMBERED = 100
_MOST_LOWER = 1000


class TagSelector:
    """Selects the tags of one repository to build.

    In all methods, `refs` are all tags of the repository, tag to commit.

    Args:
        context: of the update.
        tracked: the repository, after `load`.
    """

    def __init__(self, context: UpdateContext, tracked: TrackedRepository) -> None:
        self._context = context
        self._request = context.request
        self._tracked = tracked
        self._repository = tracked.repository
        self._rules = tracked.repository.rules(context.settings.watcher.max_new)
        # Each check asks twice, and nearly always about the same tags.
        self._chosen: tuple[object, tags.Choice] = None, tags.Choice()

    def restore_state(self, refs: dict[str, str]) -> bool:
        """Recover the builds of a lost state, and drop outdated results of signature checks.

        Returns:
            Whether builds were recovered.

        Raises:
            InsidersError: the index cannot be read, or the state not written.
        """
        known, repository = self._tracked.known, self._repository
        is_restored, is_any = False, bool(refs) or repository.branch is not None
        # With former files, its url or project has changed, and nothing is lost.
        if not known.builds and not known.former_files and is_any:
            known.builds = recovery.recover_builds(
                self._context.paths, self._context.cache, repository, refs, self._rules
            )
            if is_restored := bool(known.builds):
                known.project = repository.project or _project_of(known.builds)
                known.remote = repository.remote
                self._tracked.commit()
        signers = _sha256(repository.signers) if repository.signers else None
        # A changed file of signers may have the key of tags that counted as unsigned; and an update
        # of a named repository tries all its tags again.
        if signers != known.signers or self._request.is_by_hand:
            known.signers, known.unsigned = signers, {}
        if self._request.is_by_hand:
            known.no_commits = {}
        return is_restored

    def demand_chosen(self, refs: dict[str, str]) -> None:
        """Raise if no tag was chosen, as the settings exclude all of an unbuilt repository.

        Raises:
            InsidersError: the settings exclude all tags.
        """
        known = self._tracked.known
        if not known.builds and not known.failures and self._request.tag is None:
            _demand_chosen(self._repository, known, refs, self._rules)

    def choose(self, refs: dict[str, str]) -> tuple[str, ...]:
        """Return the tags to build in their order, without those known to be unsigned or no commit.

        Raises:
            InsidersError: the requested tag was not found.
        """
        request, known = self._request, self._tracked.known
        unfit = (*known.unsigned.items(), *known.no_commits.items())
        # By commit, too: a tag that has moved since is looked at again.
        refs = {tag: commit for tag, commit in refs.items() if (tag, commit) not in unfit}
        if request.tag is not None:
            return self._named(refs, request.tag)
        if request.all_tags:
            done = self._taken_back(refs)
            # Even with --force, not what was taken back.
            built = done if request.force else {**known.built, **done}
            return tags.unbuilt(refs, built, self._rules, known.produced)
        return self._choice(refs, self._taken_back(refs)).build

    def verified(
        self, refs: dict[str, str], chosen: tuple[str, ...], verify: Callable[[str], None]
    ) -> tuple[str, ...]:
        """Return the chosen tags that are commits with a valid signature; others replace the rest.

        Args:
            refs: all tags.
            chosen: the result of `choose`.
            verify: raises `SignatureError` for a tag without an allowed signature, `NoCommitError`
                for a tag of another object.

        Raises:
            SignatureError: the requested tag has no allowed signature.
            NoCommitError: the requested tag names another object than a commit.
            InsidersError: the signatures cannot be verified.
        """
        # Repeated, as a tag that replaces an unsigned one may be unsigned too.
        known, good = self._tracked.known, set[str]()
        while True:
            unsigned: dict[str, str] = {}
            no_commits: dict[str, str] = {}
            for tag in chosen:
                try:
                    if tag not in good:
                        verify(tag)
                    good.add(tag)
                except (SignatureError, NoCommitError) as error:
                    if self._request.tag is not None:
                        raise
                    is_unsigned = isinstance(error, SignatureError)
                    (unsigned if is_unsigned else no_commits)[tag] = refs[tag]
                    name = self._repository.name
                    _log.warning("%s: tag %s skipped: %s", name, tag, error.message)
            if not (unsigned or no_commits):
                return chosen
            # Saved, so that the next update neither fetches nor verifies them again.
            known.unsigned |= unsigned
            known.no_commits |= no_commits
            self._tracked.commit()
            chosen = tuple(tag for tag in self.choose(refs) if self.is_due(refs, tag))

    def _named(self, refs: dict[str, str], tag: str) -> tuple[str, ...]:
        known, repository = self._tracked.known, self._repository
        if tag not in refs:
            raise InsidersError(
                f"tag {tag} not found{did_you_mean(tag, refs) if refs else ''}",
                f"list its tags: {heads.list_command('--tags', repository.remote)}",
            )
        if tag in known.built and not self._request.force:
            _log.info("%s: tag %s is already built; rebuild it with --force", repository.name, tag)
            return ()
        if not self._request.force and tag in self._taken_back(refs):
            text = "%s: the release of tag %s was taken back; publish it again with --force"
            _log.info(text, repository.name, tag)
            return ()
        return (tag,)

    def _choice(self, refs: dict[str, str], taken_back: Mapping[str, str]) -> tags.Choice:
        known = self._tracked.known
        # Not built again, in the order of their builds.
        done = known.built | {tag: it for tag, it in taken_back.items() if tag not in known.built}
        asked = (refs, done, [*known.left_out], known.produced)
        if self._chosen[0] != asked:
            self._chosen = asked, tags.choose(refs, done, self._rules, *asked[2:])
        return self._chosen[1]

    def _taken_back(self, refs: dict[str, str]) -> dict[str, str]:
        """Return the tags whose releases were taken back, tag to commit, lowest version first."""
        # While the project is unknown, none is found; `Publisher.publish` checks again.
        project = self._repository.project or self._tracked.known.project or ""
        directory, copies = self._context.comparison.directory, self._context.paths.state
        listed = TAKEN_BACK.load_of(project, directory, copies)
        versions = {
            tag: version
            for tag in (refs if listed[project] else ())
            if (version := self._rules.pattern.version_of(tag))
            and release_lists.names(listed, project, version)
        }
        return {tag: refs[tag] for tag in sorted(versions, key=versions.__getitem__)}

    def is_due(self, refs: dict[str, str], tag: str) -> bool:
        """Return whether a tag may be built now: a failed one after its pause, or on request."""
        failure = self._tracked.known.failures.get(tag)
        return self._request.is_by_hand or failures.is_due(failure, refs.get(tag), time.time())

    def report_skipped(self, refs: dict[str, str]) -> list[str]:
        """Log the tags that are not built, once; return warnings of tags that moved, or are newer.

        Raises:
            InsidersError: no tag is a release, or the state cannot be written.
        """
        known, name, rules = self._tracked.known, self._repository.name, self._rules
        taken_back = self._taken_back(refs)
        choice = self._choice(refs, taken_back)
        before = (known.passed_over, known.left_out, known.lower)
        _log_new(name, known, choice)
        if choice.left_out:
            _log.info(
                "%s: skipped older tags: %s; build one: "
                "`pypi-insiders update %s --tag TAG`, or all: --all-tags",
                name, tags.summary(choice.left_out), name,
            )  # fmt: skip
        if taken_back and not known.builds:
            _log_taken_back(name, taken_back)
        # Kept for good: otherwise the next update would build the tags that this one skipped.
        known.left_out = [
            tag for tag in dict.fromkeys([*known.left_out, *choice.left_out]) if tag in refs
        ]
        if (known.passed_over, known.left_out, known.lower) != before:
            self._tracked.commit()
        if not refs and self._repository.branch is None:
            return [_report_untagged(self._context, self._tracked)]
        if self._repository.branch is None:
            tags.demand_release(refs, rules.pattern, name)
        other = None
        if not self._repository.tags:
            other = tags.overlooked(refs, name, self._repository.project or known.project)
        moved = [
            f"tag {tag} has moved from {known.built[tag]:.9} to {refs[tag]:.9} since its build; "
            "its published files stay"
            for tag in choice.moved
        ]
        return moved + (["; ".join(other)] if other else [])


def _report_untagged(context: UpdateContext, tracked: TrackedRepository) -> str:
    """Return the warning of a repository without tags; its hint is in the check."""
    # Asked once: without tags, each update would connect twice.
    hint = tracked.before.hints.get(heads.NO_TAGS)
    if hint is None:
        item = tracked.repository
        branch = git.default_branch(item.remote, context.access_to(item))
        hint = heads.untagged_hint(item.name, branch)
    tracked.outcome.hints[heads.NO_TAGS] = hint
    tracked.check = tracked.check._replace(hints={**tracked.check.hints, heads.NO_TAGS: hint})
    return heads.NO_TAGS


def _log_taken_back(name: str, taken_back: Mapping[str, str]) -> None:
    _log.info(
        "%s: skipped tags whose releases were taken back: %s; publish one again: "
        "`pypi-insiders update %s --tag TAG --force`",
        name, tags.summary(reversed(list(taken_back))), name,
    )  # fmt: skip


def _log_new(name: str, known: RepositoryState, choice: tags.Choice) -> None:
    """Log the skipped tags that the state does not name yet, and record them there."""
    passed_over = list(choice.passed_over[:_MOST_REMEMBERED])
    if passed_over and passed_over != known.passed_over:
        _log.info(
            "%s: skipped tags that are not releases: %s", name, tags.summary(choice.passed_over)
        )
    known.passed_over = passed_over
    lower = list(choice.lower[:_MOST_LOWER])
    # Those from before the first update are no news: `repos add` reported how many there are.
    if new := [tag for tag in lower if known.lower is not None and tag not in known.lower]:
        _log.info(
            "%s: skipped tags that are lower than the first build: %s; build one with "
            "`pypi-insiders update %s --tag TAG`",
            name, tags.summary(new), name,
        )  # fmt: skip
    known.lower = lower


def _demand_chosen(
    repository: Repository, known: RepositoryState, refs: dict[str, str], rules: tags.Rules
) -> None:
    # An error, not a success without releases: until the first one, installers get no version.
    set_command = f"pypi-insiders repos set {repository.name}"
    versions = {tag: version for tag in refs if (version := rules.pattern.version_of(tag))}
    if rules.pre is False and all(version.is_prerelease for version in versions.values()):
        raise InsidersError(
            f"all its versions are pre-releases, and pre = false: {_newest_first(versions)}",
            f"build pre-releases: `{set_command} pre=true`",
        )
    is_unsigned = versions and all(known.unsigned.get(tag) == refs[tag] for tag in versions)
    if repository.signers and is_unsigned:
        raise InsidersError(
            f"none of its tags has an allowed signature: {_newest_first(versions)}",
            f"add the key of the signer to {repository.signers}, or set another file: "
            f"`{set_command} allowed-signers=FILE`",
        )


def _newest_first(versions: dict[str, Version]) -> str:
    return tags.summary(sorted(versions, key=versions.__getitem__, reverse=True))


def _project_of(builds: Sequence[Build]) -> str | None:
    # The latest first, as a project may have been renamed.
    files = (name for build in reversed(builds) for name in build.files)
    return next((str(project) for _, project, _ in distribution.releases(files)), None)


def _sha256(path: Path) -> str | None:
    # An unreadable file is reported when a signature is verified with it.
    try:
        return hashlib.sha256(read_bytes(path)).hexdigest()
    except OSError:
        return None
