"""Build one release: from a tag to checked distributions."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from packaging.version import Version

from pypi_insiders import git
from pypi_insiders.builder.artifacts import Distributions
from pypi_insiders.builder.build import Recipe, build_distributions
from pypi_insiders.builder.errors import BuildError, EndedError
from pypi_insiders.builder.launcher import Launcher
from pypi_insiders.remote_index import public_versions
from pypi_insiders.repositories import ownership, registry
from pypi_insiders.repositories.repository import Repository
from pypi_insiders.update.context import UpdateContext
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import make_directory
from pypi_insiders.util.formatting import listed
from pypi_insiders.util.trees import remove_foreign_tree

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TaggedRelease:
    """A tag of a repository that is to be built."""

    repository: Repository
    tag: str
    commit: str
    is_moved: bool = False
    """Whether the tag names another commit by now."""


@dataclass(frozen=True)
class BuildResult:
    """What was built of a release, and may be published."""

    distributions: Distributions
    """Their files exist as long as the context in which they were built is open."""
    is_sandboxed: bool
    message: str = ""
    """What its tag says."""


class ReleaseBuilder:
    """Builds the releases of one repository.

    Args:
        context: of the update.
        repository: which one.
    """

    def __init__(self, context: UpdateContext, repository: Repository) -> None:
        self._context = context
        self._repository = repository
        self._name = repository.name
        self._mirror = context.paths.mirror(repository.name)

    @property
    def _access(self) -> git.Access:
        """With the token, which can be missing here: that is the fault of this repository alone."""
        return git.Access(self._repository.token)

    def fetch(self) -> None:
        """Bring the mirror of the repository up to date.

        Raises:
            DiskFullError: it does not fit on the disk.
            InsidersError: the repository cannot be read, or the disk not written.
        """
        self._context.progress.begin(self._name, "fetch")
        with self._guarded():
            git.fetch(self._repository.remote, self._mirror, self._access)

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """End what fills the mirror before the disk is full.

        Raises:
            DiskFullError: that has happened, or the disk is almost full already.
        """
        guard, mirror = self._context.builds.guard, self._mirror
        directory = make_directory(mirror.parent)
        guard.demand_room(directory)
        with guard.guarding(mirror, mirror.with_name(f"{mirror.name}.new"), disk=directory):
            yield

    def fetch_sources(self, release: TaggedRelease) -> None:
        """Fetch what a release is built from into the mirror, which is up to date.

        Raises:
            BuildError: it wants submodules that it may not bring in, or its tag names no commit.
            InsidersError: the repository cannot be read, or the disk not written.
        """
        if release.is_moved:  # no tag names its commit any more
            with self._guarded():
                git.fetch_commit(
                    self._repository.remote, self._mirror, release.commit, self._access
                )
        submodules = self._repository.submodules or ()
        with self._faults_told(), self._guarded():
            git.bring(self._mirror, release.commit, self._access, submodules=submodules)

    def verify(self, release: TaggedRelease) -> None:
        """Check that an allowed signer has signed a tag, if its repository wants that.

        Raises:
            SignatureError: none has.
            InsidersError: that cannot be found out.
        """
        if signers := self._repository.signers:
            git.verify(self._mirror, release.tag, release.commit, signers)

    @contextmanager
    def built(self, release: TaggedRelease, project: str | None) -> Iterator[BuildResult]:
        """Build a release, and keep what was built for as long as the context is open.

        Args:
            release: whose sources were fetched.
            project: what the repository has built before, normalized.

        Raises:
            InsidersError: it does not build, or is not what it should be.
        """
        space = self._context.builds
        space.guard.demand_room(self._context.paths.builds)
        launcher = space.launcher()
        self._context.progress.begin(self._name, "build", release.tag)
        _log.info("%s: building tag %s (%.9s)", self._name, release.tag, release.commit)
        with space.workspace() as workspace:
            with space.ended_in_time(workspace):
                distributions = self._build_twice_at_most(release, workspace, launcher)
            self._claim(distributions.name, self._repository.project or project)
            # By now a tag that has moved says something of another commit.
            message = "" if release.is_moved else git.tag_message(self._mirror, release.tag)
            yield BuildResult(distributions, launcher.is_sandbox, message)

    def _build_twice_at_most(
        self, release: TaggedRelease, workspace: Path, launcher: Launcher
    ) -> Distributions:
        """Build a release, and once more if others have ended that.

        A hook can bring the kernel to end all of its unit, for want of memory: what is ended each
        time is the fault of its project, or each update would try it again.
        """
        attempts = [make_directory(workspace / name) for name in ("first", "second")]
        try:
            return self._build(release, attempts[0], launcher)
        except EndedError as error:
            _log.info("%s: tag %s: %s; trying again", self._name, release.tag, error.message)
        remove_foreign_tree(attempts[0])
        try:
            return self._build(release, attempts[1], launcher)
        except EndedError as error:
            raise BuildError(f"{error.message}, for the second time") from error

    def _build(self, release: TaggedRelease, workspace: Path, launcher: Launcher) -> Distributions:
        repository, source = self._repository, workspace / "source"
        recipe = Recipe(
            self._export(release, source),
            repository.subdirectory or ".",
            repository.python or (),
            repository.network or False,
            self._context.settings.build.as_of_tag,
            (self._mirror,),
            self._context.builds.bytecode,
        )
        return build_distributions(source, workspace, recipe, launcher)

    def _export(self, release: TaggedRelease, source: Path) -> int:
        with self._faults_told():
            return git.export(
                self._mirror,
                release.commit,
                source,
                self._access,
                tag=release.tag if release.is_moved else None,
                submodules=self._repository.submodules or (),
            )

    @contextmanager
    def _faults_told(self) -> Iterator[None]:
        """Say what of the repository cannot be built, and how it may bring in other submodules."""
        try:
            yield
        except git.UnfitError as error:
            raise BuildError(error.message) from error
        except git.OutsideError as error:
            value = ",".join((*(self._repository.submodules or ()), error.place))
            raise BuildError(
                error.message,
                hint=f"if that is right: `pypi-insiders repos set {self._name} submodules={value}`",
            ) from error

    def _claim(self, built: str, expected: str | None) -> None:
        """Refuse what was built unless its name is the one that this repository may have."""
        if expected and built != expected:
            raise BuildError(
                f"it builds {built}, but {expected} was expected", hint=self._confirmation(built)
            )
        owners = self._context.owners
        self._check_owner(owners.get(built, self._name), built)
        if not expected:
            self._demand_free(built)
        # Again, and in one step: another thread may have built the same name meanwhile.
        self._check_owner(owners.setdefault(built, self._name), built)

    def _check_owner(self, owner: str, built: str) -> None:
        if owner != self._name:
            raise registry.conflict(f"it builds {built}, which", owner)

    def _confirmation(self, built: str) -> str:
        return f"if that is right: `pypi-insiders repos set {self._name} project={built}`"

    def _demand_free(self, built: str) -> None:
        """Refuse a name that others use too, unless the user has said yes to it.

        Raises:
            BuildError: others use it.
            InsidersError: that cannot be found out.
        """
        context, hint = self._context, self._confirmation(built)
        if foreign := ownership.foreign_files(context.paths, built, self._name, context.cache):
            raise BuildError(
                f"it builds {built}, and the index has {listed(foreign, 2)} of another "
                "origin; nothing is published",
                hint=hint,
            )
        try:
            # Where the fallback must not be asked, nobody can say whether the name is free: the
            # user has to.
            if not context.settings.watcher.public_versions:
                raise InsidersError("public-versions = false")
            is_public = public_versions.has_project(context.settings.server.fallback, built)
        except InsidersError as error:
            raise InsidersError(
                f"it builds {built}; cannot check whether that is a public project too "
                f"({error.message}); nothing is published",
                hint,
            ) from error
        if is_public:
            raise BuildError(
                f"it builds {built}, which is also a public project; nothing is published",
                hint=hint,
            )


def check_version(release: TaggedRelease, built: str) -> None:
    """Compare the version that was built with what the tag says.

    Raises:
        BuildError: they differ, and the settings of the repository are strict about that.
    """
    repository = release.repository
    says = repository.rules(1).pattern.version_of(release.tag)
    if says is None or says == Version(built):
        return
    message = f"it builds version {built}, and the tag says {says}"
    if repository.strict:
        raise BuildError(message)
    _log.warning("%s: tag %s: %s", repository.name, release.tag, message)
