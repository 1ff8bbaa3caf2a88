"""Publish what was built of a release, and what was lost of it."""

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
from pypi_insiders.repositories import registry, releases
from pypi_insiders.repositories.comparison import Difference, Kind
from pypi_insiders.repositories.state import Build
from pypi_insiders.update import uploads
from pypi_insiders.update.context import UpdateContext
from pypi_insiders.update.release import BuildResult, TaggedRelease
from pypi_insiders.update.tracked import TrackedRepository
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import locked, make_directory, sha256

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Publication:
    """What publishing a release has brought."""

    new: Sequence[str] = ()
    """The names of the files that were not there before."""
    warnings: tuple[str, ...] = ()
    """What is to be known of it, one line each."""


class RemovedError(InsidersError):
    """A repository was removed, or became another one, while it was built."""


class Publisher:
    """Publishes the releases of one repository.

    Args:
        context: of the update.
        tracked: the repository; its state knows of each file before it is published.
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
            release: which one.
            result: what was built of it.
            lost: the files that were published of its tag and differ now; they are set aside.
            is_forced: whether it is published also if it was taken back.

        Raises:
            InsidersError: it cannot be published; the state is as before.
            RemovedError: its repository is not watched any more; nothing is published.
        """
        built, is_local = result.distributions, self._context.settings.publish.local
        builds = self._tracked.known.builds
        before = next((build for build in builds if build.tag == release.tag), None)
        build = Build(
            release.tag, release.commit, built.version, int(time.time()), {}, built.requirements,
            result.is_sandboxed, [] if is_local else uploads.urls(self._context), is_local,
            message=result.message,
        )  # fmt: skip
        listed = TAKEN_BACK.load(self._paths.distributions, self._paths.state)
        word = release_lists.word(listed, built.name, built.version)
        if word is not None and not is_forced:
            _log.info(
                "%s: tag %s: %s %s was taken back, and is not published; "
                "`pypi-insiders update %s --tag %s --force` does it",
                self._name, release.tag, built.name, built.version, self._name, release.tag,
            )  # fmt: skip
            self._remember(built.name, build)
            return Publication()
        self._context.progress.begin(self._name, "publish", built.version)
        self._set_aside(lost)
        if before is not None:
            _report_differences(self._paths, self._name, built.files)

        def intend(files: Mapping[str, str]) -> None:
            # Written down before the first file is visible: of a release that a killed update left
            # half done, the next one knows.
            begun = _merged(self._paths, before, replace(build, files=dict(files)), list(files))
            self._remember(built.name, replace(begun, unfinished=list(files)))

        # While the lock is held `repos remove` waits: it finds all of the release, or none of it.
        with self._rolled_back(), self._still_watched(), _given_back(self._paths, built, word):
            if is_local or self._context.destination is None:
                files, new = self._publish_here(release, built, intend)
            else:
                new = uploads.upload_files(self._context.destination, built.files)
                files = {path.name: sha256(path) for path in built.files}
        self._remember(built.name, _merged(self._paths, before, replace(build, files=files), new))
        return Publication(new, _warnings(lost, files))

    def restore(
        self, release: TaggedRelease, result: BuildResult, lost: Sequence[Difference]
    ) -> Publication:
        """Publish those files of a release that are lost.

        Args:
            release: of the tag and the commit as which it was published.
            result: what was built of it again.
            lost: its files that are missing or differ; what is in their place is set aside.

        Raises:
            InsidersError: it is not what it was; nothing is published.
            RemovedError: its repository is not watched any more; nothing is published.
        """
        built, builds = result.distributions, self._tracked.known.builds
        before = next(build for build in builds if build.tag == release.tag)
        found = {path.name: path for path in built.files}
        if missing := [item.file for item in lost if item.file not in found]:
            raise BuildError(
                f"built again it gives {', '.join(found)}, and not {', '.join(missing)}",
                hint="to give the release up: "
                f"`pypi-insiders unpublish {built.name} {before.version}`",
            )
        hashes = {item.file: sha256(found[item.file]) for item in lost}
        build = replace(before, files={**before.files, **hashes})
        if warnings := _warnings(lost, hashes):
            build = replace(
                build, built_at=int(time.time()), requirements=built.requirements,
                sandboxed=result.is_sandboxed,
            )  # fmt: skip
        self._context.progress.begin(self._name, "publish", built.version)
        with self._still_watched():
            files = [found[item.file] for item in lost]
            self._demand_room(files)
            # First, or else the index would take for damaged what is about to come.
            self._remember(None, build)
            self._set_aside(lost)
            origin = Origin(self._name, release.tag, release.commit)
            _, new = store.publish(self._paths.distributions, self._context.cache, files, origin)
            if build.unfinished:
                self._remember(None, replace(build, unfinished=[]))
        for item in lost:
            if hashes[item.file] == item.recorded_sha256:
                _log.info("%s: %s is there again, the same as before", self._name, item.file)
        return Publication(new, warnings)

    def _remember(self, project: str | None, build: Build) -> None:
        """Write down a build, and of a new one also what the repository builds, and from where."""
        known = self._tracked.known
        if project is not None:
            known.project, known.remote = project, self._tracked.repository.remote
        known.remember(build)
        self._tracked.commit()

    @contextmanager
    def _rolled_back(self) -> Iterator[None]:
        """Forget what was about to be published, if it is not."""
        known = self._tracked.known
        before = replace(known, builds=[*known.builds], failures={**known.failures})
        try:
            yield
        except BaseException:
            if known.builds != before.builds:
                # In place, for others hold this object.
                vars(known).update(vars(before))
                with contextlib.suppress(InsidersError):  # or else the next update finishes it
                    self._tracked.commit()
            raise

    @contextmanager
    def _still_watched(self) -> Iterator[None]:
        """Let nobody remove the repository while something of it is published.

        Raises:
            RemovedError: somebody has, or has made it another one.
        """
        built = self._tracked.repository
        with ExitStack() as stack:
            stack.enter_context(locked(self._paths.locks.repositories))
            now = registry.find(registry.load(self._paths.repositories), built.name)
            if now is None:
                raise RemovedError("it was removed meanwhile; nothing is published")
            if (now.remote, now.project) != (built.remote, built.project):
                raise RemovedError(
                    "its url or distribution was changed meanwhile; the next update builds it"
                )
            if not self._context.settings.publish.local:
                stack.close()  # an upload may take long
            yield

    def _set_aside(self, lost: Iterable[Difference]) -> None:
        """Move away what is still in the place of files: it could not be read, or is new there."""
        for item in lost:
            if os.path.lexists(self._paths.distributions / item.file):
                aside = store.put_aside(self._paths.distributions, item.file)
                _log.warning("%s: %s is set aside as %s", self._name, item.file, aside)

    def _publish_here(
        self,
        release: TaggedRelease,
        built: Distributions,
        intend: Callable[[dict[str, str]], None],
    ) -> tuple[dict[str, str], list[str]]:
        self._demand_room(built.files)
        origin = Origin(self._name, release.tag, release.commit)
        files, new = store.publish(
            self._paths.distributions, self._context.cache, built.files, origin, intend
        )
        _log.info("%s: published %s", self._name, ", ".join(new) or "nothing new")
        return files, new

    def _demand_room(self, files: Iterable[Path]) -> None:
        """Check that files may be copied into the distributions directory.

        Raises:
            DiskFullError: they do not fit.
        """
        size_bytes = sum(file.stat().st_size for file in files)
        directory = make_directory(self._paths.distributions)
        self._context.builds.guard.demand_room(directory, size_bytes)


def _warnings(lost: Iterable[Difference], files: Mapping[str, str]) -> tuple[str, ...]:
    """Say which files have another content than before they were lost."""
    return tuple(
        f"{item.file} was {'missing' if item.kind == Kind.MISSING else 'changed'}; built again it "
        f"has another sha256, {files[item.file]}, and not {item.recorded_sha256} any more"
        for item in lost
        if files.get(item.file, item.recorded_sha256) != item.recorded_sha256
    )


def _merged(paths: Paths, before: Build | None, build: Build, new: Sequence[str]) -> Build:
    """Return what is to be remembered of a build, if its tag was built before."""
    if before is None:
        return build
    urls = list(dict.fromkeys([*before.uploaded_to, *build.uploaded_to]))
    # What published nothing changes nothing; and what is published stays remembered.
    if not new:
        return replace(before, uploaded_to=urls)
    held = store.present(paths.distributions, before.files)
    stays = {name: before.files[name] for name in held} if before.local else before.files
    return replace(build, files={**stays, **build.files})


@contextmanager
def _given_back(paths: Paths, built: Distributions, word: str | None) -> Iterator[None]:
    """Count a release as taken back no longer, unless it is not published.

    Args:
        paths: where everything is.
        built: what is published.
        word: how it was taken back; `None`: it was not.
    """
    releases.give_back(paths, built.name, built.version)
    try:
        yield
    except BaseException:
        if word is not None:
            releases.take_back(paths, [(built.name, Version(built.version))], word)
        raise


def _report_differences(paths: Paths, name: str, files: Iterable[Path]) -> None:
    """Report in what newly built files differ from those that are published."""
    for file in files:
        published = paths.distributions / file.name
        if not published.exists():
            _log.info("%s: %s is not published", name, file.name)
        elif differences := archive_differences.differences(published, file):
            _log.warning(
                "%s: %s, which is published, stays; built again it differs in %s",
                name, file.name, differences,
            )  # fmt: skip
        else:
            _log.info("%s: %s is the same as the published one", name, file.name)
