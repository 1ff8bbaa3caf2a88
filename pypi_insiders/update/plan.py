"""Plan the builds of one repository."""

from collections.abc import Collection
from dataclasses import dataclass, field

from pypi_insiders import git
from pypi_insiders.repositories import heads
from pypi_insiders.repositories.comparison import Difference
from pypi_insiders.repositories.state import Build, Check
from pypi_insiders.update import asset_changes, lost_files, uploads
from pypi_insiders.update.context import UpdateContext
from pypi_insiders.update.fetched_assets import FetchedAssets
from pypi_insiders.update.heads import HeadSelector
from pypi_insiders.update.selection import TagSelector
from pypi_insiders.update.sources import TaggedRelease
from pypi_insiders.update.tracked import TrackedRepository
from pypi_insiders.util.errors import InsidersError


@dataclass(frozen=True)
class Job:
    """A tag to build."""

    release: TaggedRelease
    is_lost: bool = False
    """Whether it is built again to restore lost files."""
    error: Exception | None = None
    """Why it cannot be built."""
    assets: FetchedAssets | None = None
    """Its files that are not built."""


@dataclass(frozen=True)
class Plan:
    """The builds of a repository; uploads follow from its state."""

    refs: dict[str, str] = field(default_factory=dict)
    """All tags of the repository, and heads of branches, each to its commit."""
    tags: tuple[str, ...] = ()
    """The tags to build, in this order, and then the head."""
    lost: tuple[Difference, ...] = ()
    """The lost files to build again."""

    @property
    def to_restore(self) -> list[Build]:
        """Return the builds with lost files, without those whose tag is built anyway."""
        # By tag: several files of a build may be lost.
        builds = {item.build.tag: item.build for item in self.lost if item.build}
        return [build for tag, build in builds.items() if tag not in self.tags]

    @property
    def count(self) -> int:
        """Return the number of builds, first ones and repeated ones."""
        return len(self.tags) + len(self.to_restore)

    @property
    def tag_refs(self) -> dict[str, str]:
        """Return all tags, without heads of branches."""
        return {tag: commit for tag, commit in self.refs.items() if not heads.branch_of(tag)}

    def commit_of(self, built: TaggedRelease | Build) -> str:
        """Return the commit of a tag now, or of its build if the tag is gone."""
        return self.refs.get(built.tag, built.commit)

    def lost_of(self, tag: str) -> list[Difference]:
        """Return the lost files of a tag."""
        return [item for item in self.lost if item.build and item.build.tag == tag]

    def lost_for_good(self, tag: str, why: str) -> InsidersError:
        """Return the error of a tag whose lost files cannot be built again."""
        lost = self.lost_of(tag)
        # Giving up the release is the only command that helps; the copy of a backup is better.
        return InsidersError(
            f"cannot rebuild {', '.join(item.file for item in lost)}: {why}",
            "restore the files from a backup, or give up the release: "
            f"`pypi-insiders unpublish {lost[0].project} {lost[0].version}`",
        )


def plan(
    context: UpdateContext, tracked: TrackedRepository, selector: TagSelector, now_s: int
) -> Plan:
    """List the tags of a repository and plan which to build, for the first time or again.

    Args:
        context: of the update.
        tracked: the repository; its state is read and updated.
        selector: selects its tags.
        now_s: the time, in seconds of the epoch.

    Raises:
        UnreachableError: its host cannot be reached.
        InsidersError: its tags, the index or its state cannot be used.
    """
    request, repository = context.request, tracked.repository
    tracked.load()
    # Before the host is contacted: lost files are reported even if it is unreachable.
    lost = lost_files.find(context, tracked)
    access = context.access_to(repository)
    with git.asking(repository.remote, context.hosts):
        listed = git.list_refs(
            repository.remote,
            access,
            has_branches=repository.branch is not None,
            connections=context.connections,
        )
    refs, head = listed.tags, HeadSelector(context, tracked)
    # Only after the host has answered: until then the last check stays.
    tracked.check = Check(now_s, tried_at=now_s)
    lost = lost_files.finish_interrupted(context, tracked, lost, {**refs, **head.refs(listed)})
    # With a lost state, files could not be compared before their builds were recovered.
    if selector.restore_state(refs):
        lost = lost_files.find(context, tracked)
    added: tuple[str, ...] = ()
    if request.tag is None:
        tracked.warn(selector.report_skipped(refs))
        tracked.warn(head.warnings(listed))
        added = asset_changes.revisit(context, tracked, refs, now_s)
    lost_tags = [item.build.tag for item in lost if item.build]
    # Lost files first: with further ones, they would be published as the host has them now.
    added = tuple(tag for tag in added if tag not in lost_tags)
    of_tags = () if head.named(listed) else selector.choose(refs)
    wanted = tuple(dict.fromkeys([*of_tags, *added, *head.choose(listed)]))
    lacking = [build.tag for build in uploads.lacking(context, tracked.known.builds)]
    # Each once: a tag may be forced, have lost files and lack an upload at the same time.
    tags = list(dict.fromkeys([*wanted, *lost_tags, *lacking]))
    # With --tag or --all-tags, `tags` are not those that updates normally build.
    if request.tag is None and not request.all_tags:
        _forget_failures(tracked, tags)
    refs_and_heads = {**refs, **head.refs(listed)}
    due = {tag for tag in tags if selector.is_due(refs_and_heads, tag)}
    for tag in tags:
        if tag not in due:
            tracked.report_again(tag)
    if not wanted and repository.branch is None:
        selector.demand_chosen(refs)
    return Plan(
        refs_and_heads,
        tuple(tag for tag in wanted if tag in due),
        tuple(item for item in lost if item.build and item.build.tag in due),
    )


def _forget_failures(tracked: TrackedRepository, tags: Collection[str]) -> None:
    # A tag that was deleted or superseded would otherwise be reported as a problem for ever.
    failed = tracked.known.failures
    kept = {tag: failure for tag, failure in failed.items() if tag in tags}
    if kept != failed:
        tracked.known.failures = kept
        tracked.commit()
