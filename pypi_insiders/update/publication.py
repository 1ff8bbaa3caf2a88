"""Publish new releases, and restore lost files of published ones."""

import contextlib
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from packaging.version import Version

from pypi_insiders.builder.artifacts import Distributions
from pypi_insiders.builder.errors import BuildError
from pypi_insiders.config.paths import Paths
from pypi_insiders.index import archive_differences, release_lists, store
from pypi_insiders.index.metadata_cache import Origin
from pypi_insiders.index.release_lists import TAKEN_BACK
from pypi_insiders.repositories import heads, lookup, registry, releases
from pypi_insiders.repositories.comparison import Difference, Kind
from pypi_insiders.repositories.new_releases import NewRelease
from pypi_insiders.repositories.repository import Repository
from pypi_insiders.repositories.state import Build
from pypi_insiders.update import uploads
from pypi_insiders.update.context import UpdateContext
from pypi_insiders.update.release import BuildResult
from pypi_insiders.update.sources import TaggedRelease
from pypi_insiders.update.tracked import TrackedRepository
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import locked, make_directory, sha256

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Publication:
    """The result of publishing a release."""

    new: Sequence[str] = ()
    """The names of the new files."""
    warnings: tuple[str, ...] = ()
    """Warnings for the user, one line each."""


class RemovedError(InsidersError):
    """A repository was removed or changed while it was built."""


class Publisher:
    """Publishes the releases of one repository.

    Args:
        context: of the update.
        tracked: the repository; a file is in its state before it is published.
    """

    def __init__(self, context: UpdateContext, tracked: TrackedRepository) -> None:
        self._context = context
        self._tracked = tracked
        self._name = tracked.name
        self._paths = context.paths

    def publish(
        self,
        release: TaggedRelease,
        result: BuildResult,
        lost: Sequence[Difference],
        *,
        is_forced: bool = False,
    ) -> Publication:
        """Publish a release, unless it was taken back.

        Args:
            release: the release.
            result: its build.
            lost: the lost files of its tag; changed ones are set aside.
            is_forced: whether to publish it even if it was taken back.

        Raises:
            InsidersError: publishing failed; the state is unchanged.
            RemovedError: the repository is no longer watched; nothing is published.
        """
        built, is_local = result.distributions, self._context.settings.publish.local
        builds = self._tracked.known.builds
        before = next((build for build in builds if build.tag == release.tag), None)
        build = Build(
            release.tag, release.commit, built.version, int(time.time()), {}, built.requirements,
            result.is_sandboxed, [] if is_local else uploads.urls(self._context), is_local,
            message=result.message, remark=built.remark, assets=dict(result.assets),
        )  # fmt: skip
        # Further assets of what is published already; another index lacks them.
        is_added = before is not None and result.is_sandboxed is None
        if before is not None and is_added:
            assets = {**before.assets, **build.assets}
            build = before._replace(files={}, uploaded_to=build.uploaded_to, assets=assets)
        listed = TAKEN_BACK.load(self._paths.distributions, self._paths.state)
        word = release_lists.word(listed, built.name, built.version)
        if word is not None and not is_forced:
            # Its state has no files, but its commit: the next update does not build it again.
            _log.info(
                "%s: %s: %s %s was taken back and is not published; publish it again: %s",
                self._name, release.subject, built.name, built.version,
                heads.build_command(self._name, release.tag),
            )  # fmt: skip
            self._remember(built.name, build)
            return Publication()
        self._context.progress.begin(self._name, "publish", built.version)
        # Before publishing, which never replaces an existing file.
        _set_aside(self._paths, self._name, lost)
        if before is not None and not is_added:
            _report_differences(self._paths, self._name, built.files)

        def intend(files: Mapping[str, str]) -> None:
            # Before the first file is visible: the next update finishes or undoes what was killed.
            begun = _merged(self._paths, before, build._replace(files=dict(files)), list(files))
            self._remember(built.name, begun._replace(unfinished=list(files)))

        # Further files of a release are no new release.
        is_new = before is None or not before.files
        announced = NewRelease(
            built.name, built.version, release.tag, release.commit, self._name,
            [path.name for path in built.files], is_local,
        )  # fmt: skip
        announcer = self._context.announcer
        # `repos remove` waits for this lock: it finds the whole release, or nothing of it.
        with (
            announcer.announcing(announced) if is_new else contextlib.nullcontext(),
            self._rolled_back(),
            _still_watched(self._context, self._tracked.repository),
            _given_back(self._paths, built, word),
        ):
            destination, hosts = self._context.destination, self._context.hosts
            if is_local or destination is None:
                files, new = self._publish_here(release, built, intend)
            else:
                new = uploads.upload_files(destination, hosts, built.files)
                files = {path.name: sha256(path) for path in built.files}
        if not new:  # its files were here already
            announcer.cancel(announced)
        self._remember(built.name, _merged(self._paths, before, build._replace(files=files), new))
        return Publication(new, _warnings(lost, files))

    def restore(
        self, release: TaggedRelease, result: BuildResult, lost: Sequence[Difference]
    ) -> Publication:
        """Publish the lost files of a release again.

        Args:
            release: with the tag and the commit of its publication.
            result: its new build.
            lost: its missing or changed files; changed ones are set aside.

        Raises:
            InsidersError: the build lacks a lost file, or publishing failed.
            RemovedError: the repository is no longer watched; nothing is published.
        """
        built, builds = result.distributions, self._tracked.known.builds
        before = next(build for build in builds if build.tag == release.tag)
        found = {path.name: path for path in built.files}
        # The rebuilt wheel may have another name, such as for another Python version.
        if missing := [item.file for item in lost if item.file not in found]:
            raise BuildError(
                f"the rebuild produced {', '.join(found)} instead of {', '.join(missing)}",
                hint="restore the files from a backup, or give up the release: "
                f"`pypi-insiders unpublish {built.name} {before.version}`",
            )
        hashes = {item.file: sha256(found[item.file]) for item in lost}
        build = before._replace(files={**before.files, **hashes})
        # Identical files are those of the old build; different ones make it a new build.
        if warnings := _warnings(lost, hashes):
            build = build._replace(built_at=int(time.time()), requirements=built.requirements,
                sandboxed=result.is_sandboxed, remark=built.remark,
            )  # fmt: skip
        self._context.progress.begin(self._name, "publish", built.version)
        with _still_watched(self._context, self._tracked.repository):
            files = [found[item.file] for item in lost]
            _demand_room(self._context, files)
            # The state first: the server would reject files whose hash is not in it.
            self._remember(None, build)
            _set_aside(self._paths, self._name, lost)
            origin = Origin(self._name, release.tag, release.commit)
            _, new = store.publish(self._paths.distributions, self._context.cache, files, origin)
            if build.unfinished:
                self._remember(None, build._replace(unfinished=[]))
        for item in lost:
            if hashes[item.file] == item.recorded_sha256:
                _log.info("%s: restored %s, identical to the lost file", self._name, item.file)
        return Publication(new, warnings)

    def _remember(self, project: str | None, build: Build) -> None:
        """Save a build; for a new release also the project and the URL of the repository."""
        known = self._tracked.known
        # Not those whose names other files have, which stay.
        assets = {name: it for name, it in build.assets.items() if name in build.files}
        build = build._replace(assets=assets)
        if project is not None:
            known.project, known.remote = project, self._tracked.repository.remote
        known.remember(build)
        self._tracked.commit()

    @contextmanager
    def _rolled_back(self) -> Iterator[None]:
        """Restore the state in memory and on disk if the publication fails."""
        known = self._tracked.known
        before = replace(known, builds=[*known.builds], failures={**known.failures})
        try:
            yield
        except BaseException:
            if known.builds != before.builds:
                # In place, as other objects have references to it.
                vars(known).update(vars(before))
                # If it cannot be written, the next update finishes or undoes the release.
                with contextlib.suppress(InsidersError):
                    self._tracked.commit()
            raise

    def _publish_here(
        self,
        release: TaggedRelease,
        built: Distributions,
        intend: Callable[[dict[str, str]], None],
    ) -> tuple[dict[str, str], list[str]]:
        _demand_room(self._context, built.files)
        origin = Origin(self._name, release.tag, release.commit)
        files, new = store.publish(
            self._paths.distributions, self._context.cache, built.files, origin, intend
        )
        _log.info("%s: published %s", self._name, ", ".join(new) or "no new files")
        return files, new


@contextmanager
def _still_watched(context: UpdateContext, built: Repository) -> Iterator[None]:
    """Lock `repos.toml` while files of a repository are published.

    Raises:
        RemovedError: the repository was removed or changed since the update started.
    """
    with ExitStack() as stack:
        stack.enter_context(locked(context.paths.locks.repositories))
        # Read again: the build may have taken an hour.
        now = lookup.find(registry.load(context.paths.repositories), built.name)
        if now is None:
            raise RemovedError("removed while it was built; nothing published")
        if (now.remote, now.project) != (built.remote, built.project):
            raise RemovedError(
                "its url or project changed while it was built; the next update builds it"
            )
        if not context.settings.publish.local:
            # Unlocked: an upload may take long, and `repos` commands would wait for it.
            stack.close()
        yield


def _demand_room(context: UpdateContext, files: Iterable[Path]) -> None:
    """Check that the disk has space for copies of files.

    Raises:
        DiskFullError: the files do not fit.
    """
    size_bytes = sum(file.stat().st_size for file in files)
    context.builds.guard.demand_room(make_directory(context.paths.distributions), size_bytes)


def _set_aside(paths: Paths, name: str, lost: Iterable[Difference]) -> None:
    """Move files away that occupy the names of lost files."""
    for item in lost:
        # Changed files were set aside before the build; this one could not be read, or is new.
        if os.path.lexists(paths.distributions / item.file):
            aside = store.put_aside(paths.distributions, item.file)
            _log.warning("%s: moved %s to %s", name, item.file, aside)


def _warnings(lost: Iterable[Difference], files: Mapping[str, str]) -> tuple[str, ...]:
    """Return a warning for each restored file that differs from the lost one."""
    # Lock files of installers have the old hash, which they will not find any more.
    return tuple(
        f"{item.file} was {'missing' if item.kind == Kind.MISSING else 'changed'}; the rebuilt "
        f"file has sha256 {files[item.file]}, different from {item.recorded_sha256}"
        for item in lost
        if files.get(item.file, item.recorded_sha256) != item.recorded_sha256
    )


def _merged(paths: Paths, before: Build | None, build: Build, new: Sequence[str]) -> Build:
    """Return the build to save, merged with an earlier build of its tag."""
    if before is None:
        return build
    urls = list(dict.fromkeys([*before.uploaded_to, *build.uploaded_to]))
    # Without new files, the published files are still those of the earlier build. With new ones,
    # files that both published stay in the state.
    if not new:
        return before._replace(uploaded_to=urls)
    held = store.present(paths.distributions, before.files)
    stays = {name: before.files[name] for name in held} if before.local else before.files
    left = {name: it for name, it in before.assets.items() if name in stays}
    return build._replace(files={**stays, **build.files}, assets={**left, **build.assets})


@contextmanager
def _given_back(paths: Paths, built: Distributions, word: str | None) -> Iterator[None]:
    """Remove a release from the list of taken-back ones; restore the entry if publishing fails.

    Args:
        paths: all paths of the program.
        built: the release to publish.
        word: the note in the list; `None`: it was not listed.
    """
    releases.give_back(paths, built.name, built.version)
    try:
        yield
    except BaseException:
        if word is not None:
            releases.take_back(paths, [(built.name, Version(built.version))], word)
        raise


def _report_differences(paths: Paths, name: str, files: Iterable[Path]) -> None:
    """Log how rebuilt files differ from the published ones."""
    for file in files:
        published = paths.distributions / file.name
        if not published.exists():
            _log.info("%s: %s is not published", name, file.name)
        elif differences := archive_differences.differences(published, file):
            _log.warning(
                "%s: keeping the published %s; the rebuilt file differs in %s",
                name, file.name, differences,
            )  # fmt: skip
        else:
            _log.info("%s: the rebuilt %s is identical to the published file", name, file.name)
