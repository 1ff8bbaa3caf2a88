"""Plan what an update does for one repository."""

from collections.abc import Collection
from dataclasses import dataclass, field

from pypi_insiders import git
from pypi_insiders.repositories.comparison import Difference
from pypi_insiders.repositories.state import Build, Check
from pypi_insiders.update import lost_files, uploads
from pypi_insiders.update.context import UpdateContext
from pypi_insiders.update.release import TaggedRelease
from pypi_insiders.update.selection import TagSelector
from pypi_insiders.update.tracked import TrackedRepository
from pypi_insiders.util.errors import InsidersError


@dataclass(frozen=True)
class Job:
    """One tag that is to be built."""

    release: TaggedRelease
    is_lost: bool = False
    """Whether it was built before, and is made again as it was."""
    error: Exception | None = None
    """Why it cannot be built now."""


@dataclass(frozen=True)
class Plan:
    """What is to be done for a repository; uploads apart, which its state tells."""

    refs: dict[str, str] = field(default_factory=dict)
    """All its tags, to the commits that they name."""
    tags: tuple[str, ...] = ()
    """Those to build, in this order."""
    lost: tuple[Difference, ...] = ()
    """The files to build again."""

    @property
    def to_restore(self) -> list[Build]:
        """Return the builds of which something is lost, unless they are built anyway."""
        builds = {item.build.tag: item.build for item in self.lost if item.build}
        return [build for tag, build in builds.items() if tag not in self.tags]

    @property
    def count(self) -> int:
        """Return how many tags are built, for the first time or again."""
        return len(self.tags) + len(self.to_restore)

    def commit_of(self, built: TaggedRelease | Build) -> str:
        """Return the commit that a tag names now, or else the one that was built of it."""
        return self.refs.get(built.tag, built.commit)

    def lost_of(self, tag: str) -> list[Difference]:
        """Return the files to build again of a tag."""
        return [item for item in self.lost if item.build and item.build.tag == tag]

    def lost_for_good(self, tag: str, why: str) -> InsidersError:
        """Return the error of a tag whose lost files cannot be built again."""
        lost = self.lost_of(tag)
        return InsidersError(
            f"{', '.join(item.file for item in lost)} cannot be built again: {why}",
            f"to give it up: `pypi-insiders unpublish {lost[0].project} {lost[0].version}`",
        )


def plan(
    context: UpdateContext, tracked: TrackedRepository, selector: TagSelector, now_s: int
) -> Plan:
    """Read the tags of a repository, and find out which are built, or built again.

    Args:
        context: of the update.
        tracked: the repository; its state is read and brought up to date.
        selector: of its tags.
        now_s: the time, in seconds of the epoch.

    Raises:
        UnreachableError: its host cannot be reached.
        InsidersError: its tags, the index or its state cannot be used.
    """
    request, repository = context.request, tracked.repository
    tracked.load()
    lost = lost_files.find(context, tracked)
    refs = git.list_tags(repository.remote, git.Access(repository.token))
    tracked.check = Check(now_s, tried_at=now_s)
    lost = lost_files.finish_interrupted(context, tracked, lost, refs)
    if selector.restore_state(refs):
        lost = lost_files.find(context, tracked)
    if request.tag is None:
        tracked.warn(selector.report_skipped(refs))
    wanted = selector.choose(refs)
    lost_tags = [item.build.tag for item in lost if item.build]
    lacking = [build.tag for build in uploads.lacking(context, tracked.known.builds)]
    tags = list(dict.fromkeys([*wanted, *lost_tags, *lacking]))
    if request.tag is None and not request.all_tags:
        _forget_failures(tracked, tags)
    due = {tag for tag in tags if selector.is_due(refs, tag)}
    for tag in tags:
        if tag not in due:
            tracked.report_again(tag)
    if not wanted:
        selector.demand_chosen(refs)
    return Plan(
        refs,
        tuple(tag for tag in wanted if tag in due),
        tuple(item for item in lost if item.build and item.build.tag in due),
    )


def _forget_failures(tracked: TrackedRepository, tags: Collection[str]) -> None:
    """Forget why tags failed that are gone, or of which nobody wants a release any more."""
    failed = tracked.known.failures
    kept = {tag: failure for tag, failure in failed.items() if tag in tags}
    if kept != failed:
        tracked.known.failures = kept
        tracked.commit()
