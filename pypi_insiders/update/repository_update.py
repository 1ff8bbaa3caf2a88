"""Update one repository: check, fetch, build, publish, upload and prune."""

import logging
import time
from dataclasses import replace

from pypi_insiders.git import UnreachableError
from pypi_insiders.repositories.repository import Repository
from pypi_insiders.update import development, failures, retention, uploads
from pypi_insiders.update.asset_waiting import WaitingError
from pypi_insiders.update.assets import AssetFetcher, LeftOutError
from pypi_insiders.update.context import UpdateContext
from pypi_insiders.update.plan import Job, Plan, plan
from pypi_insiders.update.publication import Publisher, RemovedError
from pypi_insiders.update.release import ReleaseBuilder, check_version
from pypi_insiders.update.selection import TagSelector
from pypi_insiders.update.sources import ReleaseSources, TaggedRelease
from pypi_insiders.update.tracked import TrackedRepository
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.time_limit import TimeLimit

_log = logging.getLogger(__name__)


class RepositoryUpdate:
    """The update of one repository: call `check`, `fetch` and `build` in this order."""

    def __init__(self, context: UpdateContext, repository: Repository) -> None:
        self._context = context
        self._progress = context.progress
        self._repository = repository
        self.name = repository.name
        self.tracked = TrackedRepository(context, repository)
        self._selector = TagSelector(context, self.tracked)
        self._sources = ReleaseSources(context, repository)
        self._assets = AssetFetcher(context, self.tracked)
        self._builder = ReleaseBuilder(context, repository, self._sources)
        self._publisher = Publisher(context, self.tracked)
        self._limit_s = context.settings.watcher.repository_timeout_s
        self._limit = TimeLimit(self._limit_s or None)
        self._plan = Plan()  # set by `check`
        self._jobs: list[Job] = []  # the builds in their order; set by `fetch`

    @property
    def is_steady(self) -> bool:
        """Return whether the last update had no failure; valid after `check`."""
        return self.tracked.was_well and not self.tracked.known.failures

    def check(self) -> bool:
        """Plan the update; return whether there is anything to build or upload."""
        tracked, now_s = self.tracked, int(time.time())
        self._progress.begin(self.name, "check")
        tracked.check = tracked.check._replace(errors=[], warnings=[], hints={}, tried_at=now_s)
        try:
            self._plan = plan(self._context, tracked, self._selector, now_s)
        except UnreachableError as error:
            tracked.record_unreachable(error, now_s)
            return False
        # Everything, bugs too: a failure of one repository must not stop the others.
        except Exception as error:
            tracked.fail(error)
            return False
        is_anything = bool(self._plan.count or uploads.lacking(self._context, tracked.known.builds))
        if is_anything:
            self._progress.expect("build", self._plan.count)
        else:
            _log.debug("%s: nothing new", self.name)
            retention.prune(self._context, self.tracked)
        self._progress.end(self.name)
        return is_anything

    def fetch(self) -> bool:
        """Fetch the sources of all builds; return true, as `build` follows."""
        # Separate from the builds, so that a hanging host does not occupy their threads.
        if self._plan.count:
            try:
                with self._limit.counting():
                    self._context.builds.sweep()
                    self._sources.fetch()
                    self._jobs = self._fetch_jobs()
            except Exception as error:
                self._progress.expect("build", -self._plan.count)
                if self._limit.is_over:
                    self.tracked.fail(failures.too_long(self._limit_s))
                elif isinstance(error, UnreachableError):
                    self.tracked.record_unreachable(error, int(time.time()))
                else:
                    self.tracked.fail(error)
        self._progress.end(self.name)
        return True

    def _fetch_jobs(self) -> list[Job]:
        repository, refs, tag_refs = self._repository, self._plan.refs, self._plan.tag_refs
        jobs = []
        for build in self._plan.to_restore:
            tag, commit = build.tag, build.commit
            is_moved = refs.get(tag, commit) != commit
            release = TaggedRelease(repository, tag, commit, is_moved=is_moved)
            jobs.append(self._fetch_job(Job(release, is_lost=True)))

        def verify(tag: str) -> None:
            self._sources.verify(TaggedRelease(repository, tag, refs[tag]))

        chosen = tuple(tag for tag in self._plan.tags if tag in tag_refs)
        wanted = self._selector.verified(tag_refs, chosen, verify)
        if not wanted and repository.branch is None:
            self._selector.demand_chosen(tag_refs)
        # Last, so that releases do not wait for it.
        wanted += tuple(tag for tag in self._plan.tags if tag not in tag_refs)
        self._progress.expect("build", len(wanted) - len(self._plan.tags))
        new = [Job(TaggedRelease(repository, tag, refs[tag])) for tag in wanted]
        return [*jobs, *map(self._fetch_job, new)]

    def _fetch_job(self, job: Job) -> Job:
        """Fetch the sources of a tag; return the job, with the error of its tag if that failed."""
        release = job.release
        if release.tag not in self._plan.refs:
            why = "the tag was deleted from the repository"
            return replace(job, error=self._plan.lost_for_good(release.tag, why))
        lost = self._plan.lost_of(release.tag) if job.is_lost else ()
        try:
            # The release of a host has no files of a head.
            files = {item.file: item.recorded_sha256 for item in lost}
            assets = None if release.branch else self._assets.fetch(release, files)
            if assets is not None:
                has_wheels = assets.lacks_wheel
                release = replace(release, has_sdist=assets.lacks_sdist, has_wheels=has_wheels)
                job = replace(job, release=release, assets=assets)
            if assets is None or not assets.is_whole:
                self._sources.fetch_sources(release)
        # Not an error of this tag: every other tag would wait for the same host.
        except UnreachableError as error:
            # The head is the last: what the releases need is here already.
            if release.branch is None or job.is_lost:
                raise
            return replace(job, error=error)
        except Exception as error:
            if not (release.is_moved and isinstance(error, InsidersError)):
                return replace(job, error=error)
            why = (
                f"the tag has moved, and commit {release.commit:.9} cannot be fetched: "
                f"{error.message}"
            )
            return replace(job, error=self._plan.lost_for_good(release.tag, why))
        return job

    def build(self) -> bool:
        """Build, publish and upload the fetched tags; return false, as no step follows."""
        try:
            self._build_jobs()
        finally:
            for job in self._jobs:
                if job.assets is not None:
                    job.assets.discard()
        return False

    def _build_jobs(self) -> None:
        """Build, publish and upload the fetched tags."""
        self._progress.end(self.name)
        for job in self._jobs:
            if self._context.interrupted.is_set():
                return
            # Of the repository, not of the tag: the tags that are left have not failed.
            if self._limit.is_over:
                self.tracked.fail(failures.too_long(self._limit_s))
                break
            had_most = self._limit.share_left > 0.5
            try:
                with self._limit.counting():
                    self._build(job)
            except RemovedError as error:
                _log.warning("%s: %s", self.name, error.message)
                self._progress.end(self.name)
                return
            except LeftOutError as error:
                _log.info("%s: tag %s: %s", self.name, job.release.tag, error.message)
            except WaitingError as error:
                self.tracked.warn([f"tag {job.release.tag} waits for assets: {error.message}"])
            except Exception as error:
                if job.error is error and isinstance(error, UnreachableError):
                    self.tracked.record_unreachable(error, int(time.time()))
                    continue
                # A tag that started late is not to blame: the next update gives it all of the time.
                reason = (
                    failures.too_long(self._limit_s)
                    if self._limit.is_over and not had_most
                    else error
                )
                self.tracked.fail_tag(job.release.tag, self._plan.commit_of(job.release), reason)
        refs = self._plan.refs
        uploads.send(
            self._context, self.tracked, refs, lambda tag: self._selector.is_due(refs, tag)
        )
        retention.prune(self._context, self.tracked)
        self._progress.end(self.name)

    def _build(self, job: Job) -> None:
        """Build and publish a tag, or restore its lost files."""
        if job.error is not None:
            raise job.error
        release, lost = job.release, self._plan.lost_of(job.release.tag)
        if job.is_lost or release.branch:
            self._sources.verify(release)
        known, warnings = self.tracked.known, list[str]()
        if release.branch:
            release, warnings = development.numbered(self._sources.mirror, release, known)
        with self._builder.built(release, known.project, job.assets) as result:
            if job.is_lost:
                done = self._publisher.restore(release, result, lost)
            else:
                check_version(release, result.distributions.version)
                request = self._context.request
                # Not with --all-tags, which would publish again all that was taken back.
                is_forced = request.force and request.tag is not None
                done = self._publisher.publish(release, result, lost, is_forced=is_forced)
            # To remove the trees of a build may take longer than to publish its files.
            self._progress.begin(self.name, "clean")
        self.tracked.outcome.published += done.new
        self.tracked.warn((*done.warnings, *warnings))
