"""Select the head of a branch to build."""

import logging

from packaging.version import InvalidVersion, Version

from pypi_insiders.git import Refs
from pypi_insiders.index import store
from pypi_insiders.repositories import heads, tags
from pypi_insiders.update.context import UpdateContext
from pypi_insiders.update.tracked import TrackedRepository
from pypi_insiders.util.errors import InsidersError

_log = logging.getLogger(__name__)


class HeadSelector:
    """Selects the head of the branch of one repository, if it has the key `branch`.

    In all methods, `listed` are the tags and branches of the repository.

    Args:
        context: of the update.
        tracked: the repository, after `load`.
    """

    def __init__(self, context: UpdateContext, tracked: TrackedRepository) -> None:
        self._request = context.request
        self._directory = context.comparison.directory
        self._tracked = tracked
        self._repository = tracked.repository

    def refs(self, listed: Refs) -> dict[str, str]:
        """Return the name and the commit of the head, and of all heads that were built."""
        # A head that was built stays what it is, whatever its branch names now.
        found = {build.tag: build.commit for build in self._tracked.known.heads}
        branch = self._repository.branch
        if branch and (commit := listed.branches.get(branch)):
            found.setdefault(heads.label(branch, commit), commit)
        return found

    def named(self, listed: Refs) -> str | None:
        """Return the head that `--tag` names, or the version of which it names; `None`: a tag."""
        text = self._request.tag
        # A tag first: a repository may have one that is called like a version of a head.
        if text is None or text in listed.tags:
            return None
        if text in self.refs(listed):
            return text
        try:
            version = Version(text)
        except InvalidVersion:
            return None
        built = self._tracked.known.heads
        return next((build.tag for build in built if Version(build.version) == version), None)

    def choose(self, listed: Refs) -> tuple[str, ...]:
        """Return the head to build, if there is one."""
        name, request = self._repository.name, self._request
        if request.tag is not None:
            head = self.named(listed)
            built = (build.tag for build in self._tracked.known.heads)
            if head and not request.force and head in built:
                _log.info("%s: %s is already built; rebuild it with --force", name, head)
                head = None
            return (head,) if head else ()
        branch = self._repository.branch
        if branch is None or not self._is_usable(listed, branch):
            return ()
        commit = listed.branches[branch]
        if tag := self._tag_of(listed, commit):
            _log.debug("%s: the head of branch %s is tag %s", name, branch, tag)
            return ()
        # By its commit: another branch may have been built at this one.
        is_built = any(build.commit == commit for build in self._tracked.known.heads)
        return () if is_built else (heads.label(branch, commit),)

    def _is_usable(self, listed: Refs, branch: str) -> bool:
        """Return whether there is a head that may be built; report why not."""
        tracked, command = self._tracked, f"pypi-insiders repos set {self._repository.name}"
        if self._repository.signers:
            tracked.fail(
                InsidersError(
                    f"branch {branch} is not built: allowed-signers requires signed tags",
                    f"build only its tags: `{command} branch=`",
                )
            )
            return False
        if branch in listed.branches:
            return True
        error = heads.not_found(branch, listed.branches, self._repository.remote)
        if any(heads.branch_of(build.tag) == branch for build in tracked.known.heads):
            # It was there, and is probably merged: a warning. A branch that was never there is
            # mistyped.
            another = f"`{command} branch=BRANCH` builds another"
            tracked.warn([f"{error.message}; its releases stay; {another}"])
        else:
            tracked.fail(error)
        return False

    def _tag_of(self, listed: Refs, commit: str) -> str | None:
        """Return the tag by which a commit is a release; `None`: it has none.

        A tag that is never built is none, such as a date, or a pre-release with `pre = false`.
        """
        if commit not in listed.tags.values():
            return None
        # `unbuilt` returns all of them: the number of new tags is without effect.
        releases = tags.unbuilt(listed.tags, (), self._repository.rules(1))
        return next((tag for tag in releases if listed.tags[tag] == commit), None)

    def warnings(self, listed: Refs) -> list[str]:
        """Return a warning if installers prefer a development release to that of the head."""
        commit = listed.branches.get(self._repository.branch or "")
        known, directory = self._tracked.known, self._directory
        # That of its tag, too, which is the higher one.
        built = (build for build in known.builds if build.commit == commit)
        head = max(built, key=lambda build: Version(build.version), default=None)
        if head is None:
            return []
        # What was unpublished or pruned, installers cannot prefer.
        served = [build for build in known.heads if store.present(directory, build.files)]
        above = max(served, key=lambda build: Version(build.version), default=head)
        if Version(above.version) <= Version(head.version):
            return []
        project = self._repository.project or known.project
        command = f"`pypi-insiders unpublish {project} {above.version}`"
        return [
            f"{heads.subject(head.tag)} is {head.version}, and {above.version} of "
            f"{above.commit:.9} is higher: installers prefer it until {command}"
        ]
