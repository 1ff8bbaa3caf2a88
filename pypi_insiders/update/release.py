"""Build the distributions of one release from its tag."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from packaging.version import Version

from pypi_insiders import git
from pypi_insiders.builder.artifacts import Distributions
from pypi_insiders.builder.build import build_distributions
from pypi_insiders.builder.errors import BuildError, EndedError
from pypi_insiders.builder.launcher import Launcher
from pypi_insiders.builder.recipe import Recipe
from pypi_insiders.remote_index import public_versions
from pypi_insiders.repositories import changes, ownership, registry
from pypi_insiders.repositories import public_versions as known_versions
from pypi_insiders.repositories.published_assets import PublishedAsset
from pypi_insiders.repositories.repository import Repository
from pypi_insiders.update import development, naming
from pypi_insiders.update.advice import advice
from pypi_insiders.update.context import UpdateContext
from pypi_insiders.update.fetched_assets import FetchedAssets
from pypi_insiders.update.sources import ReleaseSources, TaggedRelease
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import make_directory
from pypi_insiders.util.formatting import listed
from pypi_insiders.util.trees import remove_foreign_tree

_log = logging.getLogger(__name__)

# Of build requirements that are built from their sdists, each of which may have such requirements.
_SOURCE_DEPTH = 5


@dataclass(frozen=True)
class BuildResult:
    """The build of a release, ready to be published."""

    distributions: Distributions
    """Their files exist until the context of the build is closed."""
    is_sandboxed: bool | None
    """`None`: no code was run."""
    message: str = ""
    """What its tag says."""
    assets: Mapping[str, PublishedAsset] = field(default_factory=dict)
    """Those of its files that are not built."""


class ReleaseBuilder:
    """Builds the releases of one repository."""

    def __init__(
        self, context: UpdateContext, repository: Repository, sources: ReleaseSources
    ) -> None:
        self._context = context
        self._repository = repository
        self._name = repository.name
        self._sources = sources

    @contextmanager
    def built(
        self, release: TaggedRelease, project: str | None, assets: FetchedAssets | None = None
    ) -> Iterator[BuildResult]:
        """Build a release, or what its assets lack; its files exist until the context is closed.

        Args:
            release: a release whose sources were fetched.
            project: the normalized project of earlier builds; `None`: there are none.
            assets: its files that are not built; `None`: all are.

        Raises:
            InsidersError: the build failed, or is of a project that is not allowed.
        """
        if assets is not None and assets.is_whole:
            self._claim(assets.distributions.name, self._repository.project or project)
            yield BuildResult(assets.distributions, None, self._message(release), assets.records)
            return
        space = self._context.builds
        space.guard.demand_room(self._context.paths.builds)
        launcher = space.launcher()
        self._context.progress.begin(self._name, "build", release.tag)
        commit = "" if release.branch else f" ({release.commit:.9})"
        _log.info("%s: building %s%s", self._name, release.subject, commit)
        with space.workspace() as workspace:
            try:
                with space.ended_in_time(workspace):
                    distributions = self._build_by_either(release, workspace, launcher)
                if assets is not None:
                    distributions = assets.with_built(distributions)
            except BuildError as error:
                if known := self._repository.project or project:
                    self._hold_renamed(release, known)
                # What is there is no worse for it, and is what the user prefers.
                if assets is None:
                    raise
                distributions = _without_built(assets, error)
            # Only now: the name of the project is known for sure from the metadata of a build.
            # Nothing is published before this check.
            self._claim(distributions.name, self._repository.project or project)
            records = assets.records if assets else {}
            yield BuildResult(distributions, launcher.is_sandbox, self._message(release), records)

    def _message(self, release: TaggedRelease) -> str:
        # By now a tag that has moved says something of another commit.
        if release.is_moved or release.branch:
            return ""
        return git.tag_message(self._sources.mirror, release.tag)

    def _build_by_either(
        self, release: TaggedRelease, workspace: Path, launcher: Launcher
    ) -> Distributions:
        """Build a release with build requirements as of its tag, or else with the latest."""
        wanted = self._repository.as_of_tag
        as_of_tag = self._context.settings.build.as_of_tag if wanted is None else wanted
        workspaces = [make_directory(workspace / name) for name in ("dated", "latest")]
        try:
            return self._build_twice_at_most(release, workspaces[0], launcher, as_of_tag=as_of_tag)
        except BuildError as error:
            # What builds today must not fail as of its tag: an old setuptools has nothing for a
            # newer Python, and uv goes back to versions that lack what the project asks for.
            if not error.is_dated:
                raise
            dated = error
        _log.info(
            "%s: %s: does not build with build requirements as of the tag, "
            "trying the latest: %s",
            self._name, release.subject, dated.message,
        )  # fmt: skip
        remove_foreign_tree(workspaces[0])
        try:
            built = self._build_twice_at_most(release, workspaces[1], launcher, as_of_tag=False)
        except BuildError as error:
            raise _of_both(dated, error) from error
        _log.warning(
            "%s: %s: built with the latest build requirements; to use them at once: "
            "`pypi-insiders repos set %s as-of-tag=false`",
            self._name, release.subject, self._name,
        )  # fmt: skip
        return replace(
            built,
            remark="built with the latest build requirements, as it fails with those as of the "
            f"tag: {dated.message}",
        )

    def _build_twice_at_most(
        self, release: TaggedRelease, workspace: Path, launcher: Launcher, *, as_of_tag: bool
    ) -> Distributions:
        """Build a release, and again if the build was killed from outside."""
        # The kernel kills the unit of a hook that uses too much memory. Killed twice, it is the
        # fault of the project; otherwise every update would try it again.
        attempts = [make_directory(workspace / name) for name in ("first", "second")]
        try:
            return self._build(release, attempts[0], launcher, as_of_tag=as_of_tag)
        except EndedError as error:
            _log.info("%s: %s: %s; trying again", self._name, release.subject, error.message)
        # Both attempts would count as the space that this build uses.
        remove_foreign_tree(attempts[0])
        try:
            return self._build(release, attempts[1], launcher, as_of_tag=as_of_tag)
        except EndedError as error:
            raise BuildError(f"{error.message} (twice)") from error

    def _build(
        self, release: TaggedRelease, workspace: Path, launcher: Launcher, *, as_of_tag: bool
    ) -> Distributions:
        repository, source = self._repository, workspace / "source"
        recipe = Recipe(
            0 if release.numbers else self._sources.export(release, source),
            repository.subdirectory or ".",
            repository.python or (),
            repository.network or False,
            as_of_tag,
            has_sdist=repository.sdist is not False and release.has_sdist,
            has_wheels=release.has_wheels,
            strangers=self._strangers(),
            source_depth=_SOURCE_DEPTH if repository.build_from_source else 0,
            readable=(self._sources.mirror,),  # Its objects are borrowed: gitrepository-layout(5).
            bytecode=self._context.builds.bytecode,
            user_files=changes.user_files_of(self._context.paths, repository),
        )
        try:
            if release.numbers:
                export = partial(self._sources.export, release)
                return development.build(export, workspace, recipe, launcher, release.numbers)
            return build_distributions(source, workspace, recipe, launcher)
        except BuildError as error:
            error.hint = error.hint or advice(self._repository, error)
            raise

    def _strangers(self) -> frozenset[str]:
        """Return the projects of this index whose public namesakes appeared after them."""
        if self._context.public_url is None:
            return frozenset()  # the user does not want them to be compared with public ones
        return known_versions.appeared(self._context.paths.state) & self._context.owners.keys()

    def _claim(self, built: str, expected: str | None) -> None:
        """Check that this repository may publish the project that it has built."""
        if expected and built != expected:
            # It may be renamed upstream: its new name is as private as the old one.
            naming.hold_private(self._context.paths, {built: self._name}, self._context.public_url)
            raise BuildError(
                f"the build is of project {built}, expected {expected}",
                hint=_confirmation(self._name, built),
            )
        owners = self._context.owners
        self._check_owner(owners.get(built, self._name), built)
        if not expected:
            _demand_free(self._context, self._name, built)
        # Again and atomically: another thread may have built the same project meanwhile.
        self._check_owner(owners.setdefault(built, self._name), built)

    def _hold_renamed(self, release: TaggedRelease, known: str) -> None:
        context = self._context
        try:
            naming.hold_renamed(
                context.paths, self._repository, release.commit, known, context.public_url
            )
        except InsidersError as error:
            _log.warning("%s: %s: project name not read: %s", self._name, release.subject, error)

    def _check_owner(self, owner: str, built: str) -> None:
        if owner != self._name:
            raise registry.conflict(f"it builds {built}, which", owner)


def _demand_free(context: UpdateContext, name: str, built: str) -> None:
    """Check that nobody else uses a project name that the user has not confirmed.

    Raises:
        BuildError: the index or the fallback index has the project.
        InsidersError: the fallback index cannot be queried.
    """
    hint = _confirmation(name, built)
    if foreign := ownership.foreign_files(context.paths, built, name, context.cache):
        raise BuildError(
            f"the build is of project {built}, of which the index has {listed(foreign, 2)} "
            "from elsewhere; nothing published",
            hint=hint,
        )
    try:
        # Fail closed: if there is no index that may be asked, the user has to confirm.
        url = context.settings.server.fallback
        if url is None:
            raise InsidersError('fallback-url = ""')
        if not context.settings.watcher.public_versions:
            raise InsidersError("public-versions = false")
        is_public = public_versions.has_project(url, built)
    except InsidersError as error:
        raise InsidersError(
            f"cannot check whether {built} is also a public project: {error.message}; "
            "nothing published",
            hint,
        ) from error
    if is_public:
        raise BuildError(
            f"the build is of project {built}, which is also a public project; nothing published",
            hint=hint,
        )


def _confirmation(name: str, built: str) -> str:
    return f"if this is correct: `pypi-insiders repos set {name} project={built}`"


def _without_built(assets: FetchedAssets, error: BuildError) -> Distributions:
    """Return the files of a release that does not build, with a remark."""
    lacking = "its sdist" if assets.lacks_sdist else "a wheel for this machine"
    if assets.lacks_sdist and assets.lacks_wheel:
        lacking = "its sdist and a wheel for this machine"
    remark = f"published without {lacking}, as the build fails: {error.message}"
    return replace(assets.distributions, remark=remark)


def _of_both(dated: BuildError, latest: BuildError) -> BuildError:
    """Return the error of a release that builds with neither kind of build requirements."""
    if dated.message == latest.message:
        message = f"{latest.message} (with the latest build requirements too)"
    else:
        message = (
            f"with build requirements as of the tag: {dated.message}; "
            f"with the latest: {latest.message}"
        )
    output = (
        f"With build requirements as of the tag:\n{dated.output}\n"
        f"With the latest build requirements:\n{latest.output}"
    )
    return BuildError(message, output, latest.hint or dated.hint)


def check_version(release: TaggedRelease, built: str) -> None:
    """Compare the version of a build with its tag.

    Raises:
        BuildError: they differ, and the repository is `strict`.
    """
    repository = release.repository
    # The metadata is the version; the tag only proposes it.
    expected = repository.rules(1).pattern.version_of(release.tag)
    if expected is None or expected == Version(built):
        return
    message = f"the build has version {built}, expected {expected}"
    if repository.strict:
        raise BuildError(message)
    _log.warning("%s: %s: %s", repository.name, release.subject, message)
